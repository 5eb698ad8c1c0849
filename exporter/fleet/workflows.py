"""Finished tasks by workflow: the busiest workflows have series of their own, the rest are summed as OTHER.

There may be any number of workflows, so both the series and the memory are bounded. A workflow that is displaced by a
busier one loses its series; when it returns, they start at 0 again, as counters may.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.catalog import FINAL_TASK_STATUSES, OTHER
from exporter.fleet.tasks import Task, run_seconds

MAX_RANKED: Final = 1000
"""Maximum number of workflows ranked per team to find the busiest; beyond that the least busy ones are forgotten."""
LEAD: Final = 1.25
"""How many times busier a workflow must be to displace another, so that two equally busy ones do not alternate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowName:
    """A workflow's names, as label values; "" if the platform does not report them."""

    slug: str
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTotals:
    """Totals of one workflow's finished tasks since it got series of its own."""

    finished: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(FINAL_TASK_STATUSES, 0))
    execution: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(FINAL_TASK_STATUSES, 0.0))
    """Seconds from start to end, by status."""

    def with_task(self, status: str, task: Task) -> "WorkflowTotals":
        """The totals with one more task."""
        seconds = run_seconds(task) or 0.0
        return WorkflowTotals(
            finished={**self.finished, status: self.finished[status] + 1},
            execution={**self.execution, status: self.execution[status] + seconds},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflows:
    """Sums over the tasks finished since the first poll."""

    shown: Mapping[str, WorkflowTotals] = field(default_factory=dict)
    """By workflow id, and OTHER; empty if no workflows are shown."""
    ranked: Mapping[str, int] = field(default_factory=dict)
    """Finished tasks of every workflow that is remembered."""

    def after(self, new: Mapping[str, Iterable[Task]], seen: Iterable[str], limit: int) -> "Workflows":
        """The workflows after a poll.

        Args:
            new: the new tasks of each final status.
            seen: ids of the workflows whose tasks it read. They get free places, so their counters start at 0 in time.
            limit: how many workflows have series of their own.
        """
        if limit == 0:
            return Workflows()
        places = _Places(self, limit)
        for workflow_id in seen:
            places.offer(workflow_id)
        for status, tasks in new.items():
            for task in tasks:
                places.count(status, task)
        return places.workflows()


class _Places:
    """The workflows with series, while the tasks of one poll are counted. Mutable."""

    def __init__(self, before: Workflows, limit: int) -> None:
        self._limit = limit
        self._ranked = dict(before.ranked)
        kept = sorted(before.shown.keys() - {OTHER}, key=self._rank, reverse=True)[:limit]
        self._shown = {workflow_id: before.shown[workflow_id] for workflow_id in kept}
        self._other = before.shown.get(OTHER, WorkflowTotals())

    def _rank(self, workflow_id: str) -> int:
        return self._ranked.get(workflow_id, 0)

    def offer(self, workflow_id: str) -> None:
        """Give the workflow series of its own if the limit allows."""
        if workflow_id and workflow_id not in self._shown and len(self._shown) < self._limit:
            self._shown[workflow_id] = WorkflowTotals()

    def count(self, status: str, task: Task) -> None:
        """Count a finished task under its workflow, or OTHER."""
        if task.workflow_id:
            self._ranked[task.workflow_id] = self._rank(task.workflow_id) + 1
            self.offer(task.workflow_id)
        if task.workflow_id in self._shown:
            self._shown[task.workflow_id] = self._shown[task.workflow_id].with_task(status, task)
        else:
            self._other = self._other.with_task(status, task)
            self._overtake(task.workflow_id)

    def _overtake(self, workflow_id: str) -> None:
        """Let the workflow, counted as `other` until now, displace one that is much less busy."""
        last = min(self._shown, key=self._rank, default=None)
        if workflow_id and last is not None and self._rank(workflow_id) > LEAD * self._rank(last):
            del self._shown[last]
            self._shown[workflow_id] = WorkflowTotals()

    def workflows(self) -> Workflows:
        """What to remember for the next poll."""
        busiest = sorted(self._ranked, key=lambda each: (each in self._shown, self._rank(each)), reverse=True)
        ranked = {workflow_id: self._ranked[workflow_id] for workflow_id in busiest[:MAX_RANKED]}
        return Workflows(shown={**self._shown, OTHER: self._other}, ranked=ranked)
