"""From settings to a running exporter: what is made of what."""

import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from exporter import __version__
from exporter.collect.agents import AgentRules
from exporter.collect.exporter import Exporter
from exporter.collect.history import Clock
from exporter.collect.schedule import Schedule
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


def open_credentials(settings: Settings, environ: Mapping[str, str]) -> dict[str, Credential]:
    """Read each team's credential.

    Raises:
        ConfigError: with a line for each credential that cannot be used.
    """
    credentials: dict[str, Credential] = {}
    mistakes: list[str] = []
    for i, team in enumerate(settings.teams):
        try:
            credentials[team.name] = _open(team, environ)
        except ConfigError as error:
            mistakes.extend(f"teams[{i}]: {mistake}" for mistake in error.mistakes)
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


@asynccontextmanager
async def connected(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Exporter]:
    """Make the exporter of these settings, ready to poll; its connections end with the block.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    credentials = open_credentials(settings, environ)
    counters, payload = ApiCounters(), Payload(CLOCK.monotonic)
    api, intervals = settings.api, [settings.interval_of(team) for team in settings.teams]
    platform = Platform(
        api.base_url,
        limits=Limits(api.timeout, api.max_response_bytes),
        pacer=Pacer(api.max_requests_per_second, api.max_concurrency),
        log=counters,
        ssl_context=trust(api.ca_file),
        # A connection that ends between two polls costs a handshake in each.
        keepalive=2 * max(intervals),
        user_agent=f"cyberun-exporter/{__version__}",
        proxy=environment_proxy(api.base_url),
    )
    async with platform:
        teams = [
            Team(
                _rules(settings, team),
                client=platform.team(team.name, credentials[team.name], team.team_id),
                credential=credentials[team.name],
                payload=payload,
                counters=counters,
                clock=CLOCK,
                random=random.random,
            )
            for team in settings.teams
        ]
        schedule = Schedule(teams, CLOCK, timeout=api.timeout)
        yield Exporter(
            teams,
            schedule,
            payload=payload,
            counters=counters,
            clock=CLOCK,
            stale_after=settings.collect.stale_after,
        )


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
