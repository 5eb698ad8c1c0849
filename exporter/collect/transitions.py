"""Logs changes in a team's polls."""

import logging

from exporter.log import event
from exporter.status import TeamStatus

_log = logging.getLogger(__name__)


class TransitionLog:
    """Logs when a team goes up or down, or when its polls become too slow. Mutable: it keeps the last state."""

    def __init__(self) -> None:
        self._was_up: bool | None = None
        self._was_slow = False

    def note(self, status: TeamStatus, duration: float, interval: float) -> None:
        """Log what changed with a poll that took `duration` seconds; nothing if nothing changed."""
        if status.up != self._was_up:
            self._was_up = status.up
            if status.up:
                event(_log, logging.INFO, "team is up", team_name=status.name)
            else:
                last = {c.name: c.attempts[0].error for c in status.collectors if c.attempts and c.attempts[0].error}
                event(_log, logging.WARNING, "team is down", team_name=status.name, **last)
        if (slow := duration > interval) and not self._was_slow:
            event(_log, logging.WARNING, "slow poll", team_name=status.name, seconds=duration, interval=interval)
        self._was_slow = slow
