"""Which teams a credential can read: asked of the platform, again and again, for teams come and go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from exporter.errors import PlatformError, SchemaMismatch, Undecodable
from exporter.log import event
from exporter.platform import wire
from exporter.platform.client import TeamClient
from exporter.platform.pacing import Backoff

ME_PATH: Final = "/users/me"
INTERVAL: Final = 300.0
"""Seconds between two looks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A team of the platform's."""

    team_id: str
    name: str


class Discovery:
    """The teams of one credential. Mutable: it remembers those of the last answer, and serves them through failures."""

    def __init__(self, name: str, client: TeamClient, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self.teams: tuple[Found, ...] = ()
        self.attempted = False
        self._name = name
        self._client = client
        self._clock = clock
        self._backoff = Backoff(INTERVAL / 10, random=random)

    async def look(self) -> None:
        """Ask once; what fails is counted and logged, and changes nothing."""
        try:
            body = await self._client.get(ME_PATH, {})
            me = self._decoded(body)
        except PlatformError as error:
            self._backoff.failed(self._clock(), error.retry_after)
            event(_log, logging.WARNING, "teams not discovered", credential=self._name, error=str(error))
        else:
            self._backoff.succeeded()
            self.teams = tuple(
                Found(team.id, team.display_name or team.id) for team in me.team_list or () if team and team.id
            )
        self.attempted = True

    def _decoded(self, body: bytes) -> wire.Me:
        try:
            return wire.decode_me(body)
        except (Undecodable, SchemaMismatch) as error:
            self._client.fail(ME_PATH, error)
            raise

    async def keep_looking(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Look until cancelled, and tell after each look."""
        while True:
            await self.look()
            await tell()
            pause = (
                max(INTERVAL / 10, (self._backoff.until or 0.0) - self._clock()) if self._backoff.failures else INTERVAL
            )
            await asyncio.sleep(pause)
