"""The overall state in one line, which is what people read first."""

import re
from collections.abc import Iterable
from typing import Final, Literal

from exporter.status import CollectorStatus, DiscoveryStatus, ExporterStatus, TeamStatus
from exporter.web.words import listed, utc, visible

State = Literal["bad", "wait", "good"]
"""Bad: something failed. Wait: something is not known yet or needs attention. Good: everything works."""

_URGENCY: Final[tuple[State, ...]] = ("bad", "wait", "good")
MAX_ERROR: Final = 120
"""Maximum characters of an error in that line; the table of polls shows all of it."""


def state_of(team: TeamStatus) -> State:
    """Good when the team is up, bad once a poll has failed, else wait."""
    if team.up:
        return "good"
    failed = any(each.attempts and not each.success for each in team.collectors)
    return "bad" if failed or team.attempted else "wait"


def by_urgency(teams: Iterable[TeamStatus]) -> list[TeamStatus]:
    """Teams that are down first, then those not known yet; each sorted by name, `team-2` before `team-10`."""
    return sorted(teams, key=lambda team: (_URGENCY.index(state_of(team)), _natural(team.name)))


def _natural(name: str) -> list[tuple[str, int]]:
    """Pairs of a text and the number that follows it, which sort as people expect."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)]


def state_of_discovery(discovery: DiscoveryStatus) -> State:
    """Bad when the last attempt failed, wait while teams are left out or none is polled, else good."""
    if discovery.success:
        return "wait" if discovery.left_out or not discovery.polled else "good"
    return "wait" if discovery.last_attempt_at is None else "bad"


def verdict(status: ExporterStatus) -> tuple[State, str]:
    """The overall state, and the line that explains it. Never good while something is unknown."""
    teams = by_urgency(status.teams)
    down = [team for team in teams if state_of(team) == "bad"]
    if len(down) == 1:
        return "bad", f"{visible(down[0].name)} is {trouble(down[0], status.now)}"
    if down:
        return "bad", f"{len(down)} of {len(teams)} teams are down: {listed([team.name for team in down], 3)}"
    failing = [each for each in status.discoveries if state_of_discovery(each) == "bad"]
    if failing:
        why = visible(failing[0].error or failing[0].reason or "failed", MAX_ERROR)
        return "bad", f"Teams cannot be discovered: {visible(failing[0].name)}: {why}"
    return _without_failures(status, teams)


def _without_failures(status: ExporterStatus, teams: list[TeamStatus]) -> tuple[State, str]:
    looking = [each.name for each in status.discoveries if each.last_attempt_at is None]
    waiting = [team.name for team in teams if state_of(team) == "wait"]
    if looking or not status.discovered:
        return "wait", f"Starting: discovering teams{f': {listed(looking, 3)}' if looking else ''}"
    if waiting:
        return "wait", f"Starting: not polled yet: {listed(waiting, 3)}"
    left_out = sum(len(each.left_out) for each in status.discoveries)
    rest = [f"{left_out} discovered {'team is' if left_out == 1 else 'teams are'} left out"] if left_out else []
    if not teams:
        found = ", ".join(["No discovered team is polled", *rest])
        return "wait", found if status.discoveries else "No teams are configured"
    idle = [each.name for each in status.discoveries if not each.polled and not each.left_out]
    rest += [f"no team of {listed(idle, 3)} is wanted"] if idle else []
    up = f"{visible(teams[0].name)} is up" if len(teams) == 1 else f"All {len(teams)} teams are up"
    return "wait" if rest else "good", ", ".join([up, *rest])


def trouble(team: TeamStatus, now: float) -> str:
    """Since when a team has been down, and why. Unprintable characters are escaped, HTML is not."""
    troubled = [each for each in team.collectors if each.attempts and not (each.success and each.fresh)]
    good = [each.last_success_at for each in troubled if each.last_success_at is not None]
    since = f"down since {utc(min(good), now)}" if len(good) == len(troubled) else "down since it was first polled"
    return f"{since}: " + "; ".join(f"{each.name}: {_collector_trouble(each)}" for each in troubled)


def _collector_trouble(collector: CollectorStatus) -> str:
    last = collector.attempts[0]
    return "no fresh data" if collector.success else visible(last.error or last.reason or "failed", MAX_ERROR)
