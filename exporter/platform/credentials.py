"""The credential of one team: where it comes from, what kind it is, when it was read and when it expires.

No message, repr or log line made here contains any part of a credential: they name the file or variable and say what is
wrong with it. Exceptions are raised outside the functions that hold the text, so even a traceback with local variables
shows nothing secret.
"""

import base64
import binascii
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from exporter.errors import ConfigError, Unauthorized
from exporter.platform.account import Tokens
from exporter.platform.files import Content, Signature, UnusableError, read, signature
from exporter.redact import kind_of

logger = logging.getLogger(__name__)

CredentialKind = Literal["integration", "device", "jwt"]

Refresh = Callable[[SecretStr], Awaitable[Tokens]]
"""Exchanges a refresh token for a new pair at the platform; raises PlatformError."""


class TokenSource(Protocol):
    """Where a team's token comes from: a key or JWT that somebody provides, or a session that renews itself."""

    @property
    def kind(self) -> CredentialKind:
        """The kind of the credential, which decides what it may be used for."""

    @property
    def renews(self) -> bool:
        """Whether it renews itself at the platform."""

    @property
    def loaded_at(self) -> float:
        """Unix seconds of when it was last read or renewed."""

    @property
    def expires_at(self) -> float | None:
        """Unix seconds; None if unknown."""

    @property
    def expired(self) -> bool:
        """Whether it is known to have expired."""

    async def token(self, refresh: Refresh, /) -> SecretStr:
        """The token to send now. Raises Unauthorized if there is none; a session also raises errors of its renewal."""

    async def renewed(self, refused: SecretStr, refresh: Refresh, /) -> SecretStr:
        """The token to send after a 401 for `refused`; the same one if there is no other."""

    async def finish_renewal(self) -> None:
        """Wait until no renewal is under way, because it must not be interrupted."""

    def release(self) -> None:
        """Release its file."""


MAX_BYTES = 64 * 1024
"""Limit for a credential file; a JWT has a few KiB at most."""

_PRINTABLE = bytes(range(0x21, 0x7F))
_NONE = SecretStr("")
_WANTED = "expected one sk- key, dk- key or user JWT"


@dataclass(frozen=True, slots=True)
class _Token:
    secret: SecretStr
    kind: CredentialKind
    expires_at: float | None
    signature: Signature | None
    world_readable: bool


