"""One team on the status page: its fleet in one line, its schedule, and the last polls of each of its lists."""

from typing import Final
from urllib.parse import quote

from exporter.errors import advice
from exporter.status import Attempt, CollectorStatus, ExporterStatus, FleetStatus, TeamStatus
from exporter.web.verdict import State, state_of, trouble
from exporter.web.words import ago, clock, duration, escape, span, until, utc

_STATES: Final[dict[State, str]] = {"good": "✓ up", "bad": "✗ down", "wait": "… starting"}


def team_card(team: TeamStatus, status: ExporterStatus, *, open_card: bool, open_polls: bool = False) -> str:
    """Show a team: folded, its line and its problem; unfolded, its lists, failing ones first. Polls may be folded."""
    state = state_of(team)
    failing_first = sorted(team.collectors, key=lambda each: each.success and each.fresh)
    collectors = "".join(
        _collector(each, team.next_poll_at, status.now, open_polls=open_polls) for each in failing_first
    )
    return (
        f'<details class="card {state}"{_open(unfolded=open_card)}>'
        f'<summary class="line"><h2>{name_of(team.name)}</h2>{_line(team)}'
        f"{'' if open_card else _trouble(team, status.now)}</summary>"
        f"{collectors}<section>{_team_facts(team, status.now)}</section></details>\n"
    )


def _open(*, unfolded: bool) -> str:
    return " open" if unfolded else ""


def team_line(team: TeamStatus, now: float) -> str:
    """Show only a team's line, which links to the rest."""
    return f'<p class="card line {state_of(team)}">{_link(team, team.name)}{_line(team)}{_trouble(team, now)}</p>\n'


def _trouble(team: TeamStatus, now: float) -> str:
    """What is wrong with a team of which only the line is visible."""
    return f'<span class="trouble soft">{escape(trouble(team, now))}</span>' if state_of(team) == "bad" else ""


def _line(team: TeamStatus) -> str:
    state = state_of(team)
    return f"{state_badge(state, _STATES[state])}{_fleet(team.fleet)}"


def _fleet(fleet: FleetStatus) -> str:
    """What waits, runs and is connected; an unknown number is a question mark, never 0."""
    gpus = None if fleet.gpus_in_use is None else f"{fleet.gpus_in_use:,}"
    if gpus is not None and fleet.gpu_capacity is not None:
        gpus += f" of {fleet.gpu_capacity:,}"
    facts = (
        (_count(fleet.tasks_waiting), "waiting"),
        (_count(fleet.tasks_running), "running"),
        (_count(fleet.agents), "agent" if fleet.agents == 1 else "agents"),
        (gpus, "GPUs in use"),
    )
    return "".join(
        f"<span><b>{number}</b> {what}</span>"
        if number is not None
        else f'<span class="soft" title="not known"><b>?</b> {what}</span>'
        for number, what in facts
    )


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _team_facts(team: TeamStatus, now: float) -> str:
    facts = {"Series": f"{team.series:,}"}
    if team.series_dropped:
        facts["Left out"] = f'<strong class="bad">{team.series_dropped:,} series</strong>'
    facts["Credential"] = escape(team.credential_kind) + _expiry(team.credential_expires_at, now)
    if team.credential_loaded_at is not None:
        facts["Credential read"] = ago(team.credential_loaded_at, now)
    if team.team_id is not None:
        facts["Team id"] = name_of(team.team_id)
    facts["Link"] = _link(team, "only this team")
    return _facts(facts)


def _next_poll(collector: CollectorStatus, team_polled_at: float | None, now: float) -> str:
    """When the list is polled next: with its team, or when it is no longer held back."""
    held = collector.backoff_until
    if held is not None and held > now:
        return f"held back until {time_of(held, now)} ({until(held, now)})"
    return "under way" if team_polled_at is None else until(team_polled_at, now)


