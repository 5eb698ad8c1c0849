"""A user session that renews itself: a refresh token in a file, traded for JWTs ahead of their end.

The platform's refresh tokens live once: a trade gives a new one and kills the old one at once. So the new one is in
the file, whole and synced, before it is used, and no two processes may share a file. What cannot be helped is a crash
between the platform's answer and the write: then the token in the file is refused at the next start, and the error
says what to do.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter.errors import ConfigError, PlatformError, SchemaMismatch, Unauthorized
from exporter.log import event
from exporter.platform.credentials import CredentialKind, Refresh, expiry_of
from exporter.platform.tokenfile import TokenFile
from exporter.platform.wire import Tokens

RENEWAL_MARGIN: Final = 0.2
"""Part of a JWT's life before whose end it is renewed."""
RETRY_DELAY: Final = 10.0
"""Seconds before what failed is tried again, doubled each time: every request of a poll wants a JWT."""
MAX_RETRY_DELAY: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Access:
    """A JWT. Times are Unix seconds of our own clock; None where the platform does not tell the end."""

    token: SecretStr
    made_at: float
    renew_at: float | None
    expires_at: float | None


class Session:
    """The session of one refresh-token file, shared by all teams that name it. Mutable: it holds the newest tokens.

    Attributes:
        loaded_at: Unix seconds of when the tokens were last read or renewed.
    """

    kind: CredentialKind = "jwt"
    renews = True

    def __init__(self, file: TokenFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._access: _Access | None = None
        self._dead: tuple[SecretStr, PlatformError] | None = None
        self._unwritten: SecretStr | None = None
        self._failure: PlatformError | None = None
        self._told: str | None = None
        self._failures = 0
        self._held_until = 0.0
        self._work: asyncio.Task[None] | None = None
        self._released = False
        self.loaded_at = clock()

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float], lock: bool = True) -> "Session":
        """Take the file `path`; with `lock`, keep everybody else from taking it until `release`.

        Raises:
            ConfigError: the file or its folder cannot be used, or somebody else has it.
        """
        file = TokenFile.open(path, lock=lock)
        if isinstance(file, str):
            raise ConfigError([file])
        return cls(file, clock)

    @property
    def expires_at(self) -> float | None:
        """Unix seconds of when the newest JWT ends; None before the first and where unknown."""
        return self._access.expires_at if self._access else None

    async def token(self, refresh: Refresh) -> str:
        """A JWT that lives on for a while; renewed first where it does not. All who wait share one trade.

        Raises:
            Unauthorized: there is no usable refresh token, or it was refused.
            PlatformError: the trade failed.
        """
        if self._wants_work():
            if self._work is None or self._work.done():
                self._work = asyncio.create_task(self._advance(refresh))
            # Whoever asks may be cancelled; the trade may not, or the new token is lost.
            await asyncio.shield(self._work)
        access = self._access
        if access is None or (access.expires_at is not None and self._clock() >= access.expires_at):
            raise (self._failure or Unauthorized(f"{self._file}: there is no JWT")).anew()
        return access.token.get_secret_value()

    async def renewed(self, refused: str, refresh: Refresh) -> str:
        """Another JWT than the refused one; that one again when it is so young that its refusal has other reasons."""
        access = self._access
        if access is not None and access.token.get_secret_value() == refused:
            if self._clock() < access.made_at + RETRY_DELAY:
                return refused
            self._access = None
        return await self.token(refresh)

    async def finish_renewal(self) -> None:
        """Wait until a trade under way has ended and what it gave is in the file."""
        if self._work is not None:
            await asyncio.wait((self._work,))
        if self._unwritten is not None:
            await self._write()

    def release(self) -> None:
        """Let go of the file."""
        if self._unwritten is not None or (self._work is not None and not self._work.done()):
            event(_log, logging.ERROR, "the newest refresh token may be lost; sign in again", file=str(self._file))
        self._released = True
        self._file.release()

    def __repr__(self) -> str:
        return f"Session({str(self._file)!r})"

    def _wants_work(self) -> bool:
        return self._due() or (self._file.touched() and not self._released)

    def _due(self) -> bool:
        return not self._released and self._clock() >= self._held_until and (self._old() or self._unwritten is not None)

    def _old(self) -> bool:
        """Whether there is no JWT that lives on for a while."""
        access = self._access
        return access is None or (access.renew_at is not None and self._clock() >= access.renew_at)

    async def _advance(self, refresh: Refresh) -> None:
        """Do what is due: write a token that is not written yet, then trade the one in the file."""
        replaced = self._file.replaced()
        if replaced:  # somebody has signed in again
            self._dead = self._unwritten = None
        elif not self._due():
            return
        failure = await self._write()
        if failure is None and (replaced or self._old()):
            failure = await self._trade(refresh)
        self._tell(failure)
        self._failure = failure
        self._failures = self._failures + 1 if failure else 0
        self._held_until = self._clock() + self._pause() if failure else 0.0

    def _pause(self) -> float:
        asked = self._failure.retry_after if self._failure else None
        return max(min(RETRY_DELAY * 2.0 ** min(self._failures - 1, 9), MAX_RETRY_DELAY), asked or 0.0)

    async def _trade(self, refresh: Refresh) -> PlatformError | None:
        """Trade the token in the file; gives what went wrong."""
        spent = self._file.read()
        if isinstance(spent, str):
            return Unauthorized(spent)
        if self._dead is not None and self._dead[0] == spent:
            return self._dead[1]
        began = self._clock()
        outcome = await refresh(spent)
        if isinstance(outcome, Unauthorized):
            refused = Unauthorized(f"{outcome}; sign in again and put a new refresh token into {self._file}")
            self._dead = spent, refused
            return refused
        if isinstance(outcome, PlatformError):
            return outcome
        return await self._take(outcome, began)

    async def _take(self, tokens: Tokens, began: float) -> PlatformError | None:
        self._unwritten = SecretStr(tokens.refresh_token)
        if tokens.access_token is not None:
            self._access, self.loaded_at = _accessed(tokens.access_token, tokens.expires_in, began), began
        unwritten = await self._write()
        if tokens.access_token is None:
            return SchemaMismatch("POST /auth/refresh: the answer holds no access_token")
        return unwritten

    async def _write(self) -> PlatformError | None:
        """Write the newest refresh token. Until that is done the JWT serves, but is not renewed."""
        if self._unwritten is None:
            return None
        problem = await asyncio.to_thread(self._file.replace, self._unwritten)
        if problem is None:
            self._unwritten = None
            return None
        return Unauthorized(f"{self._file}: the rotated refresh token is not used until it can be written ({problem})")

    def _tell(self, failure: PlatformError | None) -> None:
        """Log a failure once, not with every poll, and its end."""
        told, self._told = self._told, str(failure) if failure else None
        if self._told == told:
            return
        if self._told is not None:
            event(_log, logging.ERROR, "session not renewed", file=str(self._file), error=self._told)
        else:
            event(_log, logging.INFO, "session is renewed again", file=str(self._file))


def _accessed(token: str, lifetime: float | None, began: float) -> _Access:
    expires_at = began + lifetime if lifetime is not None else expiry_of(token)
    renew_at = None if expires_at is None else expires_at - RENEWAL_MARGIN * max(0.0, expires_at - began)
    return _Access(SecretStr(token), began, renew_at, expires_at)
