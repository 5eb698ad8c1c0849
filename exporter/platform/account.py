"""The user behind a credential, validated: teams, quotas and a new pair of tokens.

Source: the documentation of `GET /users/me` and `POST /auth/refresh`.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from pydantic import SecretStr, TypeAdapter

from exporter.errors import SchemaMismatch, Undecodable
from exporter.platform import paths
from exporter.platform.lenient import validated
from exporter.platform.wire import MAX_ITEMS, Items, Text

MAX_TOKEN: Final = 32 * 1024
"""Maximum characters of a token; a JWT has at most a few thousand."""
MAX_TOKENS: Final = 128 * 1024
"""Maximum bytes of an answer with a new pair of tokens."""
MAX_LIFETIME: Final = 10.0 * 365 * 86400
"""Seconds; a longer lifetime is implausible and counts as unknown."""
_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class OwnTeam:
    """An item of `team_list`."""

    id: Text | None = None
    display_name: Text | None = None


@dataclass(frozen=True, slots=True)
class Me:
    """The answer of `GET /users/me`. The limits are under `feature_flags`, as plain JSON."""

    team_list: Items[OwnTeam | None] | None = None
    feature_flags: dict[str, Any] | None = None


_ME: Final = TypeAdapter(Me)
_TEAM: Final = TypeAdapter(OwnTeam)


def decode_me(body: bytes) -> Me:
    """Read what the platform says about the credential's user.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: it is not an object.
    """
    me: Me = validated(_ME, body, "team_list", _TEAM)[0]
    return me


def decode_teams(body: bytes, *, required: bool = False) -> list[OwnTeam]:
    """Read the teams of the credential's user that have an id.

    Args:
        body: of the answer.
        required: whether there must be at least one, because teams do not all vanish at once.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: it contains no list of teams, or none of them has an id.
    """
    listed = decode_me(body).team_list
    if listed is None:
        raise SchemaMismatch(f"GET {paths.ME}: no team_list of at most {MAX_ITEMS} teams")
    teams = [team for team in listed if team and team.id]
    if listed and not teams:
        raise SchemaMismatch(f"GET {paths.ME}: none of {len(listed)} teams has an id")
    if required and not teams:
        raise SchemaMismatch(f"GET {paths.ME}: the team_list is suddenly empty")
    return teams


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer of `POST /auth/refresh`. The refresh token is mandatory: the old one is already invalid."""

    refresh_token: SecretStr
    access_token: SecretStr | None = None
    expires_in: float | None = None
    """Seconds; None if the platform does not say so."""


def decode_tokens(body: bytes) -> Tokens:
    """Read a new pair of tokens. Frames here hold them, so the caller must raise errors without their traceback.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: there is no refresh token in it.
    """
    if len(body) > MAX_TOKENS:
        raise SchemaMismatch("the answer is too large for a pair of tokens")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Undecodable("the body is not JSON") from None
    refresh = answer.get("refresh_token") if isinstance(answer, dict) else None
    if not is_token(refresh):
        raise SchemaMismatch("the answer holds no refresh_token")
    access = answer.get("access_token")
    return Tokens(
        refresh_token=SecretStr(refresh),
        access_token=SecretStr(access) if is_token(access) else None,
        expires_in=_lifetime(answer.get("expires_in")),
    )


def is_token(value: object) -> TypeGuard[str]:
    """Whether it can be a token: printable ASCII without spaces, as headers allow, and of limited length."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and _TOKEN.fullmatch(value) is not None


def _lifetime(value: object) -> float | None:
    # Compare first: an integer may be too large for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_LIFETIME:
        return float(value)
    return None
