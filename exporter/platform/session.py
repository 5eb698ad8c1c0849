"""A user session that renews itself: a refresh token in a file, traded for JWTs ahead of their end.

The platform's refresh tokens live once: a trade gives a new one and kills the old one at once. So the new one is
in the file, whole and synced, before it is used, and no two processes may share a file. What cannot be helped is a
crash between the platform's answer and the write: then the token in the file is refused at the next start, and the
error says what to do.
"""

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter.errors import ConfigError, PlatformError, SchemaMismatch, Unauthorized
from exporter.platform import wire
from exporter.platform.credentials import MAX_BYTES, CredentialKind, Refresh

AHEAD: Final = 0.2
"""Part of a JWT's life before whose end it is renewed."""
PATIENCE: Final = 3.0
"""Seconds that closing waits for a trade under way, for its new token would be lost."""

_log = logging.getLogger(__name__)


class Session:
    """The session of one refresh-token file, shared by all teams that name it. Mutable: it holds the newest tokens."""

    kind: CredentialKind = "jwt"

    def __init__(self, path: Path, lock: int | None, clock: Callable[[], float]) -> None:
        self._path = path
        self._lock = lock
        self._clock = clock
        self._one = asyncio.Lock()
        self._access: SecretStr | None = None
        self._renew_at = 0.0
        self._dead: SecretStr | None = None
        self._unwritten: SecretStr | None = None
        self._trade: asyncio.Task[None] | None = None
        self.loaded_at = clock()
        self.expires_at: float | None = None

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float], lock: bool = True) -> "Session":
        """Take the file `path`; with `lock`, keep every other process from taking it until `close`.

        Raises:
            ConfigError: the file or its folder cannot be used, or another process has it.
        """
        path = path.resolve()  # a link stays one when its target is replaced
        problem = _problem(path) or (None if os.access(path.parent, os.W_OK) else f"{path.parent}: is not writable")
        if problem is not None:
            raise ConfigError(
                [f"{problem}; expected a refresh token in a file that can be replaced when it is rotated"]
            )
        return cls(path, _locked(path) if lock else None, clock)

    async def token(self, refresh: Refresh) -> str:
        """A JWT that lives on for a while; renewed first where it does not.

        Raises:
            Unauthorized: there is no usable refresh token, or it was refused.
            PlatformError: the trade failed.
        """
        async with self._one:
            await self._write_again()
            if self._access is None or self._clock() >= self._renew_at:
                await self._renew(refresh)
            return self._access.get_secret_value() if self._access else ""

    async def renewed(self, refused: str, refresh: Refresh) -> str:
        """Another JWT than the refused one: the newest, if another request has renewed it meanwhile."""
        async with self._one:
            if self._access is None or self._access.get_secret_value() == refused:
                await self._renew(refresh)
            return self._access.get_secret_value() if self._access else ""

    async def close(self) -> None:
        """Let a trade under way end, and the file go."""
        if self._trade is not None:
            await asyncio.wait((self._trade,), timeout=PATIENCE)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __repr__(self) -> str:
        return f"Session({str(self._path)!r})"

    async def _renew(self, refresh: Refresh) -> None:
        # A caller may be cancelled; the trade may not, or the new token is lost.
        self._trade = asyncio.create_task(self._do_trade(refresh))
        await asyncio.shield(self._trade)

    async def _do_trade(self, refresh: Refresh) -> None:
        if self._unwritten is not None:
            raise Unauthorized(f"{self._path}: the rotated refresh token cannot be written, so it is not used")
        problem = _problem(self._path)
        if problem is not None:
            raise Unauthorized(problem)
        spent = SecretStr(_read(self._path))
        if spent == self._dead:
            raise Unauthorized(f"{self._path}: this refresh token was refused; sign in again and put a new one there")
        outcome = await refresh(spent.get_secret_value())
        if isinstance(outcome, PlatformError):
            if isinstance(outcome, Unauthorized):
                self._dead, self._access = spent, None
            raise outcome
        await self._take(outcome)

    async def _take(self, body: bytes) -> None:
        tokens = wire.decode_tokens(body)
        if tokens is None:
            raise SchemaMismatch("POST /auth/refresh: the answer holds no access_token, refresh_token and expires_in")
        now = self._clock()
        self._access, self._unwritten = SecretStr(tokens.access_token), SecretStr(tokens.refresh_token)
        self.loaded_at, self.expires_at = now, now + tokens.expires_in
        self._renew_at = now + tokens.expires_in * (1 - AHEAD)
        await self._write_again()

    async def _write_again(self) -> None:
        """Write the newest refresh token where that is not done. Until it is, the JWT serves, but is not renewed."""
        if self._unwritten is None:
            return
        try:
            await asyncio.to_thread(_replace, self._path, self._unwritten.get_secret_value())
        except OSError as error:
            _log.error(
                "the rotated refresh token cannot be written to %s: %s; it is kept in memory and tried again",
                self._path,
                error.strerror,
            )
        else:
            self._unwritten = None


def _problem(path: Path) -> str | None:
    try:
        token = _read(path)
    except FileNotFoundError:
        return f"{path}: no such file"
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'no text'})"
    if not token:
        return f"{path}: is empty"
    if len(token) >= MAX_BYTES or not token.isprintable() or " " in token:
        return f"{path}: holds no token"
    return None


def _read(path: Path) -> str:
    with path.open(encoding="ascii") as file:
        return file.read(MAX_BYTES).strip()


def _locked(path: Path) -> int:
    """A descriptor whose lock ends with this process; beside the file, for that is replaced at every rotation."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            [f"{path}: another process uses this refresh token; two that share one sign each other out"]
        ) from None
    return descriptor


def _replace(path: Path, token: str) -> None:
    """Put `token` into the file at once or not at all, with the mode it had."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
