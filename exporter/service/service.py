"""The running exporter: the current assembly, and the data that outlives it."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from exporter.collect.agents import AgentRules
from exporter.collect.context import TeamRules
from exporter.collect.schedule import GRACE, Schedule
from exporter.collect.team import Team
from exporter.config.settings import Settings, TeamSettings
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import SeriesStore
from exporter.platform import paths
from exporter.platform.clock import AWAKE, CLOCK
from exporter.service.assembly import Assembler, Assembly
from exporter.service.budget import MAX_REQUESTS_PER_POLL
from exporter.service.choice import Choice, choose
from exporter.service.credentials import OriginKey, origin_key
from exporter.service.discovery import Discovery
from exporter.service.discovery_report import ChoiceLog, discovery_status
from exporter.service.exporter import Exporter
from exporter.service.shard import Shard

STOP_TIMEOUT: Final = 4.0
"""Seconds that a stopping exporter waits for a session renewal, so that its new refresh token is not lost."""


class Service:
    """The exporter as it runs. Mutable: `apply` replaces the current assembly."""

    def __init__(self, assembler: Assembler, counters: ApiCounters, assembly: Assembly, opened: AsyncExitStack) -> None:
        """Start with an assembly.

        Args:
            assembler: opens further assemblies.
            counters: count all requests.
            assembly: the first assembly.
            opened: closes that assembly; this object takes ownership.
        """
        self.counters = counters
        self._assembler = assembler
        self._assembly = assembly
        self._opened = opened
        self._store = SeriesStore(CLOCK.monotonic)
        self._schedule = Schedule(AWAKE)
        self.exporter = Exporter(self._schedule, store=self._store, counters=counters, clock=CLOCK)
        self._choice_log = ChoiceLog()
        self._changes = asyncio.Lock()
        """Held while the assembly or the teams are replaced."""
        self._discoveries_replaced = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()
        self._start_discoveries({})
        self._set_teams(same_platform=False)

    @property
    def assembly(self) -> Assembly:
        """The assembly in use."""
        return self._assembly

    async def apply(self, settings: Settings) -> None:
        """Apply these settings. Teams with the same credential and platform keep their data, counters and schedule.

        Raises:
            ConfigError: a credential, the CA bundle or the proxy cannot be used. Nothing has changed.
        """
        async with self._changes:
            opened, before = AsyncExitStack(), self._assembly
            assembled = self._assembler.assembled(settings, before.findings(settings))
            self._assembly = await opened.enter_async_context(assembled)
            retired, self._opened = self._opened, opened
            self._start_discoveries(before.discoveries)
            self._set_teams(same_platform=settings.api.base_url == before.settings.api.base_url)
            self._retiring.add(task := asyncio.create_task(retired.aclose()))
            task.add_done_callback(self._retiring.discard)

    def _start_discoveries(self, before: Mapping[OriginKey, Discovery]) -> None:
        """Switch request counters to the current discoveries, and make them request their teams at once."""
        names = set()
        for key, discovery in self._assembly.discoveries.items():
            renews = self._assembly.credentials[key].renews
            self.counters.start(discovery.name, (paths.ME, paths.REFRESH) if renews else (paths.ME,))
            names.add(discovery.name)
        for name in {discovery.name for discovery in before.values()} - names:
            self.counters.forget(name)
        self._discoveries_replaced.set()

    def _set_teams(self, *, same_platform: bool = True) -> None:
        """Poll the configured teams, and the discovered ones that were chosen."""
        now, settings = self._assembly, self._assembly.settings
        choices = self.choices()
        found = [team for choice in choices for team in choice.teams]
        mine = [team for team in (*settings.teams, *found) if now.shard.holds(team.name)]
        teams = [self._team(team, same_platform=same_platform) for team in mine]
        self._schedule.stuck_after = settings.api.timeout + GRACE + _longest_wait(len(teams), settings)
        self.exporter.set_teams(teams, stale_after=settings.collect.stale_after)
        self.exporter.discovered = all(each.findings.attempted for each in now.discoveries.values())
        self.exporter.discoveries = tuple(map(discovery_status, choices))
        self._choice_log.note(choices)

    def choices(self) -> tuple[Choice, ...]:
        """The decision about the teams that each discovery found."""
        now = self._assembly
        return choose(now.settings, now.credentials, now.discoveries)

    def _team(self, team: TeamSettings, *, same_platform: bool) -> Team:
        source = self._assembly.credentials[origin_key(team)]
        rules = team_rules(self._assembly.settings, team)
        client = self._assembly.platform.team(team.name, source, team.team_id, team.agents_path)
        known = self.exporter.team(team.name)
        if known is not None and same_platform and known.is_of(team.team_id, source):
            known.reconfigure(rules, client)
            return known
        return Team(
            rules,
            client=client,
            credential=source,
            store=self._store,
            counters=self.counters,
            clock=CLOCK,
            random=random.random,
        )

    async def discover_once(self) -> bool:
        """Run every discovery once.

        Returns:
            Whether all of them succeeded.
        """
        discoveries = self._assembly.discoveries.values()
        await asyncio.gather(*(discovery.look() for discovery in discoveries))
        await self.update_teams()
        return not any(discovery.findings.failure for discovery in discoveries)

    async def run(self) -> None:
        """Poll and discover until cancelled. An unhandled error ends the process."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.exporter.run())
            group.create_task(self._keep_discovering())

    async def _keep_discovering(self) -> None:
        """Run the current discoveries; after a reload, the new ones."""
        while True:
            self._discoveries_replaced.clear()
            async with asyncio.TaskGroup() as group:
                discoveries = self._assembly.discoveries.values()
                looking = [group.create_task(each.keep_looking(self.update_teams)) for each in discoveries]
                await self._discoveries_replaced.wait()
                for task in looking:
                    task.cancel()

    async def update_teams(self) -> None:
        """Poll what the discoveries have found by now."""
        async with self._changes:
            self._set_teams()

    async def close(self) -> None:
        """Close everything that is open; wait at most `STOP_TIMEOUT` for a session renewal under way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._opened.aclose()
                await asyncio.gather(*self._retiring)


def team_rules(settings: Settings, team: TeamSettings) -> TeamRules:
    """The rules for one team, from the settings."""
    collect = settings.collect
    agents = AgentRules(
        team=team.name,
        max_pages=settings.api.max_pages,
        max_agents=collect.max_agents,
        memory=collect.agent_memory,
        expected=frozenset(team.expected_agents),
        with_labels=collect.agent_labels,
    )
    return TeamRules(
        name=team.name,
        team_id=team.team_id,
        interval=settings.interval_of(team),
        stale_after=collect.stale_after,
        token_expires=team.token_expires,
        agents=agents,
        workflows=collect.workflows,
    )


def _longest_wait(teams: int, settings: Settings) -> float:
    """Seconds that a poll may wait for permits when all teams poll at once."""
    return MAX_REQUESTS_PER_POLL * teams / settings.api.max_requests_per_second


@asynccontextmanager
async def started(settings: Settings, environ: Mapping[str, str], shard: Shard) -> AsyncIterator[Service]:
    """The service for these settings, ready to poll; everything it opened is closed when the block ends.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    counters = ApiCounters()
    assembler = Assembler(environ, shard, counters)
    async with AsyncExitStack() as stack:
        assembly = await stack.enter_async_context(assembler.assembled(settings, {}))
        service = Service(assembler, counters, assembly, stack.pop_all())
        stack.push_async_callback(service.close)
        yield service
