"""The tasks seen in active statuses: which started, which left, and whose wait was counted."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Final

from exporter.catalog import ACTIVE_TASK_STATUSES
from exporter.fleet.tasks import Task

REMEMBERED: Final = 800
"""Tasks remembered per team: as many as one poll can read of the active statuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveStatusScan:
    """What one poll read of one active status: its first page and its last one."""

    total: int
    tasks: Sequence[Task]
    """Each once."""
    pages: int
    """How many were read."""
    truncated: bool
    """The pages do not hold what their totals promise."""

    @property
    def complete(self) -> bool:
        """Whether the tasks read are all there are."""
        return len(self.tasks) >= self.total


Seen = tuple[float | None, float | None, bool]
"""When a task was created and started, in Unix seconds of the platform's clock, and whether its wait was counted.

A plain tuple because there may be hundreds per team: tuples of numbers cost the garbage collector nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What is remembered of active tasks between two polls."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By id. The one not seen for the longest time comes first, and is forgotten first."""
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The ids read at the last poll, by status."""
    missed: Mapping[str, float] = field(default_factory=dict)
    """Tasks that were missing at the last poll, id to creation time. Pages move, so they are looked for once more."""
    all_running: bool = False
    """Every running task was read at the last poll."""
    latest_start: float = -inf
    forgotten: float = -inf
    """The latest start among the forgotten tasks whose wait was counted."""

    def gone(self, active: Mapping[str, ActiveStatusScan]) -> Mapping[str, float]:
        """The tasks that left the active statuses since the last poll: id to creation time.

        Tasks move forward through the statuses, so an absence only means something where these were read completely.
        """
        found = {task.task_id for scan in active.values() for task in scan.tasks}
        gone = {task_id: created_at for task_id, created_at in self.missed.items() if task_id not in found}
        for status in reversed(ACTIVE_TASK_STATUSES):
            if not active[status].complete:
                break
            for task_id in self.listed.get(status, frozenset()) - found:
                created_at, _, _ = self.seen.get(task_id, (None, None, False))
                if created_at is not None:
                    gone[task_id] = created_at
        return gone

    def started(self, active: Mapping[str, ActiveStatusScan]) -> Mapping[str, Task]:
        """The tasks that started since the last poll, as far as can be known, and have not ended: by id."""
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
        """Whether the wait of this finished task was counted when it started, as far as is remembered."""
        if before := self.seen.get(task.task_id):
            return before[2]
        return task.started_at is not None and task.started_at <= self.forgotten

    def after(self, active: Mapping[str, ActiveStatusScan], waited: Container[str], ended: Iterable[str]) -> "Activity":
        """What to remember for the next poll.

        Args:
            active: what this poll read of each active status.
            waited: ids of the tasks whose wait it counted.
            ended: ids of all tasks it read in a final status.
        """
        seen, ended = dict(self.seen), frozenset(ended)
        for status in ACTIVE_TASK_STATUSES:
            for task in active[status].tasks:
                before = seen.pop(task.task_id, None)
                counted = task.task_id in waited or (before is not None and before[2])
                seen[task.task_id] = task.created_at, task.started_at, counted
        for task_id in ended:
            seen.pop(task_id, None)
        surplus = [seen.pop(task_id) for task_id in list(islice(seen, max(0, len(seen) - REMEMBERED)))]
        found = ended | self.missed.keys()
        return Activity(
            seen=seen,
            listed={status: frozenset(task.task_id for task in scan.tasks) for status, scan in active.items()},
            missed={task_id: time for task_id, time in self.gone(active).items() if task_id not in found},
            all_running=active["running"].complete,
            latest_start=_latest(
                (task.started_at for scan in active.values() for task in scan.tasks), self.latest_start
            ),
            forgotten=_latest((started_at for _, started_at, waited_for in surplus if waited_for), self.forgotten),
        )


def _latest(times: Iterable[float | None], earlier: float) -> float:
    return max((earlier, *(time for time in times if time is not None)))
