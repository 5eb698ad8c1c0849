"""Which tasks of a final status are new since the last poll, read from one end of their list.

A list of finished tasks is large, has no cursor and an undocumented order, and its old tasks are removed at any
time. What holds whatever the order is: a list that is sorted the same way at every request and was read without a
gap from one end has no unknown task before the last known one, unless that task is new. So the reader keeps the
ids at the end where new tasks arrive, and takes as new

- every unknown task that stands before a known one, seen from that end;
- every unknown task, when the whole list was known;
- beyond that, a task that ended, or was created, after all that was seen before. Removal makes older tasks surface
  there, and by these times they are told apart. Only times of the platform's are compared with each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice, pairwise
from math import inf
from typing import Final

from exporter.fleet.tasks import Task

KNOWN: Final = 200
"""Ids kept per status: two pages."""
MAX_PAGES: Final = 10
"""Pages read per status and poll at most."""
TELLING: Final = 20
"""Tasks it takes to tell the order of a list."""


class Arrival(Enum):
    """The end of the list where new tasks appear."""

    FIRST_PAGE = "first page"
    LAST_PAGE = "last page"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page of the list as far as it matters here."""

    number: int
    last: int
    total: int
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class Horizon:
    """The latest times among the list's tasks seen so far. Unix seconds of the platform's clock."""

    created_at: float = -inf
    completed_at: float = -inf

    def passed_by(self, task: Task) -> bool:
        """Whether the task was created, or ended, after everything seen before."""
        return (task.created_at or -inf) > self.created_at or (task.completed_at or -inf) >= self.completed_at > -inf

    def extended(self, tasks: Iterable[Task]) -> "Horizon":
        """The horizon with these tasks seen too."""
        created, completed = self.created_at, self.completed_at
        for task in tasks:
            created = max(created, task.created_at or -inf)
            completed = max(completed, task.completed_at or -inf)
        return Horizon(created, completed)


@dataclass(frozen=True, slots=True)
class FinalList:
    """What is remembered of one final status between two polls."""

    arrival: Arrival | None
    """None while the order could not be told."""
    total: int
    last: int
    known: frozenset[str]
    """Ids at the arrival end, of the last poll and as many earlier ones as fit."""
    order: tuple[str, ...]
    """The same, in order from the arrival end."""
    whole: bool
    """Every task of the list was read in the last poll."""
    horizon: Horizon

    @property
    def entry(self) -> int:
        """The page to ask for first: where the newest tasks were."""
        return self.last if self.arrival is Arrival.LAST_PAGE else 1


def arrival_end(tasks: Sequence[Task]) -> Arrival | None:
    """Tell from one page where new tasks arrive: sorted by creation or by end, up or down; None if it cannot be told.

    A few tasks can stand in order by chance; a list that is so short fits on one page, and then nobody asks.
    """
    for times in ([task.created_at for task in tasks], [task.completed_at for task in tasks]):
        known = [time for time in times if time is not None]
        falls = any(a > b for a, b in pairwise(known))
        rises = any(a < b for a, b in pairwise(known))
        if len(known) >= TELLING and falls != rises:
            return Arrival.FIRST_PAGE if falls else Arrival.LAST_PAGE
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """The pages of one final status read in one poll, in the order they were asked for."""

    before: FinalList | None
    """None at the first poll, which only learns where the list stands."""
    leaves: tuple[Leaf, ...]

    @property
    def total(self) -> int:
        """The list's length, as the first answer states it."""
        return self.leaves[0].total

    @property
    def arrival(self) -> Arrival | None:
        """Where new tasks arrive, as this poll or an earlier one could tell."""
        return arrival_end(self.leaves[0].tasks) or (self.before.arrival if self.before else None)

    def next_page(self) -> int | None:
        """The page to read next; None when what is new is complete, or the bound is reached."""
        return self._wanted() if len(self.leaves) < MAX_PAGES else None

    @property
    def truncated(self) -> bool:
        """Whether new tasks may lie beyond the pages that may be read."""
        return self._wanted() is not None

    def _wanted(self) -> int | None:
        newest, read = self.leaves[-1], {leaf.number for leaf in self.leaves}
        if self.before is None:
            # Extra only at the start, and only where the newest tasks are on the last page.
            tail = newest.last if self.arrival is Arrival.LAST_PAGE else 1
            return None if tail in read else tail
        if self.arrival is Arrival.LAST_PAGE:
            candidates: Iterable[int] = range(newest.last, 0, -1)
        else:
            candidates = range(1, newest.last + 1)
        following = next((number for number in candidates if number not in read), None)
        return following if following is not None and self._incomplete(following) else None

    def _incomplete(self, following: int) -> bool:
        """Whether the page `following`, the next one inwards that was not read, may hold new tasks."""
        assert self.before is not None  # noqa: S101  narrows the type; the caller checked
        if self.arrival is Arrival.LAST_PAGE and (following > self.before.last or following == self.leaves[-1].last):
            return True
        new = len(self.new())
        in_new_territory = new > 0 and not any(task.task_id in self.before.known for task in self.tasks())
        return in_new_territory or self.leaves[-1].total - self.before.total > new

    def tasks(self) -> Iterator[Task]:
        """The tasks read, each once, from the arrival end inwards."""
        at_end = self.arrival is Arrival.LAST_PAGE
        seen: set[str] = set()
        for leaf in sorted(self.leaves, key=lambda leaf: leaf.number, reverse=at_end):
            if at_end and self.before is None and leaf.number != leaf.last:
                continue  # the first page of the first poll: far from the end that matters
            for task in reversed(leaf.tasks) if at_end else leaf.tasks:
                if task.task_id not in seen:
                    seen.add(task.task_id)
                    yield task

    def new(self) -> list[Task]:
        """The tasks that were not in the list at the last poll; none at the first poll."""
        if self.before is None:
            return []
        known, tasks = self.before.known, list(self.tasks())
        inside = max((i for i, task in enumerate(tasks) if task.task_id in known), default=-1)
        return [
            task
            for i, task in enumerate(tasks)
            if task.task_id not in known and (i < inside or self.before.whole or self.before.horizon.passed_by(task))
        ]

    def after(self) -> FinalList:
        """What to remember for the next poll."""
        tasks = list(self.tasks())
        earlier = self.before or FinalList(None, 0, 1, frozenset(), (), whole=False, horizon=Horizon())
        order = tuple(islice(dict.fromkeys((*(task.task_id for task in tasks), *earlier.order)), KNOWN))
        newest = self.leaves[-1]
        return FinalList(
            arrival=self.arrival,
            total=newest.total,
            last=newest.last,
            known=frozenset(order),
            order=order,
            whole=len(tasks) >= newest.total,
            horizon=earlier.horizon.extended(task for leaf in self.leaves for task in leaf.tasks),
        )
