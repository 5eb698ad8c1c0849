"""From settings to a running exporter: what is made of what."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2s

from exporter import __version__
from exporter.cli.credentials import OriginKey, discovery_name, open_credentials, origin_key
from exporter.collect.agents import AgentRules
from exporter.collect.discovery import Discovery
from exporter.collect.exporter import Exporter
from exporter.collect.history import Clock
from exporter.collect.schedule import GRACE, Schedule
from exporter.collect.team import Team, TeamRules
from exporter.config import Settings
from exporter.config import Team as TeamSettings
from exporter.errors import ConfigError
from exporter.expose.counters import ApiCounters
from exporter.expose.payload import Payload
from exporter.log import event
from exporter.platform.client import Limits, Platform, trust
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import Pacer
from exporter.platform.proxy import environment_proxy

CLOCK = Clock(time.time, time.monotonic)
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


class Assembly:
    """What a configuration makes. Mutable: it can be made anew from another one while it runs."""

    def __init__(self, environ: Mapping[str, str], shard: Shard) -> None:
        self._environ = environ
        self._shard = shard
        self._settings: Settings | None = None
        self._platform: Platform | None = None
        self._sources: dict[OriginKey, TokenSource] = {}
        self._discoveries: dict[OriginKey, Discovery] = {}
        self._looking: dict[OriginKey, asyncio.Task[None]] = {}
        self._retired: list[asyncio.Task[None]] = []
        self._one = asyncio.Lock()
        self._payload, self._counters = Payload(CLOCK.monotonic), ApiCounters()
        self._schedule = Schedule(CLOCK)
        self.exporter = Exporter(self._schedule, payload=self._payload, counters=self._counters, clock=CLOCK)

    async def apply(self, settings: Settings) -> None:
        """Go by these settings. Teams whose credential and platform stay the same keep data, counters and beat.

        Raises:
            ConfigError: a credential, the CA bundle or the proxy cannot be used; then nothing has changed.
        """
        async with self._one:
            old, before, had = self._platform, self._settings, self._sources
            sources = await asyncio.to_thread(open_credentials, settings, self._environ, had, lock=True)
            try:
                platform = old if old and before and before.api == settings.api else self._connect(settings)
            except ConfigError:
                await _close([source for key, source in sources.items() if key not in had])
                raise
            if platform is not old:
                await platform.__aenter__()
            self._sources, self._platform = sources, platform
            self._set_discoveries(settings, fresh=platform is not old)
            self._schedule.patience = settings.api.timeout + GRACE
            self._set_teams(settings, before)
            self._settings = settings
            await _close([source for key, source in had.items() if key not in sources])
            if old is not None and before is not None and old is not platform:
                retired = asyncio.create_task(_retire(old, before.api.timeout))
                self._retired = [retired, *(task for task in self._retired if not task.done())]

    def _connect(self, settings: Settings) -> Platform:
        api, intervals = settings.api, [settings.interval_of(team) for team in settings.teams]
        return Platform(
            api.base_url,
            limits=Limits(api.timeout, api.max_response_bytes),
            pacer=Pacer(api.max_requests_per_second, api.max_concurrency),
            log=self._counters,
            ssl_context=trust(api.ca_file),
            # A connection that ends between two polls costs a handshake in each.
            keepalive=2 * max(intervals, default=settings.collect.interval),
            user_agent=f"cyberun-exporter/{__version__}",
            proxy=environment_proxy(api.base_url),
        )

    def _set_discoveries(self, settings: Settings, *, fresh: bool) -> None:
        assert self._platform is not None  # noqa: S101  narrows the type; `apply` has set it
        known = {} if fresh else self._discoveries
        self._discoveries = {}
        for i, discover in enumerate(settings.discover):
            key, name = origin_key(discover), discovery_name(i)
            client = self._platform.team(name, self._sources[key], None)
            self._discoveries[key] = known.get(key) or Discovery(name, client, CLOCK.monotonic, random.random)
        self.exporter.discovered = all(discovery.attempted for discovery in self._discoveries.values())
        for key, task in list(self._looking.items()):
            if self._discoveries.get(key) is not known.get(key) or fresh:
                task.cancel()
                del self._looking[key]

    def _set_teams(self, settings: Settings, before: Settings | None) -> None:
        mine = [team for team in (*settings.teams, *self._found(settings)) if self._shard.holds(team.name)]
        teams = [self._team(settings, team, before) for team in mine]
        self.exporter.set_teams(teams, stale_after=settings.collect.stale_after)

    def _found(self, settings: Settings) -> Iterator[TeamSettings]:
        """The discovered teams that are wanted; a name that is taken already is left to whoever has it."""
        taken = {team.name for team in settings.teams}
        for discover in settings.discover:
            key = origin_key(discover)
            wanted = [found for found in self._discoveries[key].teams if discover.wants(found.name)]
            if self._sources[key].kind == "device" and len(wanted) > 1:
                names = ", ".join(found.name for found in wanted)
                event(_log, logging.WARNING, "a device key reads one team: include that one alone", found=names)
                continue
            for found in wanted:
                team = discover.team(found.name, found.team_id)
                if team is None or team.name in taken:
                    event(
                        _log, logging.WARNING, "discovered team left out", team_name=found.name, team_id=found.team_id
                    )
                    continue
                taken.add(team.name)
                yield team

    def _team(self, settings: Settings, team: TeamSettings, before: Settings | None) -> Team:
        assert self._platform is not None  # noqa: S101  narrows the type; `apply` has set it
        source = self._sources[origin_key(team)]
        rules, client = _rules(settings, team), self._platform.team(team.name, source, team.team_id)
        known = self.exporter.team(team.name)
        same = before is not None and before.api.base_url == settings.api.base_url
        if known is not None and same and known.is_of(team.team_id, source):
            known.reconfigure(rules, client)
            return known
        return Team(
            rules,
            client=client,
            credential=source,
            payload=self._payload,
            counters=self._counters,
            clock=CLOCK,
            random=random.random,
        )

    async def look(self) -> None:
        """Find the teams of every credential that is to be discovered, once."""
        await asyncio.gather(*(discovery.look() for discovery in self._discoveries.values()))
        await self._found_again()

    async def run(self) -> None:
        """Poll and discover until cancelled. What is not handled there ends the process."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.exporter.run())
            group.create_task(self._keep_looking(group))

    async def _keep_looking(self, group: asyncio.TaskGroup) -> None:
        while True:
            for key, discovery in self._discoveries.items():
                if key not in self._looking:
                    self._looking[key] = group.create_task(discovery.keep_looking(self._found_again))
            await asyncio.sleep(1)

    async def _found_again(self) -> None:
        async with self._one:
            if self._settings is not None:
                self.exporter.discovered = all(discovery.attempted for discovery in self._discoveries.values())
                self._set_teams(self._settings, self._settings)

    async def close(self) -> None:
        """End sessions and connections."""
        await _close(self._sources.values())
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        if self._platform is not None:
            await self._platform.__aexit__()


async def _retire(platform: Platform, patience: float) -> None:
    """End the connections that a reload has replaced, once the requests on them have had their time."""
    try:
        await asyncio.sleep(patience)
    finally:
        await platform.__aexit__()


async def _close(sources: Iterable[TokenSource]) -> None:
    for source in sources:
        await source.close()


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
