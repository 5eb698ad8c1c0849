"""Counters and histograms over tasks: how long they waited and ran, how they ended.

All start at 0 at the first poll and count each task once. The state between two polls is one frozen value, so a
poll that fails half way has changed nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import Final

from exporter.catalog import FINAL_TASK_STATUSES, RUN_BUCKETS, WAIT_BUCKETS
from exporter.fleet.finished import FinalList, Reading
from exporter.fleet.tasks import Task

REMEMBERED_STARTS: Final = 400
"""Started tasks kept per team: twice what a poll can see of the running ones."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations per bucket, not cumulated, the last one without bound; and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float = 0.0

    @classmethod
    def empty(cls, bounds: Sequence[float]) -> "Histogram":
        """No observations yet."""
        return cls(tuple(bounds), (0,) * (len(bounds) + 1))

    def observed(self, values: Iterable[float]) -> "Histogram":
        """The histogram with these observations added."""
        counts, total = list(self.counts), self.sum
        for value in values:
            counts[bisect_left(self.bounds, value)] += 1
            total += value
        return replace(self, counts=tuple(counts), sum=total)


@dataclass(frozen=True, slots=True)
class Start:
    """A task seen running: when it started, by the platform's clock, and whether its wait was counted."""

    started_at: float
    counted: bool


@dataclass(frozen=True, slots=True)
class Starts:
    """The tasks seen running lately."""

    seen: Mapping[str, Start] = field(default_factory=dict)
    """By id; the one not seen for longest comes first and is forgotten first."""
    whole: bool = False
    """Every running task was seen in the last poll."""
    latest: float = -inf
    """The latest start seen so far."""
    forgotten: float = -inf
    """The latest start among the forgotten ones whose wait was counted."""

    def counted(self, task: Task) -> bool:
        """Whether the wait of this finished task was counted when it started, as far as anybody remembers."""
        if task.task_id in self.seen:
            return self.seen[task.task_id].counted
        return task.started_at is not None and task.started_at <= self.forgotten


@dataclass(frozen=True, slots=True)
class Timings:
    """What a team's tasks did since the first poll."""

    lists: Mapping[str, FinalList] = field(default_factory=dict)
    """By final status; empty before the first poll."""
    starts: Starts = Starts()
    finished: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(FINAL_TASK_STATUSES, 0))
    retries: int = 0
    wait: Histogram = field(default_factory=lambda: Histogram.empty(WAIT_BUCKETS))
    run: Mapping[str, Histogram] = field(
        default_factory=lambda: {status: Histogram.empty(RUN_BUCKETS) for status in FINAL_TASK_STATUSES}
    )

    def advanced(self, running: Sequence[Task], *, whole: bool, finals: Mapping[str, Reading]) -> "Advance":
        """Count what one complete poll shows.

        Args:
            running: the running tasks read.
            whole: whether these are all that run.
            finals: what was read of each final status.
        """
        new = {status: reading.new() for status, reading in finals.items()}
        ended = [task for tasks in new.values() for task in tasks]
        started = {task.task_id: task for task in self._started(running)} if self.lists else {}
        late = (task for task in ended if task.task_id not in started and not self.starts.counted(task))
        waited = [*started.values(), *late]
        waits = _spans(waited, lambda task: (task.created_at, task.started_at))
        runs = {s: _spans(tasks, lambda task: (task.started_at, task.completed_at)) for s, tasks in new.items()}
        timings = Timings(
            lists={status: reading.after() for status, reading in finals.items()},
            starts=self._starts_after(running, {task.task_id for task in waited}, ended, whole=whole),
            finished={status: count + len(new[status]) for status, count in self.finished.items()},
            retries=self.retries + sum(task.retries for task in ended),
            wait=self.wait.observed(waits.lengths),
            run={status: histogram.observed(runs[status].lengths) for status, histogram in self.run.items()},
        )
        return Advance(timings, waits.reversed, sum(spans.reversed for spans in runs.values()))

    def _started(self, running: Sequence[Task]) -> list[Task]:
        """The running tasks that started since the last poll, as far as it can be told."""
        return [
            task
            for task in running
            if task.started_at is not None
            and task.task_id not in self.starts.seen
            and (self.starts.whole or task.started_at > self.starts.latest)
        ]

    def _starts_after(self, running: Sequence[Task], waited: set[str], ended: Sequence[Task], *, whole: bool) -> Starts:
        seen = dict(self.starts.seen)
        for task in running:
            before = seen.pop(task.task_id, None)
            if task.started_at is not None:
                counted = task.task_id in waited or (before is not None and before.counted)
                seen[task.task_id] = Start(task.started_at, counted)
        for task in ended:
            seen.pop(task.task_id, None)
        surplus = [seen.pop(task_id) for task_id in list(islice(seen, max(0, len(seen) - REMEMBERED_STARTS)))]
        return Starts(
            seen,
            whole,
            latest=max((self.starts.latest, *(task.started_at or -inf for task in running))),
            forgotten=max((self.starts.forgotten, *(start.started_at for start in surplus if start.counted))),
        )


@dataclass(frozen=True, slots=True)
class Advance:
    """The timings after a poll, and how many durations were left out for times in the wrong order."""

    timings: Timings
    reversed_starts: int
    reversed_ends: int


@dataclass(frozen=True, slots=True)
class _Spans:
    lengths: list[float]
    reversed: int


def _spans(tasks: Iterable[Task], ends: Callable[[Task], tuple[float | None, float | None]]) -> _Spans:
    """Durations in seconds between two times of each task; those that are missing or negative are left out."""
    spans = [end - begin for begin, end in map(ends, tasks) if begin is not None and end is not None]
    lengths = [span for span in spans if span >= 0]
    return _Spans(lengths, len(spans) - len(lengths))
