"""From settings to a running exporter: what is made of what."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

from exporter import __version__
from exporter.cli.budget import MOST_PER_POLL
from exporter.cli.credentials import OriginKey, open_credentials, origin_key, release
from exporter.cli.discoveries import Discoveries
from exporter.collect.agents import AgentRules
from exporter.collect.context import TeamRules
from exporter.collect.exporter import Exporter
from exporter.collect.history import Clock
from exporter.collect.schedule import GRACE, Schedule
from exporter.collect.team import Team
from exporter.config import Settings
from exporter.config import Team as TeamSettings
from exporter.errors import ConfigError
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import SeriesStore
from exporter.platform.client import Limits, Platform
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import Pacer
from exporter.platform.proxy import environment_proxy
from exporter.platform.trust import trust

CLOCK = Clock(time.time, time.monotonic)
PATIENCE: Final = 4.0
"""Seconds that an exporter which is told to stop waits for a trade of tokens, for the new one would be lost."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """This process' part of the teams, when several share them."""

    number: int = 0
    total: int = 1

    def holds(self, team: str) -> bool:
        """Whether the team is this shard's: by a hash of its name that is the same everywhere."""
        digest = blake2s(team.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.total == self.number

    def part(self, settings: Settings) -> Settings:
        """The same settings with this shard's teams alone; those to be discovered are not known yet."""
        teams = tuple(team for team in settings.teams if self.holds(team.name))
        return settings.model_copy(update={"teams": teams})


class Assembly:
    """What a configuration makes. Mutable: it can be made anew from another one while it runs."""

    def __init__(self, environ: Mapping[str, str], shard: Shard) -> None:
        self._environ = environ
        self._shard = shard
        self._settings: Settings | None = None
        self._platform: Platform | None = None
        self._sources: dict[OriginKey, TokenSource] = {}
        self._retired: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._payload, self.counters = SeriesStore(CLOCK.monotonic), ApiCounters()
        self.discoveries = Discoveries(CLOCK, self.counters)
        self._schedule = Schedule(CLOCK)
        self.exporter = Exporter(self._schedule, payload=self._payload, counters=self.counters, clock=CLOCK)

    async def apply(self, settings: Settings) -> None:
        """Go by these settings. Teams whose credential and platform stay the same keep data, counters and beat.

        Raises:
            ConfigError: a credential, the CA bundle or the proxy cannot be used; then nothing has changed.
        """
        async with self._one:
            old, before, had = self._platform, self._settings, self._sources
            mine = self._shard.part(settings)
            sources = await asyncio.to_thread(open_credentials, mine, self._environ, had, lock=True)
            try:
                platform = old if old and before and before.api == settings.api else self._connect(settings)
            except ConfigError:
                release(source for key, source in sources.items() if key not in had)
                raise
            if platform is not old:
                await platform.__aenter__()
            self._sources, self._platform = sources, platform
            self.discoveries.reconfigure(
                settings.discover, sources, platform, same_platform=_same_platform(settings, before)
            )
            self.exporter.discovered = self.discoveries.attempted
            self._schedule.stuck_after = settings.api.timeout + GRACE + _waiting(settings)
            self._set_teams(settings, before)
            self._settings = settings
            await _let_go([source for key, source in had.items() if key not in sources])
            if old is not None and before is not None and old is not platform:
                retired = asyncio.create_task(_retire(old, before.api.timeout, list(had.values())))
                self._retired = [retired, *(task for task in self._retired if not task.done())]

    def _connect(self, settings: Settings) -> Platform:
        api, intervals = settings.api, [settings.interval_of(team) for team in settings.teams]
        intervals += [found.interval or settings.collect.interval for found in settings.discover]
        return Platform(
            api.base_url,
            limits=Limits(api.timeout, api.max_response_bytes),
            pacer=Pacer(api.max_requests_per_second, api.max_concurrency),
            log=self.counters,
            ssl_context=trust(api.ca_file),
            # A connection that ends between two polls costs a handshake in each.
            keepalive=2 * max(intervals, default=settings.collect.interval),
            user_agent=f"cyberun-exporter/{__version__}",
            proxy=environment_proxy(api.base_url),
        )

    def _set_teams(self, settings: Settings, before: Settings | None) -> None:
        found = self.discoveries.teams(settings)
        mine = [team for team in (*settings.teams, *found) if self._shard.holds(team.name)]
        teams = [self._team(settings, team, before) for team in mine]
        self.exporter.set_teams(teams, stale_after=settings.collect.stale_after)

    def _team(self, settings: Settings, team: TeamSettings, before: Settings | None) -> Team:
        assert self._platform is not None  # noqa: S101  narrows the type; `apply` has set it
        source = self._sources[origin_key(team)]
        rules, client = _rules(settings, team), self._platform.team(team.name, source, team.team_id)
        known = self.exporter.team(team.name)
        if known is not None and _same_platform(settings, before) and known.is_of(team.team_id, source):
            known.reconfigure(rules, client)
            return known
        return Team(
            rules,
            client=client,
            credential=source,
            store=self._payload,
            counters=self.counters,
            clock=CLOCK,
            random=random.random,
        )

    async def look(self) -> bool:
        """Find the teams of every credential that is to be discovered, once.

        Returns:
            Whether each of them could be asked.
        """
        await self.discoveries.look()
        await self._found_again()
        return not self.discoveries.failed

    async def run(self) -> None:
        """Poll and discover until cancelled. What is not handled there ends the process."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.exporter.run())
            group.create_task(self.discoveries.keep_looking(self._found_again))

    async def _found_again(self) -> None:
        async with self._one:
            if self._settings is not None:
                self._set_teams(self._settings, self._settings)
                self.exporter.discovered = self.discoveries.attempted

    def stop(self) -> None:
        """Begin to end sessions: a trade under way has `PATIENCE` from now on."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(_let_go(self._sources.values(), PATIENCE))

    async def close(self) -> None:
        """End sessions and connections."""
        self.stop()
        if self._stopping is not None:
            await self._stopping
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        if self._platform is not None:
            await self._platform.__aexit__()


def _same_platform(settings: Settings, before: Settings | None) -> bool:
    return before is not None and before.api.base_url == settings.api.base_url


def _waiting(settings: Settings) -> float:
    """Seconds that a poll may wait for its turns when every team polls at once."""
    return MOST_PER_POLL * len(settings.teams) / settings.api.max_requests_per_second


async def _retire(platform: Platform, patience: float, sources: Iterable[TokenSource]) -> None:
    """End the connections that a reload has replaced, once the requests on them have had their time."""
    try:
        await asyncio.sleep(patience)
        await _settle(sources)
    finally:
        await platform.__aexit__()


async def _settle(sources: Iterable[TokenSource]) -> None:
    await asyncio.gather(*(source.finish_renewal() for source in sources))


async def _let_go(sources: Collection[TokenSource], patience: float | None = None) -> None:
    """Release them when no trade is under way any more, after `patience` seconds at the latest."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await _settle(sources)
    finally:
        release(sources)


@asynccontextmanager
async def assembled(settings: Settings, environ: Mapping[str, str], shard: Shard) -> AsyncIterator[Assembly]:
    """The exporter of these settings, ready to poll; its connections end with the block.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    assembly = Assembly(environ, shard)
    try:
        await assembly.apply(settings)
        yield assembly
    finally:
        await assembly.close()


def _rules(settings: Settings, team: TeamSettings) -> TeamRules:
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
        agents_path=team.agents_path,
        agents=agents,
    )
