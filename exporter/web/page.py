"""The status page: one answer to "what is wrong?" for a person at night, on a phone, without JavaScript.

Plain functions from status to HTML. Whatever is not written here goes through `escape`.
"""

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Final

from exporter.status import NOTABLE_SKEW, CollectorStatus, ExporterStatus, TeamStatus
from exporter.web.card import badge, link, name_of, state_of, team_card, time_of
from exporter.web.words import escape, listed, span, utc, visible

FULL_TEAMS: Final = 50
"""Teams shown with their polls; those after them get a line each, and a link to the rest."""
OPEN_TEAMS: Final = 5
"""Up to this many teams, those that are up are unfolded as well."""
VERDICT_ERROR: Final = 120
"""Characters of an error that fit the line at the top; the whole text stands with the poll."""
REFRESH: Final = 15
"""Seconds between two loads of the page."""

_STYLE: Final = resources.files(__package__).joinpath("page.css").read_text("utf-8")
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""What the page's Content-Security-Policy allows as style."""


def render(status: ExporterStatus, telemetry_path: str, only: str | None = None) -> Iterator[str]:
    """Yield the page piece by piece; joined they are one HTML document.

    Args:
        status: what to show.
        telemetry_path: where the metrics are, for the link.
        only: the name of the one team to show; None for all, those that are down first.
    """
    yield _head(status, telemetry_path)
    if only is not None:
        yield from _one_team(status, only)
    else:
        yield from _all_teams(status)
    yield "</body></html>\n"


def _all_teams(status: ExporterStatus) -> Iterator[str]:
    order = ("bad", "wait", "good")
    teams = sorted(status.teams, key=lambda team: (order.index(state_of(team)), team.name))
    few = len(teams) <= OPEN_TEAMS
    for team in teams[:FULL_TEAMS]:
        yield team_card(team, status, unfolded=few or not team.up)
    if rest := teams[FULL_TEAMS:]:
        yield "<ul>"
        yield from (f"<li>{badge(state_of(team))} {link(team, team.name)}</li>\n" for team in rest)
        yield "</ul>"


def _one_team(status: ExporterStatus, name: str) -> Iterator[str]:
    yield '<p><a href="./">All teams</a></p>'
    found = [team for team in status.teams if team.name == name]
    yield from (team_card(team, status, unfolded=True) for team in found)
    if not found:
        yield f"<p>No team is named {name_of(name)}.</p>"


def _head(status: ExporterStatus, telemetry_path: str) -> str:
    colour, verdict = _verdict(status)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(verdict)} | cyberun-exporter</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="{REFRESH}">
<style>{_STYLE}</style></head><body>
<header><h1>cyberun-exporter</h1><p>{escape(status.version)}, running for {span(status.now - status.started_at)},
as of {time_of(status.now, status.now)}{_skew(status.clock_skew)}</p></header>
<p class="verdict {colour}">{escape(verdict)}</p>{_reload(status)}
<nav><a href=".{escape(telemetry_path)}">Metrics</a> <a href="./api/v1/status">Status as JSON</a>
<a href="./-/healthy">Health</a> <a href="./-/ready">Readiness</a>
<a href="https://docs.cyberun.cloud/">Cyberun documentation</a></nav>
"""


def _skew(seconds: float | None) -> str:
    """Mention a difference of clocks that is more than the resolution of the Date header explains."""
    if seconds is None or abs(seconds) < NOTABLE_SKEW:
        return ""
    return f", the platform's clock is {span(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"


def _reload(status: ExporterStatus) -> str:
    """Warn that what runs is not what the configuration says."""
    if status.last_reload_ok:
        return ""
    used = "" if status.last_reload_ok_at is None else f" of {time_of(status.last_reload_ok_at, status.now)}"
    return f'<p class="wait">The configuration was changed but has mistakes; the one{used} is still used.</p>'


def _verdict(status: ExporterStatus) -> tuple[str, str]:
    """Say in one line how things stand, and in which colour."""
    teams = status.teams
    down = [team for team in teams if state_of(team) == "bad"]
    waiting = [team.name for team in teams if state_of(team) == "wait"]
    if len(down) == 1:
        return "bad", f"{visible(down[0].name)} is {_trouble(down[0], status)}"
    if down:
        return "bad", f"{len(down)} of {len(teams)} teams are down: {listed([team.name for team in down], 3)}"
    if waiting:
        return "wait", f"Starting: not polled yet: {listed(waiting, 3)}"
    if len(teams) == 1:
        return "good", f"{visible(teams[0].name)} is up"
    return ("good", f"All {len(teams)} teams are up") if teams else ("wait", "No teams are configured")


def _trouble(team: TeamStatus, status: ExporterStatus) -> str:
    """Say since when a team is down, and why."""
    troubled = [each for each in team.collectors if each.attempts and not (each.success and each.fresh)]
    good = [each.last_success_at for each in troubled if each.last_success_at is not None]
    since = (
        f"down since {utc(min(good), status.now)}" if len(good) == len(troubled) else "down since it was first polled"
    )
    return f"{since}: " + "; ".join(f"{each.name}: {_collector_trouble(each)}" for each in troubled)


def _collector_trouble(collector: CollectorStatus) -> str:
    last = collector.attempts[0]
    return "no fresh data" if collector.success else visible(last.error or last.reason or "failed", VERDICT_ERROR)
