"""The status page: one answer to "what is wrong?" for a person at night, on a phone, without JavaScript.

Plain functions from status to HTML. Whatever is not written here goes through `escape`.
"""

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Final
from urllib.parse import quote

from exporter.status import Attempt, CollectorStatus, ExporterStatus, TeamStatus
from exporter.web.words import ago, clock, duration, escape, listed, span, until, utc, visible

FULL_TEAMS: Final = 50
"""Teams shown with their polls; those after them get a line each, and a link to the rest."""
OPEN_TEAMS: Final = 5
"""Up to this many teams, those that are up are unfolded as well."""
VERDICT_ERROR: Final = 120
"""Characters of an error that fit the line at the top; the whole text stands with the poll."""
SHOWN_POLLS: Final = 10
"""Polls listed per collector."""
NOTABLE_SKEW: Final = 5.0
"""Seconds of difference between the platform's clock and ours from which the page mentions it."""
REFRESH: Final = 15
"""Seconds between two loads of the page."""

_STYLE: Final = resources.files(__package__).joinpath("page.css").read_text("utf-8")
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""What the page's Content-Security-Policy allows as style."""

_STATES: Final = {"good": "✓ up", "bad": "✗ down", "wait": "… starting"}


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
    teams = sorted(status.teams, key=lambda team: (order.index(_state(team)), team.name))
    few = len(teams) <= OPEN_TEAMS
    for team in teams[:FULL_TEAMS]:
        yield _team(team, status, unfolded=few or not team.up)
    if rest := teams[FULL_TEAMS:]:
        yield "<ul>"
        yield from (f"<li>{_badge(_state(team))} {_link(team, team.name)}</li>\n" for team in rest)
        yield "</ul>"


def _one_team(status: ExporterStatus, name: str) -> Iterator[str]:
    yield '<p><a href="./">All teams</a></p>'
    found = [team for team in status.teams if team.name == name]
    yield from (_team(team, status, unfolded=True) for team in found)
    if not found:
        yield f"<p>No team is named {_name(name)}.</p>"


def _head(status: ExporterStatus, telemetry_path: str) -> str:
    colour, verdict = _verdict(status)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(verdict)} | cyberun-exporter</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="{REFRESH}">
<style>{_STYLE}</style></head><body>
<header><h1>cyberun-exporter</h1><p>{escape(status.version)}, running for {span(status.now - status.started_at)},
as of {_time(status.now, status.now)}{_skew(status.clock_skew)}</p></header>
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
    used = "" if status.last_reload_ok_at is None else f" of {_time(status.last_reload_ok_at, status.now)}"
    return f'<p class="wait">The configuration was changed but has mistakes; the one{used} is still used.</p>'


def _verdict(status: ExporterStatus) -> tuple[str, str]:
    """Say in one line how things stand, and in which colour."""
    teams = status.teams
    down = [team for team in teams if _state(team) == "bad"]
    waiting = [team.name for team in teams if _state(team) == "wait"]
    if len(down) == 1:
        return "bad", f"{visible(down[0].name)} is {_trouble(down[0], status)}"
    if down:
        return "bad", f"{len(down)} of {len(teams)} teams are down: {listed([team.name for team in down], 3)}"
    if waiting:
        return "wait", f"Starting: not polled yet: {listed(waiting, 3)}"
    if len(teams) == 1:
        return "good", f"{visible(teams[0].name)} is up"
    return ("good", f"All {len(teams)} teams are up") if teams else ("wait", "No teams are configured")


def _state(team: TeamStatus) -> str:
    """Class of a team: good, bad, or wait while its first polls are still to come."""
    if team.up:
        return "good"
    failed = any(each.attempts and not each.success for each in team.collectors)
    return "bad" if failed or team.attempted else "wait"


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


def _team(team: TeamStatus, status: ExporterStatus, *, unfolded: bool) -> str:
    state = _state(team)
    collectors = "".join(_collector(each, status) for each in team.collectors)
    return (
        f'<details class="card {state}"{" open" if unfolded else ""}><summary><h2>{_name(team.name)}</h2> '
        f'{_badge(state)} <span class="soft">{team.series:,} series</span></summary>'
        f"{_team_facts(team, status)}{collectors}</details>\n"
    )


