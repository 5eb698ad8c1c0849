"""The tasks seen in active statuses: which ones started, which ones left, and whose wait was counted."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Final

from exporter.fleet.tasks import Task, latest

REMEMBERED: Final = 800
"""Maximum number of tasks remembered per team: as many as one poll can read in the four active statuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveStatusScan:
    """What one poll read of one active status: its first and its last page."""

    total: int
    tasks: Sequence[Task]
    """Without duplicates."""
    pages: int
    """The number of pages read."""
    items: int
    """The number of items on the pages, including duplicates and those without an id."""
    truncated: bool
    """Whether the pages hold fewer items than their totals state."""

    @property
    def complete(self) -> bool:
        """Whether all tasks of the status were read."""
        return self.items >= self.total


Seen = tuple[float | None, float | None, bool]
"""When a task was created and started, in Unix seconds of the platform's clock, and whether its wait was counted.

A plain tuple because there may be hundreds per team, and the garbage collector does not track tuples of numbers.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What is remembered of active tasks between two polls."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By id; the one that was not seen for the longest time comes first and is forgotten first."""
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The ids read at the last poll, by status."""
    missed: Mapping[str, float] = field(default_factory=dict)
    """Tasks that disappeared before the last poll and were not found: id to creation time. One more poll looks for
    them, because items move while lists are read."""
    all_running: bool = False
    """Whether every running task was read at the last poll."""
    latest_start: float = -inf
    waits_known_until: float = -inf
    """A task that started before this time and is not remembered has no wait to count: it was already running at the
    first poll, or its wait was counted before it was forgotten."""

    def gone(self, active: Mapping[str, ActiveStatusScan]) -> Mapping[str, float]:
        """The tasks that left the active statuses since the last poll: id to creation time.

        Tasks only move forward through the statuses, so a task is gone only if all statuses after its own were read
        completely.
        """
        found = {task.task_id for scan in active.values() for task in scan.tasks}
        gone = {task_id: created_at for task_id, created_at in self.missed.items() if task_id not in found}
        for status in reversed(tuple(active)):
            if not active[status].complete:
                break
            for task_id in self.listed.get(status, frozenset()) - found:
                created_at, _, _ = self.seen.get(task_id, (None, None, False))
                if created_at is not None:
                    gone[task_id] = created_at
        return gone

    def started(self, active: Mapping[str, ActiveStatusScan]) -> Mapping[str, Task]:
        """The tasks that certainly started since the last poll and have not ended, by id."""
        tasks = (task for scan in active.values() for task in scan.tasks)
        return {
            task.task_id: task for task in tasks if task.started_at is not None and self._new(task, task.started_at)
        }

    def _new(self, task: Task, started_at: float) -> bool:
        if before := self.seen.get(task.task_id):
            _, started_before, waited = before
            return started_before is None and not waited
        return self.all_running or started_at > self.latest_start

    def waited(self, task: Task) -> bool:
        """Whether the wait of this finished task is known to have been counted when it started."""
        if before := self.seen.get(task.task_id):
            return before[2]
        return task.started_at is not None and task.started_at <= self.waits_known_until

    def after(
        self, active: Mapping[str, ActiveStatusScan], waited: Container[str], ended: Iterable[str], *, first: bool
    ) -> "Activity":
        """What to remember for the next poll.

        Args:
            active: what this poll read of each active status.
            waited: ids of the tasks whose wait this poll counted.
            ended: ids of all tasks it read in a final status.
            first: whether it was the first poll. The wait of a task that is already running then is never counted;
                otherwise every restart would count it again.
        """
        ended = frozenset(ended)
        seen = self._seen_after(active, waited, ended, first=first)
        surplus = [seen.pop(task_id) for task_id in list(islice(seen, max(0, len(seen) - REMEMBERED)))]
        latest_start = latest((task.started_at for scan in active.values() for task in scan.tasks), self.latest_start)
        known_until = latest((started_at for _, started_at, counted in surplus if counted), self.waits_known_until)
        found = ended | self.missed.keys()
        return Activity(
            seen=seen,
            listed={status: frozenset(task.task_id for task in scan.tasks) for status, scan in active.items()},
            missed={task_id: time for task_id, time in self.gone(active).items() if task_id not in found},
            all_running=active["running"].complete,
            latest_start=latest_start,
            waits_known_until=max(known_until, latest_start) if first else known_until,
        )

    def _seen_after(
        self, active: Mapping[str, ActiveStatusScan], waited: Container[str], ended: frozenset[str], *, first: bool
    ) -> dict[str, Seen]:
        seen = dict(self.seen)
        for status, scan in active.items():
            for task in scan.tasks:
                _, _, counted = seen.pop(task.task_id, (None, None, False))
                ran_before = first and (status == "running" or task.started_at is not None)
                seen[task.task_id] = task.created_at, task.started_at, counted or ran_before or task.task_id in waited
        return {task_id: times for task_id, times in seen.items() if task_id not in ended}
