"""Converts the platform's tasks to our values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final, NamedTuple

from exporter.fleet.agents import label_set, unix_time
from exporter.fleet.text import label_text, optional_label
from exporter.platform import wire

FUTURE: Final = 3600.0
"""Seconds by which a time may be ahead of the clock, because clocks differ a little. A time further ahead is wrong, and
would make all later ones look old."""


class TaskKind(NamedTuple):
    """The kind of a task and its target, as label values; "" if the platform does not report it."""

    gpu_type: str = ""
    dispatch_target: str = ""
    target_pool: str = ""
    tool_type: str = ""


NO_KIND: Final = TaskKind()


@dataclass(slots=True, kw_only=True)
class Task:
    """One listed task. Times are Unix seconds of the platform's clock; None stands for values that it did not send."""

    task_id: Final[str]
    created_at: Final[float | None] = None
    started_at: Final[float | None] = None
    completed_at: Final[float | None] = None
    retries: Final[int] = 0
    labels: Final[frozenset[str]] = frozenset()
    """The labels it requires, as long as it has no agent (inferred)."""
    agent_id: Final[str] = ""
    """The agent that it runs or ran on."""
    kind: Final[TaskKind] = NO_KIND
    workflow_id: Final[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a list of tasks, with its total of the whole list."""

    number: int
    last: int
    """The number of the list's last page, by this page's total."""
    total: int
    items: int
    """The number of items on the page, readable or not."""
    missing: int
    """How many items it lacks according to its own total."""
    tasks: Sequence[Task]
    """Those of its items that have an id, without duplicates, in the platform's order."""


def read_page(page: wire.Page[wire.Task], unknown: Counter[str], now: float = inf) -> ListPage:
    """Convert a page; values that were not understood are counted in `unknown`.

    Args:
        page: a page of any status.
        unknown: unknown values are added here.
        now: Unix seconds; no time of a task can be later.
    """
    unknown.update(page.unknown)
    return ListPage(
        number=page.number,
        last=page.last,
        total=page.total,
        items=len(page.items),
        missing=page.missing,
        tasks=tuple(read_tasks(page, unknown, now)),
    )


def read_tasks(page: wire.Page[wire.Task], unknown: Counter[str], now: float = inf) -> Iterator[Task]:
    """Yield the page's tasks, without duplicates.

    Items without an id or with a repeated one, and times in the future, are counted in `unknown`.
    """
    seen = set[str]()
    kinds: dict[tuple[str | None, ...], TaskKind] = {}

    def past(field: str, moment: datetime | None) -> float | None:
        time = unix_time(moment)
        if time is None or time <= now + FUTURE:
            return time
        unknown[field] += 1
        return None

    def kind(*raw: str | None) -> TaskKind:
        # A page has few kinds, but many tasks of each.
        return kinds.get(raw) or kinds.setdefault(raw, TaskKind(*map(optional_label, raw)))

    for item in page.items:
        if item is None or not item.id or item.id in seen:
            unknown["id"] += 1
            continue
        seen.add(item.id)
        yield Task(
            task_id=label_text(item.id),
            created_at=past("created_at", item.created_at),
            started_at=past("started_at", item.started_at),
            completed_at=past("completed_at", item.completed_at),
            retries=item.retry_count or 0,
            labels=label_set(item.agent_labels),
            agent_id=optional_label(item.agent_id),
            workflow_id=optional_label(item.workflow_id),
            kind=kind(item.gpu_type, item.dispatch_target, item.target_pool, item.tool_type),
        )


def oldest(times: Iterable[float | None]) -> float | None:
    """The earliest of the known times; None when there is none."""
    return min((time for time in times if time is not None), default=None)


def latest(times: Iterable[float | None], earlier: float) -> float:
    """The latest of the known times, or `earlier` if that is later or there is none."""
    return max((earlier, *(time for time in times if time is not None)))


def run_seconds(task: Task) -> float | None:
    """Seconds from start to end; None when one is unknown or they contradict each other."""
    if task.started_at is None or task.completed_at is None or task.completed_at < task.started_at:
        return None
    return task.completed_at - task.started_at
