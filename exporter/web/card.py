"""One team on the status page: its state, its schedule and the last polls of each of its lists."""

from typing import Final
from urllib.parse import quote

from exporter.status import Attempt, CollectorStatus, ExporterStatus, TeamStatus
from exporter.web.words import ago, clock, duration, escape, span, until, utc

_STATES: Final = {"good": "✓ up", "bad": "✗ down", "wait": "… starting"}


def state_of(team: TeamStatus) -> str:
    """Class of a team: good, bad, or wait while its first polls are still to come."""
    if team.up:
        return "good"
    failed = any(each.attempts and not each.success for each in team.collectors)
    return "bad" if failed or team.attempted else "wait"


def team_card(team: TeamStatus, status: ExporterStatus, *, unfolded: bool) -> str:
    """Show a team; folded, its name and state alone are seen."""
    state = state_of(team)
    collectors = "".join(_collector(each, status) for each in team.collectors)
    return (
        f'<details class="card {state}"{" open" if unfolded else ""}><summary><h2>{name_of(team.name)}</h2> '
        f'{badge(state)} <span class="soft">{team.series:,} series</span></summary>'
        f"{_team_facts(team, status)}{collectors}</details>\n"
    )


def _team_facts(team: TeamStatus, status: ExporterStatus) -> str:
    now = status.now
    facts = {"Next poll": "under way" if team.next_poll_at is None else until(team.next_poll_at, now)}
    if team.backoff_until is not None:
        facts["Held back"] = f"until {time_of(team.backoff_until, now)} ({until(team.backoff_until, now)})"
    if team.series_dropped:
        facts["Left out"] = f'<strong class="bad">{team.series_dropped:,} series</strong>'
    facts["Credential"] = escape(team.credential_kind) + _expiry(team.credential_expires_at, now)
    if team.credential_loaded_at is not None:
        facts["Credential read"] = ago(team.credential_loaded_at, now)
    if team.team_id is not None:
        facts["Team id"] = name_of(team.team_id)
    facts["Link"] = link(team, "this team alone")
    return _facts(facts)


def _expiry(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    if moment <= now:
        return f', <strong class="bad">expired</strong> {ago(moment, now)}'
    return f", expires {until(moment, now)} ({time_of(moment, now)})"


def _collector(collector: CollectorStatus, status: ExporterStatus) -> str:
    now = status.now
    return (
        f"<section><h3>{escape(collector.name)}</h3> {_collector_badge(collector)}"
        f"{_collector_facts(collector, now)}{_polls(collector.attempts, now)}</section>"
    )


def _collector_badge(collector: CollectorStatus) -> str:
    if not collector.attempts:
        return '<span class="state wait">… not polled yet</span>'
    if collector.success and collector.fresh:
        return '<span class="state good">✓ ok</span>'
    if collector.success:
        return '<span class="state bad">✗ no fresh data</span>'
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
    return f'<strong class="bad">withheld</strong>, last read {ago(last, now)} ({time_of(last, now)})'


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
    why = f'<tr class="why"><td colspan="5">{name_of(attempt.error)}</tr>' if attempt.error and explain else ""
    return row + why


def _facts(facts: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items()) + "</dl>"


def badge(state: str) -> str:
    """Say a state in words, with a sign and a colour."""
    return f'<span class="state {state}">{_STATES[state]}</span>'


def name_of(text: str) -> str:
    """Show text of others, kept from turning the direction of ours."""
    return f"<bdi>{escape(text)}</bdi>"


def link(team: TeamStatus, text: str) -> str:
    """Lead to the page of one team."""
    return f'<a href="./?team={quote(team.name, safe="", errors="replace")}">{name_of(text)}</a>'


def time_of(moment: float, now: float) -> str:
    """Say when a moment was."""
    return f"<time>{utc(moment, now)}</time>"
