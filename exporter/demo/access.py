"""Access rules for integration keys, device keys and user sessions, as documented."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from exporter.demo.fleet import SimulatedTeam
from exporter.demo.wire import Item, uuid7

PREFIXES = {"integration": "sk-", "device": "dk-", "jwt": "eyJ"}
"""The prefix of each kind of credential."""


class Refused(Exception):
    """A request the platform answers with an error.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class User:
    """A person with a session. Mutable: refreshing replaces both tokens.

    Attributes:
        access_token: the JWT; stays valid until it expires, also after a refresh.
        refresh_token: good for one refresh.
    """

    def __init__(self, user_id: str, name: str, teams: Sequence[SimulatedTeam]) -> None:
        self.user_id = user_id
        self.name = name
        self.teams = list(teams)
        self.access_token = ""
        self.refresh_token = ""

    def as_json(self, *, nested: bool) -> Item:
        """The answer of `/users/me`; `nested` chooses how a team's limits are given."""
        teams = [{"id": team.team_id, "display_name": team.display_name} for team in self.teams]
        limits = {team.team_id: team.quotas for team in self.teams if team.quotas}
        flags = {
            "global": {"features": [], "quotas": {"max_users": -1, "max_teams": -1}},
            "account": {"features": [], "quotas": {"max_owned_teams": 3}},
            "teams": {key: {"features": [], "quotas": quotas} if nested else quotas for key, quotas in limits.items()},
        }
        return {"id": self.user_id, "display_name": self.name, "team_list": teams, "feature_flags": flags}


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a credential belongs to: a key to a team and a user, a session only to a user."""

    kind: str
    user: User
    team: SimulatedTeam | None
    expires_at: float | None


class Access:
    """All credentials of a platform. Mutable: they are issued, expire and are revoked."""

    def __init__(self, *, random: Random, clock: Callable[[], float], token_lifetime: float) -> None:
        self._random = random
        self._clock = clock
        self._token_lifetime = token_lifetime
        self._grants: dict[str, Grant] = {}
        self._sessions: dict[str, User] = {}

    def add_key(self, team: SimulatedTeam, kind: str, *, user: User | None = None, token: str | None = None) -> str:
        """Issue a further integration or device key of a team; without `user`, of a user who is only in that team."""
        token = token or PREFIXES[kind] + self._hex(40)
        self._grants[token] = Grant(kind, user or self._new_user(team.name, [team]), team, None)
        return token

    def add_user(self, name: str, teams: Sequence[SimulatedTeam]) -> User:
        """A user in these teams, with a fresh session."""
        user = self._new_user(name, teams)
        self._open_session(user)
        return user

    def revoke(self, token: str) -> None:
        """Make a credential unknown, as of the next request; nothing happens if it already is."""
        self._grants.pop(token, None)
        self._sessions.pop(token, None)

    def identify(self, headers: Mapping[str, str]) -> Grant | None:
        """Whom the bearer credential belongs to; None if it is missing, unknown, revoked or expired."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        grant = self._grants.get(token.strip()) if scheme.lower() == "bearer" else None
        if grant and grant.expires_at is not None and grant.expires_at <= self._clock():
            return None
        return grant

    def refresh(self, refresh_token: object) -> Item:
        """Exchange a refresh token for a new pair; the old one is invalid at once.

        Raises:
            Refused: 400 when it is not text, 401 when it is unknown or was used before.
        """
        if not isinstance(refresh_token, str) or not refresh_token:
            raise Refused(400, "refresh_token is required")
        user = self._sessions.pop(refresh_token, None)
        if user is None:
            raise Refused(401, "refresh token is invalid or was already used")
        self._open_session(user)
        return {
            "access_token": user.access_token,
            "refresh_token": user.refresh_token,
            "expires_in": int(self._token_lifetime),
        }

    def _new_user(self, name: str, teams: Sequence[SimulatedTeam]) -> User:
        return User(uuid7(self._random, self._clock()), name, teams)

    def _open_session(self, user: User) -> None:
        now = int(self._clock())
        expires_at = now + int(self._token_lifetime)
        user.access_token = self._jwt({"sub": user.user_id, "iat": now, "exp": expires_at})
        user.refresh_token = "rt-" + self._hex(48)
        self._grants[user.access_token] = Grant("jwt", user, None, expires_at)
        self._sessions[user.refresh_token] = user
        for team in user.teams:
            if team.kind == "jwt":
                team.token, team.refresh_token = user.access_token, user.refresh_token

    def _jwt(self, claims: Item) -> str:
        header, body = (_base64(json.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{header}.{body}.{_base64(self._hex(32))}"

    def _hex(self, length: int) -> str:
        return f"{self._random.getrandbits(4 * length):0{length}x}"


def authorise(grant: Grant | None, headers: Mapping[str, str], path: str) -> Grant:
    """Admit a credential to a path, or refuse it: 401 if unknown, 403 for an integration key outside `/r/`.

    Raises:
        Refused: as above.
    """
    if grant is None:
        known = "Authorization" in headers
        raise Refused(401, "credential is unknown, revoked or expired" if known else "Authorization is required")
    if grant.kind == "integration" and not path.startswith("/r/"):
        raise Refused(403, "integration keys are accepted on runtime paths only")
    return grant


def team_of(grant: Grant, headers: Mapping[str, str]) -> SimulatedTeam:
    """The team a request is about: the key's own, or for a session the one `X-Team-ID` names.

    Raises:
        Refused: 400 without the header, 403 for a team that is not the user's.
    """
    if grant.team is not None:
        return grant.team
    team_id = headers.get("X-Team-ID")
    if not team_id:
        raise Refused(400, "X-Team-ID is required")
    for team in grant.user.teams:
        if team.team_id == team_id:
            return team
    raise Refused(403, "you are not a member of this team")


def _base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")
