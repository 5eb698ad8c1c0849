"""When each team is polled: first soon, then at a fixed interval, and never twice at once."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.collect.team import Team
from exporter.platform.clock import Clock

GRACE: Final = 120.0
"""Seconds without progress after which the schedule counts as stuck; the service adds the longest request and wait."""
FIRST_ROUND: Final = 30.0
"""First polls are spread over at most this many seconds, so that data comes soon even if the interval is long."""


@dataclass(slots=True)
class _ScheduledTeam:
    """A team and when it is polled next. Mutable.

    Attributes:
        anchor: a moment of its schedule; every regular poll is a whole number of intervals away from it. The anchors of
            teams that are added together are spread evenly over the interval.
        due: when it is polled next; None while a poll is under way.
        polled_at: when its last poll started.
        step: a timer for the next poll, or the poll under way; either can be cancelled. A sleeping task instead of the
            timer would give the garbage collector three times as many objects to traverse.
    """

    team: Team
    interval: float
    anchor: float
    due: float | None
    polled_at: float | None = None
    step: asyncio.TimerHandle | asyncio.Task[None] | None = None


class Schedule:
    """Polls all teams, each at its interval. Mutable: teams are added and removed, and their due times move on."""

    def __init__(self, clock: Clock) -> None:
        self.stuck_after = GRACE
        """The schedule counts as stuck when a poll is due and nothing has progressed for this many seconds."""
        self._clock = clock
        self._entries: dict[str, _ScheduledTeam] = {}
        self._group: asyncio.TaskGroup | None = None
        self._advanced_at = clock.monotonic()

    async def run(self) -> None:
        """Poll until cancelled. A poll handles its own failures; what it does not handle ends the process."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._begin(self._entries.values())
                await asyncio.Event().wait()
            finally:
                self._group = None
                _cancel(self._entries.values())

    def set_teams(self, teams: Sequence[Team]) -> None:
        """Poll exactly these teams. Existing ones keep their schedule, and a poll under way goes on."""
        known = {team: entry for team in teams if (entry := self._entries.get(team.rules.name)) and entry.team is team}
        _cancel(entry for entry in self._entries.values() if entry.team not in known)
        moved = [team for team in teams if team not in known or known[team].interval != team.rules.interval]
        start = self._clock.monotonic()
        new = [_new_entry(team, start, i / len(moved)) for i, team in enumerate(moved)]
        for entry in new:
            _follow(known.setdefault(entry.team, entry), entry)
        self._entries = {team.rules.name: known[team] for team in teams}
        if self._group is not None:
            self._begin(known[team] for team in moved if known[team].due is not None)

    def _begin(self, entries: Iterable[_ScheduledTeam]) -> None:
        for entry in entries:
            due = entry.due or self._clock.monotonic()
            # The next poll is an interval after the anchor, or at the anchor if that is not too soon after the first.
            if entry.anchor - due >= FIRST_ROUND:
                entry.anchor -= entry.interval
            self._poll_at(due, entry)

    def _poll_at(self, due: float, entry: _ScheduledTeam) -> None:
        if isinstance(entry.step, asyncio.TimerHandle):
            entry.step.cancel()
        entry.due = due
        delay = max(0.0, due - self._clock.monotonic())
        entry.step = asyncio.get_running_loop().call_later(delay, self._start, entry)

    def _start(self, entry: _ScheduledTeam) -> None:
        if self._group is not None:
            entry.due, entry.polled_at = None, self._clock.monotonic()
            self._advanced_at = entry.polled_at
            entry.step = self._group.create_task(self._poll(entry))

    async def _poll(self, entry: _ScheduledTeam) -> None:
        await entry.team.poll()
        now = self._advanced_at = self._clock.monotonic()
        missed = max(0.0, now - entry.anchor) // entry.interval
        entry.anchor += entry.interval * (missed + 1)
        self._poll_at(entry.anchor, entry)

    def next_polls(self) -> Mapping[str, float | None]:
        """By team: when its next poll is due, in Unix seconds; None while one is under way."""
        due = {name: entry.due for name, entry in self._entries.items()}
        return {name: None if time is None else self._clock.wall_time(time) for name, time in due.items()}

    def advances(self) -> bool:
        """Whether polls start and end as they should, whatever their results."""
        if not self._entries:
            return True
        due = (entry.due for entry in self._entries.values() if entry.due is not None)
        waiting_since = max(self._advanced_at, min(due, default=self._advanced_at))
        return self._clock.monotonic() - waiting_since < self.stuck_after


def _cancel(entries: Iterable[_ScheduledTeam]) -> None:
    for entry in entries:
        if entry.step is not None:
            entry.step.cancel()
            entry.step = None  # breaks the reference cycle of the entry and its task


def _new_entry(team: Team, start: float, fraction: float) -> _ScheduledTeam:
    """The entry of a team added now; `fraction`, 0 to 1, is its position in the first round and in each interval."""
    interval = team.rules.interval
    due = start + min(interval, FIRST_ROUND) * fraction
    return _ScheduledTeam(team, interval, anchor=start + interval * fraction, due=due)


def _follow(entry: _ScheduledTeam, new: _ScheduledTeam) -> None:
    """Take over another interval: it begins at the last poll; if it is over already, the next poll comes soon.

    So a series of reloads neither multiplies the polls nor postpones them.
    """
    entry.interval = new.interval
    if entry.polled_at is None:
        entry.anchor = new.anchor
    elif entry.due is None:
        entry.anchor = entry.polled_at
    elif new.due is not None and entry.polled_at + new.interval < new.due:
        entry.due, entry.anchor = min(entry.due, new.due), new.anchor
    else:
        entry.due = entry.anchor = entry.polled_at + new.interval