def _team_facts(team: TeamStatus, status: ExporterStatus) -> str:
    now = status.now
    facts = {"Next poll": "under way" if team.next_poll_at is None else until(team.next_poll_at, now)}
    if team.backoff_until is not None:
        facts["Held back"] = f"until {_time(team.backoff_until, now)} ({until(team.backoff_until, now)})"
    if team.series_dropped:
        facts["Left out"] = f'<strong class="bad">{team.series_dropped:,} series</strong>'
    facts["Credential"] = escape(team.credential_kind) + _expiry(team.credential_expires_at, now)
    if team.credential_loaded_at is not None:
        facts["Credential read"] = ago(team.credential_loaded_at, now)
    if team.team_id is not None:
        facts["Team id"] = _name(team.team_id)
    facts["Link"] = _link(team, "this team alone")
    return _facts(facts)


def _expiry(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    if moment <= now:
        return f', <strong class="bad">expired</strong> {ago(moment, now)}'
    return f", expires {until(moment, now)} ({_time(moment, now)})"


def _collector(collector: CollectorStatus, status: ExporterStatus) -> str:
    now = status.now
    return (
        f"<section><h3>{escape(collector.name)}</h3> {_collector_badge(collector)}"
        f"{_collector_facts(collector, now)}{_polls(collector.attempts[:SHOWN_POLLS], now)}</section>"
    )


def _collector_badge(collector: CollectorStatus) -> str:
    if not collector.attempts:
        return '<span class="state wait">… not polled yet</span>'
    if collector.success:
        return '<span class="state good">✓ ok</span>'
    return f'<span class="state bad">✗ failed {_times(collector.failures_in_a_row)}</span>'


def _times(count: int) -> str:
    return f"{count} times in a row" if count > 1 else "once"


def _collector_facts(collector: CollectorStatus, now: float) -> str:
    facts = {"Data": _freshness(collector, now)}
    if collector.items is not None:
        reported = "not said" if collector.items_reported is None else f"{collector.items_reported:,}"
        facts["Items read / reported"] = f"{collector.items:,} / {reported}"
    if collector.truncated:
        facts["Complete"] = '<strong class="bad">no, truncated</strong>'
    facts["Polled every"] = span(collector.interval)
    return _facts(facts)


def _freshness(collector: CollectorStatus, now: float) -> str:
    last = collector.last_success_at
    if last is None:
        return "none yet"
    if collector.fresh:
        return f"fresh, read {ago(last, now)}"
    return f'<strong class="bad">withheld</strong>, last read {ago(last, now)} ({_time(last, now)})'


def _polls(attempts: tuple[Attempt, ...], now: float) -> str:
    if not attempts:
        return ""
    rows = []
    above = None
    for attempt in attempts:
        rows.append(_poll(attempt, now, explain=attempt.error != above))
        above = attempt.error
    return (
        '<table><thead><tr><th>Poll (UTC)<th>Result<th class="number">Took<th class="number">Pages'
        '<th class="number">Items'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _poll(attempt: Attempt, now: float, *, explain: bool) -> str:
    result = '<td class="good">✓ ok' if attempt.reason is None else f'<td class="bad">✗ {escape(attempt.reason)}'
    items = "-" if attempt.items is None else f"{attempt.items:,}"
    row = (
        f'<tr><td>{ago(attempt.started_at, now)} <span class="soft">{clock(attempt.started_at, now)}</span>{result}'
        f'<td class="number">{duration(attempt.duration)}<td class="number">{attempt.pages:,}'
        f'<td class="number">{items}</tr>'
    )
    why = f'<tr class="why"><td colspan="5">{_name(attempt.error)}</tr>' if attempt.error and explain else ""
    return row + why


def _facts(facts: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items()) + "</dl>"


def _badge(state: str) -> str:
    return f'<span class="state {state}">{_STATES[state]}</span>'


def _name(text: str) -> str:
    """Show text of others, kept from turning the direction of ours."""
    return f"<bdi>{escape(text)}</bdi>"


def _link(team: TeamStatus, text: str) -> str:
    return f'<a href="./?team={quote(team.name, safe="", errors="replace")}">{_name(text)}</a>'


def _time(moment: float, now: float) -> str:
    return f"<time>{utc(moment, now)}</time>"
