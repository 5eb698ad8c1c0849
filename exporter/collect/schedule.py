"""When each team is polled: starts spread over the interval, a fixed beat, never two polls of a team at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.collect.history import Clock
from exporter.collect.team import Team

GRACE: Final = 120.0
"""Seconds that a poll may take beside the time of its longest request: waits for a slow pace included."""


@dataclass(slots=True)
class _Beat:
    """One team's turn. Mutable: `due` moves on; None while a poll is under way."""

    team: Team
    interval: float
    due: float | None
    task: asyncio.Task[None] | None = None


class Schedule:
    """The beat of all teams. Mutable: teams come and go, and it knows when each is due."""

    def __init__(self, clock: Clock) -> None:
        self.patience = GRACE
        """Seconds for which nothing may happen although something is due, before the schedule counts as stuck."""
        self._clock = clock
        self._beats: dict[str, _Beat] = {}
        self._group: asyncio.TaskGroup | None = None
        self._advanced_at = clock.monotonic()

    async def run(self) -> None:
        """Poll until cancelled. A poll handles its own failures; what it does not handle ends the process."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for beat in self._beats.values():
                beat.task = group.create_task(self._keep(beat))
            await asyncio.Event().wait()

    def set_teams(self, teams: Sequence[Team]) -> None:
        """Poll these and no others. Teams that were there before, with the same interval, keep their beat."""
        kept = {
            team.rules.name: beat
            for team in teams
            if (beat := self._beats.get(team.rules.name)) and (beat.team, beat.interval) == (team, team.rules.interval)
        }
        for name, beat in self._beats.items():
            if name not in kept and beat.task is not None:
                beat.task.cancel()
        start = self._clock.monotonic()
        new = [team for team in teams if team.rules.name not in kept]
        started = {
            team.rules.name: _Beat(team, team.rules.interval, start + team.rules.interval * i / len(new))
            for i, team in enumerate(new)
        }
        self._beats = {team.rules.name: kept.get(team.rules.name) or started[team.rules.name] for team in teams}
        if self._group is not None:
            for beat in started.values():
                beat.task = self._group.create_task(self._keep(beat))

    async def _keep(self, beat: _Beat) -> None:
        due = beat.due or self._clock.monotonic()
        while True:
            beat.due = due
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            beat.due, self._advanced_at = None, self._clock.monotonic()
            await beat.team.poll()
            now = self._advanced_at = self._clock.monotonic()
            missed = max(0.0, now - due) // beat.interval
            due += beat.interval * (missed + 1)

    def next_polls(self) -> Mapping[str, float | None]:
        """By team: when its next poll is due, in Unix seconds; None while one is under way."""
        due = {name: beat.due for name, beat in self._beats.items()}
        return {name: None if time is None else self._clock.wall_time(time) for name, time in due.items()}

    def advances(self) -> bool:
        """Whether polls start and end as they should, whatever comes of them."""
        due = [beat.due for beat in self._beats.values() if beat.due is not None]
        if len(due) == len(self._beats) == 0:
            return True
        return self._clock.monotonic() - max(self._advanced_at, min(due, default=0.0)) < self.patience
