"""All teams together: what the web serves and what `once` prints."""

import asyncio
from collections.abc import Sequence

from exporter import __version__
from exporter.collect.history import Clock
from exporter.collect.schedule import Schedule
from exporter.collect.team import Team
from exporter.expose.about import about
from exporter.expose.counters import ApiCounters
from exporter.expose.payload import Payload
from exporter.expose.pieces import Answer
from exporter.status import ExporterStatus


class Exporter:
    """The source of every answer. Its state is that of its parts."""

    def __init__(
        self,
        teams: Sequence[Team],
        schedule: Schedule,
        *,
        payload: Payload,
        counters: ApiCounters,
        clock: Clock,
        stale_after: float,
    ) -> None:
        self._teams = teams
        self._schedule = schedule
        self._payload = payload
        self._counters = counters
        self._clock = clock
        self._stale_after = stale_after
        self._started_at = clock.wall()

    async def run(self) -> None:
        """Poll by the schedule until cancelled."""
        await self._schedule.run()

    async def once(self) -> None:
        """Poll each team once."""
        async with asyncio.TaskGroup() as group:
            for team in self._teams:
                group.create_task(team.poll())

    def exposition(self, *, openmetrics: bool) -> Answer:
        """The payload of this moment, in OpenMetrics 1.0.0 or in the text format 0.0.4."""
        lines = about(self.status(), self._counters, openmetrics=openmetrics)
        return self._payload.answer(lines, openmetrics=openmetrics)

    def status(self) -> ExporterStatus:
        """What is known about the polls at this moment."""
        next_polls = self._schedule.next_polls()
        return ExporterStatus(
            version=__version__,
            now=self._clock.wall(),
            started_at=self._started_at,
            stale_after=self._stale_after,
            clock_skew=self._counters.skew,
            teams=tuple(team.status(next_polls.get(team.rules.name)) for team in self._teams),
            last_reload_ok=True,
            last_reload_ok_at=self._started_at,
        )

    def healthy(self) -> bool:
        """Whether the event loop, which answers this, and the poll schedule advance."""
        return self._schedule.advances()
