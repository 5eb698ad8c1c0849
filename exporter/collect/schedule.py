"""When each team is polled: starts spread over the interval, a fixed beat, never two polls of a team at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from exporter.collect.history import Clock
from exporter.collect.team import Team

GRACE: Final = 120.0
"""Seconds by which nothing at all may be late before the schedule counts as stuck: waits for a slow pace included."""


class Schedule:
    """The beat of all teams. Mutable: it knows when each poll is due and when anything last happened."""

    def __init__(self, teams: Sequence[Team], clock: Clock, *, timeout: float) -> None:
        self._teams = teams
        self._clock = clock
        self._patience = timeout + GRACE
        self._due: dict[str, float | None] = {}
        self._advanced_at = clock.monotonic()

    async def run(self) -> None:
        """Poll until cancelled. A poll handles its own failures; what it does not handle ends the process."""
        start = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for i, team in enumerate(self._teams):
                group.create_task(self._beat(team, start + team.rules.interval * i / len(self._teams)))

    async def _beat(self, team: Team, due: float) -> None:
        name, interval = team.rules.name, team.rules.interval
        while True:
            self._due[name] = due
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            self._due[name], self._advanced_at = None, self._clock.monotonic()
            await team.poll()
            now = self._advanced_at = self._clock.monotonic()
            missed = max(0.0, now - due) // interval
            due += interval * (missed + 1)

    def next_polls(self) -> Mapping[str, float | None]:
        """By team: when its next poll is due, in Unix seconds; None while one is under way."""
        return {name: None if due is None else self._clock.wall_time(due) for name, due in self._due.items()}

    def advances(self) -> bool:
        """Whether polls start and end as they should, whatever comes of them."""
        now = self._clock.monotonic()
        due = [time for time in self._due.values() if time is not None]
        return now - max(self._advanced_at, min(due, default=0.0)) < self._patience
