"""How a list of tasks is sorted. The platform does not say; the times on a page do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

from exporter.fleet.tasks import Task

TELLING: Final = 10
"""How much oftener times must rise than fall on a page, or the reverse: a few can stand in order by chance."""
ORDERLY: Final = 0.8
"""How much of a page must agree on a direction: ids and times of one list may differ a little in order."""


class Key(Enum):
    """What a list is sorted by."""

    CREATED = "created_at"
    COMPLETED = "completed_at"

    def of(self, task: Task) -> float | None:
        """The task's time that counts."""
        return task.created_at if self is Key.CREATED else task.completed_at


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted."""

    key: Key
    newest_first: bool

    def fits(self, tasks: Sequence[Task]) -> bool:
        """Whether a page of the list does not contradict it."""
        falls, rises = _turns(self.key, tasks)
        return (falls if self.newest_first else rises) >= ORDERLY * (falls + rises)


def told_order(tasks: Sequence[Task]) -> Order | None:
    """Tell from one page how its list is sorted; None if it cannot be told.

    A list that is too short to tell fits on one page, and then nobody asks.
    """
    best, order = (ORDERLY, 0), None
    for key in Key:
        falls, rises = _turns(key, tasks)
        agreeing = max(falls, rises) / max(1, falls + rises), abs(falls - rises)
        if abs(falls - rises) >= TELLING and agreeing > best:
            best, order = agreeing, Order(key, falls > rises)
    return order


def _turns(key: Key, tasks: Sequence[Task]) -> tuple[int, int]:
    """How often the time falls from one task to the next, and how often it rises."""
    times = [time for time in map(key.of, tasks) if time is not None]
    return sum(a > b for a, b in pairwise(times)), sum(a < b for a, b in pairwise(times))
