"""`check`: what the configuration means, without asking the platform."""

import os
import time
from collections.abc import Mapping

from exporter.cli.arguments import Arguments
from exporter.cli.online import online
from exporter.cli.running import run_once
from exporter.cli.settings import start_settings
from exporter.config.settings import Settings
from exporter.config.types import format_duration
from exporter.platform.credentials import TokenSource
from exporter.platform.proxy import environment_proxy
from exporter.platform.trust import Trust
from exporter.service.budget import requests_per_discovered_team, requests_per_minute, series_per_agent, series_per_team
from exporter.service.budget import warnings as budget_warnings
from exporter.service.credentials import OriginKey, open_credentials, origin_key, warnings
from exporter.service.shard import Shard
from exporter.web.access import AccessControl


def run(given: Arguments) -> int:
    """Print what the configuration means, and with `--online` how the platform answers."""
    settings = start_settings(given)
    check(settings, os.environ, given.shard)
    return run_once(online(settings, os.environ, given.shard)) if given.online else 0


def check(settings: Settings, environ: Mapping[str, str], shard: Shard) -> None:
    """Print the teams, the request budget and the expected series.

    Raises:
        ConfigError: a credential, the CA bundle, the proxy or the web configuration cannot be used.
    """
    settings = shard.part(settings)
    credentials = open_credentials(settings, environ, {}, lock=False)
    Trust(settings.api.ca_file)
    proxy = environment_proxy(settings.api.base_url)
    access = AccessControl(settings.web.config_file) if settings.web.config_file else None
    print(f"platform   {settings.api.base_url}")
    if proxy is not None:
        print(f"proxy      {proxy}")
    if shard.total > 1:
        print(f"shard      {shard.number} of {shard.total}, counted from 0: only its own teams")
    print(*_table(settings, credentials), sep="\n", end="\n\n")
    print(*_budget(settings), sep="\n")
    for warning in (*warnings(settings, credentials, time.time()), *(access.file.warnings() if access else ())):
        print(f"warning    {warning}")


def _table(settings: Settings, credentials: Mapping[OriginKey, TokenSource]) -> list[str]:
    rows = [("TEAM", "CREDENTIAL", "TEAM ID", "INTERVAL", "EXPECTED AGENTS")]
    rows += [
        (
            team.name,
            credentials[origin_key(team)].kind,
            team.team_id or "-",
            format_duration(settings.interval_of(team)),
            str(len(team.expected_agents)),
        )
        for team in settings.teams
    ]
    rows += [
        (
            f"({name})",
            credentials[origin_key(found)].kind,
            "-",
            format_duration(found.interval or settings.collect.interval),
            "-",
        )
        for name, found in settings.discoveries()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _budget(settings: Settings) -> list[str]:
    allowed = 60 * settings.api.max_requests_per_second
    one, two = series_per_agent(1), series_per_agent(2)
    lines = [
        (
            f"requests   {_requests(settings)}, with up to 100 agents a team;"
            f" {allowed:.0f} allowed by api.max_requests_per_second"
        ),
        f"series     {_series(settings)}, and {one} for each agent with one GPU, {two - one} for each further GPU",
    ]
    return lines + [f"warning    {warning}" for warning in budget_warnings(settings)]


def _requests(settings: Settings) -> str:
    least, most = requests_per_minute(settings)
    known = settings.teams or not settings.discover
    configured = [f"{least:.0f} to {most:.0f} a minute"] if known else []
    least, most = requests_per_discovered_team(settings)
    discovered = [f"{least:.0f} to {most:.0f} a minute for each discovered team"] if settings.discover else []
    return " and ".join(configured + discovered)


def _series(settings: Settings) -> str:
    known = settings.teams or not settings.discover
    configured = [f"{series_per_team() * len(settings.teams)} for the teams themselves"] if known else []
    discovered = [f"{series_per_team()} for each discovered team itself"] if settings.discover else []
    return ", ".join(configured + discovered)
