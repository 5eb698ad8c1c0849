"""Totals over the agents of a team, computed page by page, so that the agents need not be kept."""

from collections import Counter
from collections.abc import Iterable, Sequence

from exporter.catalog import OTHER
from exporter.fleet.agents import Agent


class AgentTotals:
    """Sums over agents that are added page by page. Mutable.

    Attributes:
        counts: agents by status.
        running_tasks: summed over the agents that report it; None if none does.
        gpu_capacity: likewise.
    """

    def __init__(self, max_labels: int) -> None:
        """Keep the distinct label sets of the agents as long as they have at most `max_labels` labels in total."""
        self.counts: Counter[str] = Counter()
        self.running_tasks: int | None = None
        self.gpu_capacity: int | None = None
        self._label_sets: set[frozenset[str]] = set()
        self._labels_left = max_labels

    def add(self, agents: Sequence[Agent]) -> None:
        """Add the agents of one page, each once."""
        self.counts.update(agent.status or OTHER for agent in agents)
        self.running_tasks = _sum(self.running_tasks, (agent.running_tasks for agent in agents))
        self.gpu_capacity = _sum(self.gpu_capacity, (agent.gpu_capacity for agent in agents))
        for agent in agents:
            if self._labels_left >= 0 and agent.labels not in self._label_sets:
                self._label_sets.add(agent.labels)
                self._labels_left -= 1 + len(agent.labels)
        if self._labels_left < 0:
            self._label_sets.clear()

    @property
    def label_sets(self) -> frozenset[frozenset[str]] | None:
        """The distinct label sets; None if there were too many to keep."""
        return None if self._labels_left < 0 else frozenset(self._label_sets)


def _sum(before: int | None, numbers: Iterable[int | None]) -> int | None:
    """The sum of the known values; None when there are none."""
    known = [number for number in (before, *numbers) if number is not None]
    return sum(known) if known else None
