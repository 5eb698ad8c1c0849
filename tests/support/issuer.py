"""The platform's side of a session: it exchanges refresh tokens."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.errors import PlatformError, Unauthorized
from exporter.platform.account import Tokens
from exporter.platform.clock import Clock
from exporter.platform.session import Session
from support.scripted import MARKER, NOW, everything_in

LIFETIME = 3600.0


RENEWAL_MARGIN = 720.0
"""Seconds before its end that a JWT of this lifetime is renewed."""


@dataclass(slots=True)
class TokenIssuer:
    """The platform's side of a session, and the clock. Mutable: a pair of tokens is valid until it is exchanged.

    Attributes:
        live: the only refresh token that is accepted.
        sent: the refresh tokens that came.
        failure: answered instead.
        gate: closed, an exchange is done but its answer waits.
        asked: set by the first exchange.
    """

    file: Path
    now: float = NOW
    jump: float = 0.0
    live: str = field(default=f"rt-{MARKER}-0", repr=False)
    sent: list[str] = field(default_factory=list, repr=False)
    failure: PlatformError | None = None
    expires_in: float | None = LIFETIME
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def clock(self) -> Clock:
        """Both clocks; the first may be set."""
        return Clock(lambda: self.now + self.jump, lambda: self.now - NOW)

    def open(self) -> Session:
        """Open the session of the file."""
        self.gate.set()
        return Session.open(self.file, clock=self.clock)

    def sign_in(self, name: str) -> None:
        """Sign in again, as a person would: put a new token into the file."""
        self.live = f"rt-{MARKER}-{name}"
        self.file.write_text(self.live + "\n")

    @property
    def saved(self) -> str:
        """What the file holds."""
        return self.file.read_text().strip()

    async def refresh(self, token: SecretStr) -> Tokens:
        """Exchange a token as the platform does."""
        self.sent.append(token.get_secret_value())
        self.asked.set()
        accepted = self.failure is None and self.sent[-1] == self.live
        if accepted:
            self.live = f"rt-{MARKER}-{len(self.sent)}"
        number = len(self.sent)
        failure = self.failure
        await self.gate.wait()
        if not accepted:
            raise failure or Unauthorized("POST /auth/refresh: 401: unknown token")
        return pair(f"rt-{MARKER}-{number}", f"eyJ{MARKER}-{number}", self.expires_in)


async def token_of(session: Session, issuer: TokenIssuer) -> str:
    """The JWT to send now."""
    return (await session.token(issuer.refresh)).get_secret_value()


async def renewed(session: Session, refused: str, issuer: TokenIssuer) -> str:
    """The JWT to send after a 401."""
    return (await session.renewed(SecretStr(refused), issuer.refresh)).get_secret_value()


def pair(refresh: str, access: str | None = None, expires_in: float | None = None) -> Tokens:
    """What the platform answers."""
    return Tokens(SecretStr(refresh), SecretStr(access) if access else None, expires_in)


async def failure(session: Session, issuer: TokenIssuer) -> PlatformError:
    """The session's error in place of a JWT, which contains no token anywhere."""
    with pytest.raises(PlatformError) as caught:
        await token_of(session, issuer)
    assert MARKER not in everything_in(caught.value)
    return caught.value
