"""Tasks, from the platform's items to our values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a list of tasks, with what it says about the whole list."""

    number: int
    last: int
    """The number of the list's last page, by this page's total."""
    total: int
    items: int
    """How many items the page held, readable or not."""
    missing: int
    """How many items fewer than its own total promises."""
    tasks: Sequence[Task]
    """Those of its items that have an id, in the platform's order."""


def read_page(page: wire.Page[wire.Task], unknown: Counter[str]) -> ListPage:
    """The page in our words; what was not understood is counted in `unknown`."""
    unknown.update(page.unknown)
    return ListPage(
        number=page.number,
        last=page.last,
        total=page.total,
        items=len(page.items),
        missing=page.missing,
        tasks=tuple(read_tasks(page, unknown)),
    )


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
