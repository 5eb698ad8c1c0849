"""Reports what became of the teams that discoveries found: as status values, and once in the log."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from exporter.errors import explained
from exporter.log import event
from exporter.platform.clock import CLOCK
from exporter.redact import one_line
from exporter.service.choice import Choice
from exporter.status import DiscoveryStatus, LeftOutTeam

if TYPE_CHECKING:
    from exporter.service.discovery import FoundTeam

MAX_NAMES: Final = 20
"""Maximum number of team names in one log line."""
_log = logging.getLogger(__name__)


def discovery_status(choice: Choice) -> DiscoveryStatus:
    """The state of a discovery after its last attempt."""
    findings, failure = choice.findings, choice.findings.failure
    reason, error = explained(failure) if failure else (None, None)
    return DiscoveryStatus(
        name=choice.name,
        success=findings.attempted and failure is None,
        last_attempt_at=_wall_time(findings.attempted_at),
        last_success_at=_wall_time(findings.succeeded_at),
        reason=reason,
        error=error,
        polled=len(choice.polled),
        left_out=tuple(LeftOutTeam(one_line(team.name), why) for team, why in choice.left_out.items()),
        not_wanted=len(choice.not_wanted),
    )


def _wall_time(monotonic: float | None) -> float | None:
    return None if monotonic is None else CLOCK.wall_time(monotonic)


class ChoiceLog:
    """Logs which teams are left out, and discoveries that want none of theirs. Mutable: it logs nothing twice."""

    def __init__(self) -> None:
        self._left_out: Mapping[FoundTeam, str] = {}
        self._none_wanted: Mapping[str, tuple[FoundTeam, ...]] = {}

    def note(self, choices: Sequence[Choice]) -> None:
        """Log what differs from the last choices."""
        left_out = {team: why for choice in choices for team, why in choice.left_out.items()}
        for team, why in left_out.items():
            if self._left_out.get(team) != why:
                fields = {"team": team.name, "team_id": team.team_id, "why": why}
                event(_log, logging.WARNING, "discovered team left out", **fields)
        self._left_out = left_out
        none_wanted = {each.name: each.not_wanted for each in choices if not each.polled and not each.left_out}
        for name, teams in none_wanted.items():
            if teams and self._none_wanted.get(name) != teams:
                found = ", ".join(one_line(team.name) for team in teams[:MAX_NAMES])
                event(_log, logging.WARNING, "no discovered team is wanted", credential=name, found=found)
        self._none_wanted = none_wanted
