"""When each team is polled: starts spread over the interval, then a fixed rhythm, never two polls of a team at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.collect.history import Clock
from exporter.collect.team import Team

GRACE: Final = 120.0
"""Seconds a poll may take on top of its longest request, waiting for a permit included."""


@dataclass(slots=True)
class _ScheduledTeam:
    """A team and when it is polled next. Mutable: `due` moves on; None while a poll is under way."""

    team: Team
    interval: float
    due: float | None
    task: asyncio.Task[None] | None = None


class Schedule:
    """Polls all teams, each at its interval. Mutable: teams come and go, and it knows when each is due."""

    def __init__(self, clock: Clock) -> None:
        self.stuck_after = GRACE
        """Seconds without any progress, although a poll is due, after which the schedule counts as stuck."""
        self._clock = clock
        self._scheduled: dict[str, _ScheduledTeam] = {}
        self._group: asyncio.TaskGroup | None = None
        self._advanced_at = clock.monotonic()

    async def run(self) -> None:
        """Poll until cancelled. A poll handles its own failures; what it does not handle ends the process."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for entry in self._scheduled.values():
                entry.task = group.create_task(self._poll_repeatedly(entry))
            await asyncio.Event().wait()

    def set_teams(self, teams: Sequence[Team]) -> None:
        """Poll these and no others. Teams that were there before, with the same interval, keep their rhythm."""
        kept = {
            team.rules.name: entry
            for team in teams
            if (entry := self._scheduled.get(team.rules.name))
            and (entry.team, entry.interval) == (team, team.rules.interval)
        }
        for name, entry in self._scheduled.items():
            if name not in kept and entry.task is not None:
                entry.task.cancel()
        start = self._clock.monotonic()
        new = [team for team in teams if team.rules.name not in kept]
        started = {
            team.rules.name: _ScheduledTeam(team, team.rules.interval, start + team.rules.interval * i / len(new))
            for i, team in enumerate(new)
        }
        self._scheduled = {team.rules.name: kept.get(team.rules.name) or started[team.rules.name] for team in teams}
        if self._group is not None:
            for entry in started.values():
                entry.task = self._group.create_task(self._poll_repeatedly(entry))

    async def _poll_repeatedly(self, entry: _ScheduledTeam) -> None:
        due = entry.due or self._clock.monotonic()
        while True:
            entry.due = due
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            entry.due, self._advanced_at = None, self._clock.monotonic()
            await entry.team.poll()
            now = self._advanced_at = self._clock.monotonic()
            missed = max(0.0, now - due) // entry.interval
            due += entry.interval * (missed + 1)

    def next_polls(self) -> Mapping[str, float | None]:
        """By team: when its next poll is due, in Unix seconds; None while one is under way."""
        due = {name: entry.due for name, entry in self._scheduled.items()}
        return {name: None if time is None else self._clock.wall_time(time) for name, time in due.items()}

    def advances(self) -> bool:
        """Whether polls start and end as they should, whatever comes of them."""
        due = [entry.due for entry in self._scheduled.values() if entry.due is not None]
        if len(due) == len(self._scheduled) == 0:
            return True
        return self._clock.monotonic() - max(self._advanced_at, min(due, default=0.0)) < self.stuck_after
