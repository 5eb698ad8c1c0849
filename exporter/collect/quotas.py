"""A team's limits: optional, read rarely, and never the reason why a poll fails."""

from collections.abc import Mapping
from typing import Final

from exporter.collect.context import TeamContext
from exporter.errors import PlatformError
from exporter.fleet.quotas import own_quotas

INTERVAL: Final = 3600.0
"""Seconds between two looks at the quotas, which people change rarely."""
RETRY: Final = 300.0
"""Seconds until the next look after one that failed."""


class QuotasCollector:
    """Reads the quotas of one team. Mutable: it knows when to ask again.

    Attributes:
        quotas: by name; empty while they cannot be read.
    """

    quotas: Mapping[str, float]

    def __init__(self, team: TeamContext) -> None:
        self.quotas = {}
        self._team = team
        self._due_at = team.clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time, and the credential may ask at all."""
        return self._team.may_manage and self._team.hold.over and self._team.clock.monotonic() >= self._due_at

    async def poll(self) -> None:
        """Ask once. What fails is counted by the client, and leaves no quotas."""
        now = self._team.clock.monotonic()
        self._due_at = now + INTERVAL
        try:
            me = await self._team.client.me()
        except PlatformError as error:
            self.quotas, self._due_at = {}, now + RETRY
            self._team.hold.extend(error.retry_after)
        else:
            self.quotas = own_quotas(me, self._team.rules.team_id)