def _expiry(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    if moment <= now:
        return f', <strong class="bad">expired</strong> {ago(moment, now)}'
    return f", expires {until(moment, now)} ({time_of(moment, now)})"


def _collector(collector: CollectorStatus, team_polled_at: float | None, now: float, *, open_polls: bool) -> str:
    return (
        f"<section><h3>{escape(collector.name)}</h3> {_collector_badge(collector)}{_why(collector, now)}"
        f"{_collector_facts(collector, team_polled_at, now)}{_polls(collector, now, unfolded=open_polls)}</section>"
    )


def _collector_badge(collector: CollectorStatus) -> str:
    if not collector.attempts:
        return state_badge("wait", "… not polled yet")
    if collector.success and collector.fresh:
        return state_badge("good", "✓ ok")
    if collector.success:
        return state_badge("bad", "✗ no fresh data")
    return state_badge("bad", f"✗ failed {_times(collector.failures_in_a_row)}")


def _why(collector: CollectorStatus, now: float) -> str:
    """What went wrong in the last poll; or, if it succeeded, why its data is nevertheless too old."""
    last = collector.attempts[0] if collector.attempts else None
    if last is None or (last.reason is None and collector.fresh):
        return ""
    if last.reason is not None:
        return failure(last.error, last.reason)
    held = collector.backoff_until
    if held is not None and held > now:
        return '<p class="failure">The platform asked this team to wait, which holds back both of its lists.</p>'
    return (
        '<p class="failure">The last poll succeeded, but the next one is late.<br><b>What to do:</b> '
        "check whether the machine was suspended, or raise api.max_requests_per_second and api.max_concurrency.</p>"
    )


def failure(error: str | None, reason: str | None) -> str:
    """Show what went wrong and what to do about it."""
    todo = escape(advice(reason or ""))
    return f'<p class="failure">{name_of(error or reason or "failed")}<br><b>What to do:</b> {todo}.</p>'


def _times(count: int) -> str:
    return f"{count} times in a row" if count > 1 else "once"


def _collector_facts(collector: CollectorStatus, team_polled_at: float | None, now: float) -> str:
    facts = {"Data": _freshness(collector, now)}
    if collector.items_reported is not None:
        facts["Listed"] = f"{collector.items_reported:,} {escape(collector.name)}"
    if collector.truncated:
        facts["Complete"] = '<strong class="bad">no: the list could not be read completely</strong>'
    facts["Polled every"] = span(collector.interval)
    facts["Next poll"] = _next_poll(collector, team_polled_at, now)
    return _facts(facts)


def _freshness(collector: CollectorStatus, now: float) -> str:
    last = collector.last_success_at
    if last is None:
        return "none yet"
    if collector.fresh:
        return f"fresh, read {ago(last, now)}"
    return f'<strong class="bad">withheld</strong>, last read {ago(last, now)} ({time_of(last, now)})'


def _polls(collector: CollectorStatus, now: float, *, unfolded: bool) -> str:
    if not collector.attempts:
        return ""
    rows = []
    above = collector.attempts[0].error  # already shown above the table
    for attempt in collector.attempts:
        rows.append(_poll(attempt, now, explain=attempt.error != above))
        above = attempt.error
    return (
        f"<details{_open(unfolded=unfolded)}><summary>Last polls</summary>"
        '<table><thead><tr><th>Poll (UTC)<th>Result<th class="number">Took<th class="number">Pages read'
        '<th class="number">Items read'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
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


def state_badge(state: State, text: str) -> str:
    """Show a state with its words, symbol and colour."""
    return f'<span class="state {state}">{text}</span>'


def name_of(text: str) -> str:
    """Show text from outside, isolated so that it cannot change the direction of surrounding text."""
    return f"<bdi>{escape(text)}</bdi>"


def _link(team: TeamStatus, text: str) -> str:
    return f'<a href="./?team={quote(team.name, safe="", errors="replace")}">{name_of(text)}</a>'


def time_of(moment: float, now: float) -> str:
    """Say when a moment was."""
    return f"<time>{utc(moment, now)}</time>"
