"""Detects how a list of tasks is sorted, which the platform does not document, from the times on a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

from exporter.fleet.tasks import Task

MIN_MAJORITY: Final = 10
"""Minimum difference between how often a page's times increase and decrease: a few may be in order by chance."""
MIN_AGREEMENT: Final = 0.8
"""Minimum share of a page that agrees on a direction: a list sorted by id is almost, but not quite, in time order."""


class Key(Enum):
    """The sort key of a list."""

    CREATED = "created_at"
    COMPLETED = "completed_at"

    def of(self, task: Task) -> float | None:
        """The task's value of this field."""
        return task.created_at if self is Key.CREATED else task.completed_at


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted."""

    key: Key
    newest_first: bool

    def fits(self, tasks: Sequence[Task]) -> bool:
        """Whether a page of the list agrees with this order."""
        falls, rises = _falls_and_rises(self.key, tasks)
        return (falls if self.newest_first else rises) >= MIN_AGREEMENT * (falls + rises)


def detect_order(tasks: Sequence[Task]) -> Order | None:
    """Detect from one page how its list is sorted; None if unclear.

    A list too short to show its order fits on one page, and then the order does not matter.
    """
    best, order = (MIN_AGREEMENT, 0), None
    for key in Key:
        falls, rises = _falls_and_rises(key, tasks)
        agreeing = max(falls, rises) / max(1, falls + rises), abs(falls - rises)
        if abs(falls - rises) >= MIN_MAJORITY and agreeing > best:
            best, order = agreeing, Order(key, falls > rises)
    return order


def _falls_and_rises(key: Key, tasks: Sequence[Task]) -> tuple[int, int]:
    """How often the time decreases from one task to the next, and how often it increases."""
    times = [time for time in map(key.of, tasks) if time is not None]
    return sum(a > b for a, b in pairwise(times)), sum(a < b for a, b in pairwise(times))
