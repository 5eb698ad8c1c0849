"""The status page: what waits, what runs and what is wrong. Readable at night, on a phone and without JavaScript.

Plain functions from status to HTML. All text that is not written here goes through `escape`.
"""

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Final

from exporter.status import NOTABLE_SKEW, DiscoveryStatus, ExporterStatus, TeamStatus
from exporter.web.card import failure, name_of, state_badge, team_card, team_line, time_of
from exporter.web.verdict import by_urgency, state_of, state_of_discovery, verdict
from exporter.web.words import ago, escape, span

FULL_TEAMS: Final = 50
"""Teams shown with their polls; the ones after them have only a line, which links to the rest."""
OPEN_TEAMS: Final = 5
"""Maximum number of teams that are unfolded because they are down: more would push all others off the screen."""
REFRESH: Final = 15
"""Seconds after which the page reloads."""

_STYLE: Final = resources.files(__package__).joinpath("page.css").read_text("utf-8")
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""The style that the page's Content-Security-Policy allows."""
_DISCOVERY_STATES: Final = {"good": "✓ ok", "bad": "✗ failed"}


def render(status: ExporterStatus, telemetry_path: str, only: str | None = None) -> Iterator[str]:
    """Yield the page in pieces, which together are one HTML document.

    Args:
        status: what to show.
        telemetry_path: where the metrics are, for the link.
        only: the name of the one team to show; None for all, those that are down first.
    """
    yield _head(status, telemetry_path)
    if only is not None:
        yield from _one_team(status, only)
    else:
        fine = [each for each in status.discoveries if state_of_discovery(each) == "good"]
        yield from (_discovery(each, status.now) for each in status.discoveries if each not in fine)
        yield from _all_teams(status)
        yield from (_discovery(each, status.now) for each in fine)
    yield "</body></html>\n"


def _all_teams(status: ExporterStatus) -> Iterator[str]:
    teams = by_urgency(status.teams)
    for place, team in enumerate(teams[:FULL_TEAMS]):
        yield team_card(team, status, open_card=place < OPEN_TEAMS and state_of(team) == "bad")
    for team in teams[FULL_TEAMS:]:
        yield team_line(team, status.now)


def _one_team(status: ExporterStatus, name: str) -> Iterator[str]:
    yield '<p><a href="./">All teams</a></p>'
    found: list[TeamStatus] = [team for team in status.teams if team.name == name]
    yield from (team_card(team, status, open_card=True, open_polls=True) for team in found)
    if not found:
        yield f"<p>No team is named {name_of(name)}.</p>"


def _discovery(discovery: DiscoveryStatus, now: float) -> str:
    state = state_of_discovery(discovery)
    sign = "… starting" if discovery.last_attempt_at is None else _DISCOVERY_STATES.get(state, "! needs attention")
    asked = f"{discovery.polled:,} polled, {len(discovery.left_out):,} left out, {discovery.not_wanted:,} not wanted"
    last = discovery.last_success_at
    known = f"{asked}; asked {ago(last, now)}" if last is not None else "no teams known yet"
    left_out = "".join(f"<li>{name_of(each.name)}: {escape(each.why)}</li>" for each in discovery.left_out)
    return (
        f'<section class="card {state}"><h2>Discovery {name_of(discovery.name)}</h2> {state_badge(state, sign)} '
        f'<span class="known">{known}</span>'
        f"{failure(discovery.error, discovery.reason) if discovery.reason else ''}"
        f"{f'<p>Left out:</p><ul>{left_out}</ul>' if left_out else ''}</section>\n"
    )


def _head(status: ExporterStatus, telemetry_path: str) -> str:
    state, line = verdict(status)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(line)} | cyberun-exporter</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="{REFRESH}">
<style>{_STYLE}</style></head><body>
<header><h1>cyberun-exporter</h1><p>{escape(status.version)}, running for {span(status.now - status.started_at)},
as of {time_of(status.now, status.now)}{_skew(status.clock_skew)}</p></header>
<p class="verdict {state}">{escape(line)}</p>{_reload(status)}
<nav><a href=".{escape(telemetry_path)}">Metrics</a> <a href="./api/v1/status">Status as JSON</a>
<a href="./-/healthy">Health</a> <a href="./-/ready">Readiness</a>
<a href="https://docs.cyberun.cloud/">Cyberun documentation</a></nav>
"""


def _skew(seconds: float | None) -> str:
    """Mention a notable clock difference."""
    if seconds is None or abs(seconds) < NOTABLE_SKEW:
        return ""
    return f", the platform's clock is {span(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"


def _reload(status: ExporterStatus) -> str:
    """Warn that the configuration on disk is not the one in use."""
    if status.last_reload_ok:
        return ""
    used = "" if status.last_reload_ok_at is None else f" from {time_of(status.last_reload_ok_at, status.now)}"
    return f'<p class="wait">The new configuration has mistakes (see the log); the one{used} is still in use.</p>'
