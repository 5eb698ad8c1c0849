"""Sums over finished tasks by kind and agent. Like all counters they start at 0 at the first poll.

Memory is bounded: the agents whose last failure was longest ago are forgotten, and combinations beyond the limit are
summed as OTHER.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from exporter.catalog import MAX_COMBINATIONS, OTHER
from exporter.fleet.tasks import Task, TaskKind, run_seconds

MAX_FAILING_AGENTS: Final = 1000
"""Maximum number of agents per team whose failed tasks are remembered."""


class Combination(NamedTuple):
    """The labels that execution seconds are summed by."""

    status: str
    kind: TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallies:
    """Sums over the tasks finished since the first poll."""

    failed: Mapping[str, int] = field(default_factory=dict)
    """Failed tasks by the agent that ran them; the agent whose last failure was longest ago comes first."""
    execution: Mapping[Combination, float] = field(default_factory=dict)
    """Seconds from start to end. A combination that was seen, but of which no task has finished since, is at 0."""

    def after(self, new: Mapping[str, Iterable[Task]], seen: Iterable[Combination]) -> "Tallies":
        """The tallies after a poll.

        Args:
            new: the new tasks of each final status.
            seen: combinations of all tasks it read, running ones and those finished long ago: their counters start at
                0 early enough for the first finished task to be an increase.
        """
        return Tallies(failed=self._failed(new.get("failed", ())), execution=self._execution(new, seen))

    def _failed(self, tasks: Iterable[Task]) -> Mapping[str, int]:
        failed = dict(self.failed)
        for task in tasks:
            if task.agent_id:
                failed[task.agent_id] = failed.pop(task.agent_id, 0) + 1
        return dict(islice(failed.items(), max(0, len(failed) - MAX_FAILING_AGENTS), None))

    def _execution(self, new: Mapping[str, Iterable[Task]], seen: Iterable[Combination]) -> Mapping[Combination, float]:
        sums = dict(self.execution)
        for combination in seen:
            if len(sums) < MAX_COMBINATIONS:
                sums.setdefault(combination, 0.0)
        for status, tasks in new.items():
            for task in tasks:
                seconds = run_seconds(task)
                if seconds is not None:
                    combination = _bounded(Combination(status, task.kind), sums)
                    sums[combination] = sums.get(combination, 0.0) + seconds
        return sums


def _bounded(combination: Combination, known: Mapping[Combination, float]) -> Combination:
    if combination in known or len(known) < MAX_COMBINATIONS:
        return combination
    return Combination(combination.status, TaskKind(OTHER, OTHER, OTHER, OTHER))
