"""From settings to a running exporter: what is made of what."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2s

from exporter import __version__
from exporter.collect.agents import AgentRules
from exporter.collect.exporter import Exporter
from exporter.collect.history import Clock
from exporter.collect.schedule import GRACE, Schedule
from exporter.collect.team import Team, TeamRules
from exporter.config import Settings
from exporter.config import Team as TeamSettings
from exporter.errors import ConfigError
from exporter.expose.counters import ApiCounters
from exporter.expose.payload import Payload
from exporter.platform.client import Limits, Platform, trust
from exporter.platform.credentials import Credential
from exporter.platform.pacing import Pacer
from exporter.platform.proxy import environment_proxy

CLOCK = Clock(time.time, time.monotonic)


@dataclass(frozen=True, slots=True)
class Shard:
    """This process' part of the teams, when several share them."""

    number: int = 0
    total: int = 1

    def holds(self, team: str) -> bool:
        """Whether the team is this shard's: by a hash of its name that is the same everywhere."""
        digest = blake2s(team.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.total == self.number


def open_credentials(teams: Sequence[TeamSettings], environ: Mapping[str, str]) -> dict[str, Credential]:
    """Read each team's credential.

    Raises:
        ConfigError: with a line for each credential that cannot be used.
    """
    credentials: dict[str, Credential] = {}
    mistakes: list[str] = []
    for team in teams:
        try:
            credentials[team.name] = _open(team, environ)
        except ConfigError as error:
            mistakes.extend(f"team {team.name}: {mistake}" for mistake in error.mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return credentials


def _open(team: TeamSettings, environ: Mapping[str, str]) -> Credential:
    if team.token_file is not None:
        credential = Credential.from_file(team.token_file, clock=CLOCK.wall)
    else:
        credential = Credential.from_environment(team.token_env or "", environ, clock=CLOCK.wall)
    if credential.kind == "jwt" and team.team_id is None:
        raise ConfigError(["team_id: found none; allowed: the team's UUID, which a user JWT needs"])
    if credential.kind == "integration" and team.agents_path == "/agents":
        raise ConfigError(["agents_path: found /agents; allowed: /r/agents, an sk- key may use runtime paths only"])
    return credential


class Assembly:
    """What a configuration makes. Mutable: it can be made anew from another one while it runs."""

    def __init__(self, environ: Mapping[str, str], shard: Shard) -> None:
        self._environ = environ
        self._shard = shard
        self._settings: Settings | None = None
        self._platform: Platform | None = None
        self._payload, self._counters = Payload(CLOCK.monotonic), ApiCounters()
        self._schedule = Schedule(CLOCK)
        self.exporter = Exporter(self._schedule, payload=self._payload, counters=self._counters, clock=CLOCK)

    async def apply(self, settings: Settings) -> None:
        """Go by these settings. Teams whose credential and platform stay the same keep data, counters and beat.

        Raises:
            ConfigError: a credential, the CA bundle or the proxy cannot be used; then nothing has changed.
        """
        mine = [team for team in settings.teams if self._shard.holds(team.name)]
        credentials = await asyncio.to_thread(open_credentials, mine, self._environ)
        before, old = self._settings, self._platform
        platform = old if old and before and before.api == settings.api else self._connect(settings)
        if platform is not old:
            await platform.__aenter__()
        teams = [await self._team(settings, team, credentials[team.name], platform) for team in mine]
        self._schedule.patience = settings.api.timeout + GRACE
        self.exporter.set_teams(teams, stale_after=settings.collect.stale_after)
        self._settings, self._platform = settings, platform
        if old is not None and old is not platform:
            await old.__aexit__()

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

    async def _team(self, settings: Settings, team: TeamSettings, credential: Credential, platform: Platform) -> Team:
        rules, client = _rules(settings, team), platform.team(team.name, credential, team.team_id)
        known = self.exporter.team(team.name)
        if known is not None and self._is_same(settings, team):
            await known.reconfigure(rules, client, credential)
            return known
        return Team(
            rules,
            client=client,
            credential=credential,
            payload=self._payload,
            counters=self._counters,
            clock=CLOCK,
            random=random.random,
        )

    def _is_same(self, settings: Settings, team: TeamSettings) -> bool:
        """Whether the team of that name is still the same one on the platform."""
        before = self._settings
        known = next((known for known in before.teams if known.name == team.name), None) if before else None
        return (
            before is not None
            and known is not None
            and before.api.base_url == settings.api.base_url
            and (known.team_id, known.token_file, known.token_env) == (team.team_id, team.token_file, team.token_env)
        )

    async def close(self) -> None:
        """End the connections to the platform."""
        if self._platform is not None:
            await self._platform.__aexit__()


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
