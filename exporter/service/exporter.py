"""All teams together: their expositions and status, which the web serves and `once` prints."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from exporter import __version__
from exporter.catalog import Operation
from exporter.collect.schedule import Schedule
from exporter.collect.team import Team
from exporter.expose.compression import Exposition
from exporter.expose.counters import ApiCounters
from exporter.expose.self_metrics import SelfMetrics
from exporter.expose.series_store import SeriesStore
from exporter.log import lines_dropped
from exporter.platform.clock import Clock
from exporter.status import DiscoveryStatus, ExporterStatus, TeamStatus

TEAMS_AT_A_TIME: Final = 50
"""Teams rendered before the event loop runs other tasks: about 4 ms of work."""


class Exporter:
    """Polls all teams on a schedule and serves what they published. Mutable: a reload replaces its teams."""

    def __init__(self, schedule: Schedule, *, store: SeriesStore, counters: ApiCounters, clock: Clock) -> None:
        self._schedule = schedule
        self._store = store
        self._counters = counters
        self._clock = clock
        self._teams: dict[str, Team] = {}
        self._stale_after = 0.0
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._started_at = self._reloaded_at = clock.wall()
        self._reload_ok = True
        self.discovered = True
        """Whether every discovery was attempted; True if there is none."""
        self.discoveries: tuple[DiscoveryStatus, ...] = ()
        """The state of each discovery after its last attempt."""

    def set_teams(self, teams: Sequence[Team], *, stale_after: float) -> None:
        """Poll and serve exactly these teams.

        Existing ones keep their data and their schedule.
        """
        # A new team may take over a name: the old one's series go, while the counters of that name stay.
        for name, team in self._teams.items():
            if team not in teams:
                team.retire()
                self._store.remove(name)
        for name in self._teams.keys() - {team.rules.name for team in teams}:
            self._counters.forget(name)
        self._teams = {team.rules.name: team for team in teams}
        self._stale_after = stale_after
        self._schedule.set_teams(teams)

    def note_reload(self, *, ok: bool) -> None:
        """Remember whether the last attempt to load the configuration succeeded."""
        self._reload_ok = ok
        if ok:
            self._reloaded_at = self._clock.wall()

    def team(self, name: str) -> Team | None:
        """The team of that name, if there is one."""
        return self._teams.get(name)

    async def run(self) -> None:
        """Poll on schedule until cancelled."""
        try:
            await self._schedule.run()
        finally:
            for probe in self._probes.values():
                probe.cancel()

    async def once(self) -> None:
        """Poll each team once."""
        async with asyncio.TaskGroup() as group:
            for team in self._teams.values():
                group.create_task(team.poll())

    async def scrape(self, *, openmetrics: bool) -> Exposition:
        """The exposition of all teams, in OpenMetrics 1.0.0 or in the text format 0.0.4.

        Polls continue after every 50 teams.
        """
        metrics = SelfMetrics(self._counters)
        for number, status in enumerate(self._team_statuses(), start=1):
            metrics.add_team(status, up=status.up)
            if number % TEAMS_AT_A_TIME == 0:
                await asyncio.sleep(0)
        # The teams are in already; this adds what is about the process.
        rendered = metrics.render(self._status_of(()), openmetrics=openmetrics)
        return self._store.exposition(rendered, openmetrics=openmetrics)

    async def probe(self, name: str, *, openmetrics: bool, within: float) -> Exposition:
        """Poll one team now and return its metrics.

        Concurrent requests share a poll, and a team that was polled within the last second is not polled again.

        Args:
            name: the name of an existing team.
            openmetrics: the format, as in `scrape`.
            within: seconds to wait for the poll. After that the response has the data known so far, the team counts
                as down, and the poll continues.
        """
        team = self._teams[name]
        probe = self._probes.get(name)
        if probe is None:
            probe = self._probes[name] = asyncio.create_task(team.poll_unless_recent())
            probe.add_done_callback(lambda _: self._probes.pop(name, None))
        await asyncio.wait((probe,), timeout=within)
        status = team.status(self._schedule.next_polls().get(name))
        metrics = SelfMetrics(self._counters)
        metrics.add_team(status, up=probe.done() and status.up)
        return self._store.team_exposition(metrics.render_teams(openmetrics=openmetrics), name, openmetrics=openmetrics)

    def status(self) -> ExporterStatus:
        """What is known about the polls at this moment."""
        return self._status_of(self._team_statuses())

    def _team_statuses(self) -> Iterator[TeamStatus]:
        next_polls = self._schedule.next_polls()
        for name, team in list(self._teams.items()):
            yield team.status(next_polls.get(name))

    def _status_of(self, teams: Iterable[TeamStatus]) -> ExporterStatus:
        return ExporterStatus(
            version=__version__,
            now=self._clock.wall(),
            started_at=self._started_at,
            stale_after=self._stale_after,
            clock_skew=self._counters.skew,
            teams=tuple(teams),
            log_lines_dropped=lines_dropped(),
            discovered=self.discovered,
            last_reload_ok=self._reload_ok,
            last_reload_ok_at=self._reloaded_at,
            discoveries=self.discoveries,
        )

    def note_internal_error(self) -> None:
        """Count an HTTP request that failed because of a bug."""
        self._counters.internal_error(Operation.HTTP)

    def healthy(self) -> bool:
        """Whether the poll schedule advances. That this is answered at all shows that the event loop runs."""
        return self._schedule.advances()