class Credential:
    """The credential of one team. Mutable: it follows its file, so callers must get it anew for each request.

    Attributes:
        loaded_at: Unix seconds of the last successful read.
    """

    __slots__ = ("_clock", "_path", "_source", "_token", "loaded_at")
    renews = False

    def __init__(self, source: str, path: Path | None, token: _Token, clock: Callable[[], float]) -> None:
        self._source = source
        self._path = path
        self._clock = clock
        self._keep(token, before=None)

    @classmethod
    def from_file(cls, path: Path, *, clock: Callable[[], float]) -> "Credential":
        """Read the file `path`; white space around the credential is ignored.

        Raises:
            ConfigError: when the file is missing, unreadable or holds no usable credential.
        """
        try:
            return cls(str(path), path, _load(path), clock)
        except UnusableError as error:
            raise ConfigError([str(error)]) from None

    @classmethod
    def from_environment(cls, variable: str, environ: Mapping[str, str], *, clock: Callable[[], float]) -> "Credential":
        """Take the value of `variable`, which never changes while the process runs.

        Raises:
            ConfigError: when the variable is unset or holds no usable credential.
        """
        if variable not in environ:
            raise ConfigError([f"{variable}: the environment variable is not set; {_WANTED}"])
        try:
            return cls(variable, None, _load(variable, SecretStr(environ[variable])), clock)
        except UnusableError as error:
            raise ConfigError([str(error)]) from None

    @property
    def kind(self) -> CredentialKind:
        """The kind that was last read; a file may change from a key to a JWT."""
        return self._token.kind

    @property
    def expires_at(self) -> float | None:
        """Unix seconds from the `exp` of a JWT, which is read but not verified; None if unknown."""
        return self._token.expires_at

    @property
    def expired(self) -> bool:
        """Whether it is known to have expired."""
        return self.expires_at is not None and self._clock() >= self.expires_at

    def current(self) -> SecretStr:
        """The credential to send now; the file is read again when it looks changed.

        Raises:
            Unauthorized: the file is gone, unreadable or no longer holds a usable credential.
        """
        if self._path is not None and signature(self._path) != self._token.signature:
            try:
                self._keep(_load(self._path), before=self._token)
            except UnusableError as error:
                raise Unauthorized(str(error)) from None
        return self._token.secret

    def reread(self) -> bool:
        """Read the file even if it looks unchanged, as after a 401.

        Returns:
            Whether the credential changed. An unusable file does not count as a change; `current` raises then.
        """
        before = self._token
        if self._path is not None:
            with suppress(UnusableError):
                self._keep(_load(self._path), before=before)
        return self._token.secret != before.secret

    async def token(self, _refresh: Refresh, /) -> SecretStr:
        """The same as `current`."""
        return self.current()

    async def renewed(self, _refused: SecretStr, _refresh: Refresh, /) -> SecretStr:
        """The current token, which another request of the team may already have read again."""
        self.reread()
        return self.current()

    async def finish_renewal(self) -> None:
        """Return at once, because such a credential is never renewed by us."""

    def release(self) -> None:
        """Do nothing, because the file is open only while it is read."""

    def __repr__(self) -> str:
        return f"Credential({self._source!r}, kind={self.kind!r})"

    def _keep(self, token: _Token, before: _Token | None) -> None:
        self._token = token
        self.loaded_at = self._clock()
        if token.world_readable and not (before and before.world_readable):
            logger.warning("credential file %s is readable by every user of this machine; chmod o-r it", self._source)


def _load(source: Path | str, value: SecretStr | None = None) -> _Token:
    """The credential in a file, or in a variable that has this value.

    Raises:
        UnusableError: it is raised outside the frames that hold the text.
    """
    try:
        if isinstance(source, Path):
            return _parsed(str(source), read(source, MAX_BYTES))
        return _parsed(source, Content((value or _NONE).get_secret_value().encode("utf-8", "surrogateescape")))
    except UnusableError as error:
        problem = str(error)
    raise UnusableError(f"{problem}; {_WANTED}")


def _parsed(source: str, content: Content) -> _Token:
    if problem := _problem(content.raw):
        raise UnusableError(f"{source}: {problem}")
    text = content.raw.strip().decode("ascii")
    token = partial(_Token, SecretStr(text), signature=content.signature, world_readable=content.world_readable)
    match kind_of(text):
        case "integration" | "device" as kind:
            return token(kind=kind, expires_at=None)
        case "jwt":
            return token(kind="jwt", expires_at=expiry_of(SecretStr(text)))
        case "agent":
            raise UnusableError(f"{source}: contains an agent key, which the platform never accepts for REST requests")
        case _:
            raise UnusableError(f"{source}: contains no known kind of credential")


def _problem(raw: bytes) -> str | None:
    text = raw.strip()
    found = [
        (len(raw) > MAX_BYTES, f"is larger than {MAX_BYTES // 1024} KiB"),
        (not text, "is empty"),
        (not text.isascii(), "contains bytes outside of ASCII"),
        (bool(text.translate(None, _PRINTABLE)), "contains white space or control characters inside"),
    ]
    return next((problem for wrong, problem in found if wrong), None)


def expiry_of(jwt: SecretStr) -> float | None:
    """The `exp` of a JWT, unverified; None if it cannot be read, as the platform may still accept the token."""
    try:
        payload = jwt.get_secret_value().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry = claims["exp"]
        usable = isinstance(expiry, int | float) and not isinstance(expiry, bool) and expiry > 0
        return float(expiry) if usable and math.isfinite(expiry) else None
    except (binascii.Error, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
