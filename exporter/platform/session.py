"""A user session that renews itself: a refresh token in a file, exchanged for a new JWT before the old one expires.

A refresh token can be used only once: exchanging it returns a new one and invalidates the old one at once. The new one
is therefore completely written to the file and synced before it is used, and no two processes may share a file. One
risk remains: a crash between the platform's answer and the write. The token in the file is then refused at the next
start, and the error says what to do.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter.errors import ConfigError, PlatformError, SchemaMismatch, Unauthorized
from exporter.log import event
from exporter.platform import paths
from exporter.platform.account import Tokens
from exporter.platform.clock import Clock, Moment
from exporter.platform.credentials import CredentialKind, Refresh, expiry_of
from exporter.platform.files import UnusableError
from exporter.platform.tokenfile import TokenFile

RENEWAL_MARGIN: Final = 0.2
"""A JWT is renewed when this share of its lifetime is left."""
RETRY_DELAY: Final = 10.0
"""Seconds before a failed renewal is tried again, doubled each time: every request of a poll asks for a JWT."""
MAX_RETRY_DELAY: Final = 60.0
"""Maximum seconds between two attempts, unless the platform asks for a longer wait."""
REFUSED_DELAY: Final = 300.0
"""Seconds until a refused refresh token is tried again: a 401 may be temporary, for example while the platform
restarts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Access:
    """A JWT. Times are monotonic seconds, so setting the clock prevents no renewal. None means that it is unknown."""

    token: SecretStr
    made_at: float
    renew_at: float | None
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refresh token that the platform refused. It is not tried again before `until`, in monotonic seconds."""

    token: SecretStr
    until: float
    error: Unauthorized


class Session:
    """The session of one refresh token file, shared by all teams that name the file. Mutable: it keeps the tokens.

    Attributes:
        loaded_at: Unix seconds of when the tokens were last read or renewed.
    """

    kind: CredentialKind = "jwt"
    renews = True

    def __init__(self, file: TokenFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._access: _Access | None = None
        self._refused: _Refusal | None = None
        self._unwritten: SecretStr | None = None
        self._failure: PlatformError | None = None
        self._failures = 0
        self._held_until = 0.0
        self._renewal: asyncio.Task[None] | None = None
        self._released = False
        self.loaded_at = clock.wall()

    @classmethod
    def open(cls, path: Path, *, clock: Clock, lock: bool = True) -> "Session":
        """Open the file `path`; with `lock`, keep other processes from opening it until `release`.

        Raises:
            ConfigError: the file or its folder cannot be used, or another process has it.
        """
        try:
            return cls(TokenFile.open(path, lock=lock), clock)
        except UnusableError as error:
            raise ConfigError([str(error)]) from None

    @property
    def expires_at(self) -> float | None:
        """When the current JWT expires, in Unix seconds; None before the first one, or if unknown."""
        ends_at = self._access.ends_at if self._access else None
        return None if ends_at is None else self._clock.wall_time(ends_at)

    @property
    def expired(self) -> bool:
        """Whether it is known to have expired."""
        ends_at = self._access.ends_at if self._access else None
        return ends_at is not None and self._clock.monotonic() >= ends_at

    async def token(self, refresh: Refresh) -> SecretStr:
        """A JWT that does not expire soon, renewed first if necessary. Concurrent callers share one renewal.

        Raises:
            Unauthorized: there is no usable refresh token, or the platform refused it.
            PlatformError: the renewal failed.
        """
        if self._needs_renewal():
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._write_and_renew(refresh))
            # Callers may be cancelled, but the renewal may not, or the new token is lost.
            await asyncio.shield(self._renewal)
        if self._access is None or self.expired:
            raise (self._failure or Unauthorized(f"{self._file}: there is no JWT")).without_traceback()
        return self._access.token

    async def renewed(self, refused: SecretStr, refresh: Refresh) -> SecretStr:
        """A JWT other than the refused one; the same one if it is so new that the refusal must have another cause."""
        access = self._access
        if access is not None and access.token == refused:
            if self._clock.monotonic() < access.made_at + RETRY_DELAY:
                return refused
            self._access = None
        return await self.token(refresh)

    async def finish_renewal(self) -> None:
        """Wait until a renewal under way has ended and its refresh token is in the file."""
        if self._renewal is not None:
            await asyncio.wait((self._renewal,))
        if self._unwritten is not None:
            try:
                await self._write()
            except PlatformError as error:
                event(_log, logging.ERROR, "session not renewed", file=str(self._file), error=str(error))

    def release(self) -> None:
        """Release the file."""
        if self._unwritten is not None or (self._renewal is not None and not self._renewal.done()):
            event(_log, logging.ERROR, "the newest refresh token may be lost; sign in again", file=str(self._file))
        self._released = True
        self._file.release()

    def __repr__(self) -> str:
        return f"Session({str(self._file)!r})"

    def _needs_renewal(self) -> bool:
        """Whether something is due, or somebody has put another token into the file."""
        return self._due() or (self._file.touched() and not self._released)

    def _due(self) -> bool:
        """Whether a token is to be written or exchanged, and no failure delays that now."""
        due = self._wants_new_jwt() or self._unwritten is not None
        return due and not self._released and self._clock.monotonic() >= self._held_until

    def _wants_new_jwt(self) -> bool:
        """Whether there is no JWT, or one that should be renewed."""
        access = self._access
        return access is None or (access.renew_at is not None and self._clock.monotonic() >= access.renew_at)

    async def _write_and_renew(self, refresh: Refresh) -> None:
        """Write a token that was not written yet, then exchange the one in the file, as far as either is due."""
        replaced = self._file.replaced_by_others()
        if replaced:  # somebody has signed in again
            self._refused = self._unwritten = None
        elif not self._due():
            return
        try:
            await self._write()
            if replaced or self._wants_new_jwt():
                await self._renew(refresh)
        except PlatformError as error:
            self._note_outcome(error.without_traceback())
        else:
            self._note_outcome(None)

    def _note_outcome(self, failure: PlatformError | None) -> None:
        """Remember the outcome. Log a failure once and not at every poll, and log when it is over."""
        before, self._failure = self._failure, failure
        self._failures = self._failures + 1 if failure else 0
        self._held_until = self._clock.monotonic() + self._delay(failure) if failure else 0.0
        if str(before) == str(failure):
            return
        if failure is not None:
            event(_log, logging.ERROR, "session not renewed", file=str(self._file), error=str(failure))
        else:
            event(_log, logging.INFO, "session renewal works again", file=str(self._file))

    def _delay(self, failure: PlatformError) -> float:
        ours = min(RETRY_DELAY * 2.0 ** min(self._failures - 1, 9), MAX_RETRY_DELAY)
        return max(ours, failure.retry_after or 0.0)

    async def _renew(self, refresh: Refresh) -> None:
        """Exchange the token in the file; raises PlatformError."""
        try:
            spent = self._file.read()
        except UnusableError as error:
            raise Unauthorized(str(error)) from None
        refusal, began = self._refused, self._clock.now()
        if refusal is not None and refusal.token == spent and began.monotonic < refusal.until:
            raise refusal.error.without_traceback()
        try:
            tokens = await refresh(spent)
        except Unauthorized as error:
            refused = Unauthorized(f"{error}; sign in again and put a new refresh token into {self._file}")
            self._refused = _Refusal(spent, began.monotonic + REFUSED_DELAY, refused)
            raise refused from None
        await self._accept(tokens, began)

    async def _accept(self, tokens: Tokens, began: Moment) -> None:
        self._unwritten = tokens.refresh_token
        if tokens.access_token is not None:
            self._access, self.loaded_at = _access(tokens.access_token, tokens.expires_in, began), began.wall
        await self._write()
        if tokens.access_token is None:
            raise SchemaMismatch(f"POST {paths.REFRESH}: the answer contains no access_token")

    async def _write(self) -> None:
        """Write the new refresh token. Until this succeeds, the JWT is used but not renewed."""
        if self._unwritten is None:
            return
        try:
            await asyncio.to_thread(self._file.replace, self._unwritten)
        except OSError as error:
            why = error.strerror or "no reason given"
            raise Unauthorized(
                f"{self._file}: the new refresh token will not be used until it can be written ({why})"
            ) from None
        self._unwritten = None


def _access(token: SecretStr, lifetime: float | None, began: Moment) -> _Access:
    if lifetime is None and (expiry := expiry_of(token)) is not None:
        lifetime = expiry - began.wall
    if lifetime is None:
        return _Access(token, began.monotonic, None, None)
    ends_at = began.monotonic + lifetime
    return _Access(token, began.monotonic, ends_at - RENEWAL_MARGIN * max(0.0, lifetime), ends_at)
