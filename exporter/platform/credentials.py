"""The credential of one team: where it comes from, what kind it is, when it was read and when it ends.

No message, repr or log line made here holds any part of a credential: they name the file or the variable and say
what is wrong with it in words. Exceptions are raised outside of the functions that hold the text, so that a traceback
which prints local variables has nothing to print either.
"""

import base64
import binascii
import json
import logging
import math
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pydantic import SecretStr

from exporter.errors import ConfigError, PlatformError, Unauthorized
from exporter.platform.wire import Tokens
from exporter.redact import kind_of

logger = logging.getLogger(__name__)

CredentialKind = Literal["integration", "device", "jwt"]

Refresh = Callable[[SecretStr], Awaitable[Tokens | PlatformError]]
"""Trades a refresh token for a new pair at the platform; gives the answer, or why there is none."""


class TokenSource(Protocol):
    """Where a team's token comes from: a key or JWT that somebody put there, or a session that renews itself."""

    @property
    def kind(self) -> CredentialKind:
        """What it may be used for."""

    @property
    def renews(self) -> bool:
        """Whether it trades tokens with the platform."""

    @property
    def loaded_at(self) -> float:
        """Unix seconds of when it was last read or renewed."""

    @property
    def expires_at(self) -> float | None:
        """Unix seconds; None where unknown."""

    async def token(self, refresh: Refresh) -> str:
        """The token to send now. Raises Unauthorized when there is none; a session also what its refresh raised."""

    async def renewed(self, refused: str, refresh: Refresh) -> str:
        """The token to send after a 401 on `refused`, which is that one again when there is no other."""

    async def finish_renewal(self) -> None:
        """Wait until nothing is under way that must not be cut off."""

    def release(self) -> None:
        """Let go of where it is kept."""


MAX_BYTES = 64 * 1024
"""A larger file is no credential; a JWT has a few KiB at most."""

_PRINTABLE = bytes(range(0x21, 0x7F))
_WANTED = "expected one sk- key, dk- key or user JWT"


class _Signature(NamedTuple):
    """What tells that a file is another one, without reading it."""

    mtime_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class _Token:
    secret: SecretStr
    kind: CredentialKind
    expires_at: float | None
    signature: _Signature | None = None
    open_to_others: bool = False


class Credential:
    """The credential of one team. Mutable: it follows its file; everything else reads it anew for each request.

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
        token = _read(path)
        if isinstance(token, str):
            raise ConfigError([token])
        return cls(str(path), path, token, clock)

    @classmethod
    def from_environment(cls, variable: str, environ: Mapping[str, str], *, clock: Callable[[], float]) -> "Credential":
        """Take the value of `variable`, which never changes while the process lives.

        Raises:
            ConfigError: when the variable is unset or holds no usable credential.
        """
        if variable not in environ:
            raise ConfigError([f"{variable}: the environment variable is not set; {_WANTED}"])
        token = _parse(variable, environ[variable].encode("utf-8", "surrogateescape"))
        if isinstance(token, str):
            raise ConfigError([token])
        return cls(variable, None, token, clock)

    @property
    def kind(self) -> CredentialKind:
        """The kind last read; a file may change from a key to a JWT."""
        return self._token.kind

    @property
    def expires_at(self) -> float | None:
        """Unix seconds from the `exp` of a JWT, which is read but not verified; None where unknown."""
        return self._token.expires_at

    def current(self) -> str:
        """The credential to send now; the file is read again when it looks changed.

        Raises:
            Unauthorized: when the file is gone, unreadable or holds no usable credential any more.
        """
        problem = self._refresh() if self._changed() else None
        if problem is not None:
            raise Unauthorized(problem)
        return self._token.secret.get_secret_value()

    def reread(self) -> bool:
        """Read the file whatever it looks like, as after a 401.

        Returns:
            Whether the credential is now another one. A file that became unusable is no change: `current` says so.
        """
        before = self._token.secret
        self._refresh()
        return self._token.secret != before

    async def token(self, refresh: Refresh) -> str:  # noqa: ARG002  for sessions
        """What `current` says."""
        return self.current()

    async def renewed(self, refused: str, refresh: Refresh) -> str:  # noqa: ARG002  for sessions
        """What is there now: another request of the team may have read the new one already."""
        self.reread()
        return self.current()

    async def finish_renewal(self) -> None:
        """Nothing ever is under way."""

    def release(self) -> None:
        """Nothing is held between two reads."""

    def __repr__(self) -> str:
        return f"Credential({self._source!r}, kind={self.kind!r})"

    def _changed(self) -> bool:
        if self._path is None:
            return False
        try:
            return _signature(self._path.stat()) != self._token.signature
        except OSError:
            return True

    def _refresh(self) -> str | None:
        """Read the file again; what is wrong with it, in words, or None."""
        if self._path is None:
            return None
        token = _read(self._path)
        if isinstance(token, str):
            return token
        self._keep(token, before=self._token)
        return None

    def _keep(self, token: _Token, before: _Token | None) -> None:
        self._token = token
        self.loaded_at = self._clock()
        if token.open_to_others and not (before and before.open_to_others):
            logger.warning("credential file %s is readable by every user of this machine; chmod o-r it", self._source)


def _signature(status: os.stat_result) -> _Signature:
    return _Signature(status.st_mtime_ns, status.st_size, status.st_ino)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a named pipe would wait for its writer


def _read(path: Path) -> _Token | str:
    """The credential in the file, or what is wrong with the file. The signature is that of the bytes read."""
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return f"{path}: is not a regular file; {_WANTED}"
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return f"{path}: no such file; {_WANTED}"
    except IsADirectoryError:
        return f"{path}: is a directory; {_WANTED}"
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read ({getattr(error, 'strerror', None) or type(error).__name__}); {_WANTED}"
    return _parse(str(path), raw, _signature(status), open_to_others=bool(status.st_mode & stat.S_IROTH))


def _parse(
    source: str, raw: bytes, signature: _Signature | None = None, *, open_to_others: bool = False
) -> _Token | str:
    """The credential in `raw`, or what is wrong with it, in words that quote nothing of it."""
    problem = _problem(raw)
    if problem is not None:
        return f"{source}: {problem}"
    text = raw.strip().decode("ascii")
    match kind_of(text):
        case "integration" | "device" as kind:
            return _Token(SecretStr(text), kind, None, signature, open_to_others)
        case "jwt":
            return _Token(SecretStr(text), "jwt", expiry_of(text), signature, open_to_others)
        case _:
            return f"{source}: holds no known kind of credential; {_WANTED} (eyJ…)"


def _problem(raw: bytes) -> str | None:
    text = raw.strip()
    found = [
        (len(raw) > MAX_BYTES, f"is larger than {MAX_BYTES // 1024} KiB; {_WANTED}"),
        (not text, f"is empty; {_WANTED}"),
        (not text.isascii(), f"holds bytes outside of ASCII; {_WANTED}"),
        (bool(text.translate(None, _PRINTABLE)), f"holds white space or control characters inside; {_WANTED}"),
        (
            kind_of(text.decode("ascii", "replace")) == "agent",
            "holds an agent key, never accepted on REST; use an sk- key, a dk- key or a user JWT",
        ),
    ]
    return next((problem for wrong, problem in found if wrong), None)


def expiry_of(jwt: str) -> float | None:
    """The `exp` of a JWT, or None: a token we cannot read may still be one that the platform can."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry = claims["exp"]
        usable = isinstance(expiry, int | float) and not isinstance(expiry, bool) and expiry > 0
        return float(expiry) if usable and math.isfinite(expiry) else None
    except (binascii.Error, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
