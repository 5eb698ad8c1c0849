"""Tasks, from the platform's items to our values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.fleet.agents import label_set, unix_time
from exporter.fleet.text import label_text
from exporter.platform import wire


@dataclass(slots=True, kw_only=True)
class Task:
    """One listed task. Times are Unix seconds of the platform's clock; None stands for what it did not say."""

    task_id: Final[str]
    created_at: Final[float | None] = None
    started_at: Final[float | None] = None
    completed_at: Final[float | None] = None
    retries: Final[int] = 0
    labels: Final[frozenset[str]] = frozenset()
    """The labels it requires, while it has no agent (inferred)."""


def read_tasks(page: wire.Page[wire.Task], unknown: Counter[str]) -> Iterator[Task]:
    """Yield the page's tasks; count items without an id in `unknown`."""
    for item in page.items:
        if item is None or not item.id:
            unknown["id"] += 1
            continue
        yield Task(
            task_id=label_text(item.id),
            created_at=unix_time(item.created_at),
            started_at=unix_time(item.started_at),
            completed_at=unix_time(item.completed_at),
            retries=item.retry_count or 0,
            labels=label_set(item.agent_labels),
        )


def oldest(times: Iterable[float | None]) -> float | None:
    """The earliest of the known times; None when there is none."""
    return min((time for time in times if time is not None), default=None)


def without_eligible_agent(required: Mapping[frozenset[str], int], offered: Iterable[frozenset[str]]) -> int:
    """How many tasks no agent can take.

    Args:
        required: how many tasks require each set of labels.
        offered: the label sets of the connected agents. An agent is eligible when its set holds all required ones.
    """
    offered = tuple(offered)
    return sum(count for labels, count in required.items() if not any(labels <= has for has in offered))
