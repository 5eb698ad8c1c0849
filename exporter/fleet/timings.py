"""Counters and histograms over tasks: how long they waited and ran, and how they ended.

All start at 0 at the first poll and count each task once. The state between two polls is one immutable value, so a
poll that fails halfway changes nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.catalog import FINAL_TASK_STATUSES, RUN_BUCKETS, WAIT_BUCKETS
from exporter.fleet.activity import ActiveStatusScan, Activity
from exporter.fleet.finished import FinalStatusMemory, FinalStatusScan
from exporter.fleet.tallies import Combination, Tallies
from exporter.fleet.tasks import Task
from exporter.fleet.workflows import Workflows


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations per bucket (not cumulative; the last bucket is unbounded) and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float = 0.0

    @classmethod
    def empty(cls, bounds: Sequence[float]) -> "Histogram":
        """A histogram without observations."""
        return cls(tuple(bounds), (0,) * (len(bounds) + 1))

    def observed(self, values: Iterable[float]) -> "Histogram":
        """A histogram with these observations added."""
        counts, total = list(self.counts), self.sum
        for value in values:
            counts[bisect_left(self.bounds, value)] += 1
            total += value
        return replace(self, counts=tuple(counts), sum=total)


@dataclass(frozen=True, slots=True)
class Timings:
    """What a team's tasks have done since the first poll."""

    final_lists: Mapping[str, FinalStatusMemory] = field(default_factory=dict)
    """What is remembered of each final status; empty before the first poll."""
    activity: Activity = field(default_factory=Activity)
    finished: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(FINAL_TASK_STATUSES, 0))
    retries: int = 0
    wait: Histogram = field(default_factory=lambda: Histogram.empty(WAIT_BUCKETS))
    run: Mapping[str, Histogram] = field(
        default_factory=lambda: {status: Histogram.empty(RUN_BUCKETS) for status in FINAL_TASK_STATUSES}
    )
    tallies: Tallies = field(default_factory=Tallies)
    workflows: Workflows = field(default_factory=Workflows)

    def advanced(
        self, active: Mapping[str, ActiveStatusScan], finals: Mapping[str, FinalStatusScan], workflows: int = 0
    ) -> "Advance":
        """Count what one complete poll read.

        Args:
            active: what was read of each active status.
            finals: what was read of each final status.
            workflows: how many workflows have series of their own.
        """
        new = self._first_ends(finals)
        ended = [task for tasks in new.values() for task in tasks]
        started = self._first_starts(active)
        late = (task for task in ended if task.task_id not in started and not self.activity.waited(task))
        waited = [*started.values(), *late]
        waits = _spans(waited, lambda task: (task.created_at, task.started_at))
        runs = {
            status: _spans(tasks, lambda task: (task.started_at, task.completed_at)) for status, tasks in new.items()
        }
        timings = Timings(
            final_lists={status: scan.after() for status, scan in finals.items()},
            activity=self.activity.after(
                active,
                waited={task.task_id for task in waited},
                ended={task.task_id for scan in finals.values() for task in scan.tasks},
                first=not self.final_lists,
            ),
            finished={status: count + len(new[status]) for status, count in self.finished.items()},
            retries=self.retries + sum(task.retries for task in ended),
            wait=self.wait.observed(waits.lengths),
            run={status: histogram.observed(runs[status].lengths) for status, histogram in self.run.items()},
            tallies=self.tallies.after(new, _combinations(active, finals)),
            workflows=self.workflows.after(new, _workflows(active, finals), workflows),
        )
        return Advance(timings, waits.reversed, sum(spans.reversed for spans in runs.values()))

    def _first_ends(self, finals: Mapping[str, FinalStatusScan]) -> Mapping[str, list[Task]]:
        """The new tasks of each final status that were in no other one before: a failed task may have been retried."""
        counted = self._remembered_final()
        new: dict[str, list[Task]] = {}
        for status, scan in finals.items():
            new[status] = [task for task in scan.new if task.task_id not in counted]
            counted.update(task.task_id for task in new[status])
        return new

    def _first_starts(self, active: Mapping[str, ActiveStatusScan]) -> Mapping[str, Task]:
        """The tasks that started since the last poll, except retries of finished ones; none at the first poll."""
        if not self.final_lists:
            return {}
        ended = self._remembered_final()
        return {task_id: task for task_id, task in self.activity.started(active).items() if task_id not in ended}

    def _remembered_final(self) -> set[str]:
        """Ids of the finished tasks that are remembered."""
        return {task_id for memory in self.final_lists.values() for task_id in memory.task_ids}


def _workflows(active: Mapping[str, ActiveStatusScan], finals: Mapping[str, FinalStatusScan]) -> Iterator[str]:
    yield from (task.workflow_id for task in active["running"].tasks)
    yield from (task.workflow_id for scan in finals.values() for task in scan.tasks)


def _combinations(
    active: Mapping[str, ActiveStatusScan], finals: Mapping[str, FinalStatusScan]
) -> Iterator[Combination]:
    for status, scan in finals.items():
        yield from (Combination(status, task.kind) for task in scan.tasks)
    yield from (Combination("completed", task.kind) for task in active["running"].tasks)


@dataclass(frozen=True, slots=True)
class Advance:
    """The timings after a poll, and the number of durations left out because their times are in the wrong order."""

    timings: Timings
    reversed_starts: int
    reversed_ends: int


@dataclass(frozen=True, slots=True)
class _Spans:
    lengths: list[float]
    reversed: int


def _spans(tasks: Iterable[Task], ends: Callable[[Task], tuple[float | None, float | None]]) -> _Spans:
    """Durations in seconds between two times of each task, without those that are unknown or negative."""
    spans = [end - begin for begin, end in map(ends, tasks) if begin is not None and end is not None]
    lengths = [span for span in spans if span >= 0]
    return _Spans(lengths, len(spans) - len(lengths))
