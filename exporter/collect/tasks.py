"""The tasks of one team: counted by the platform's totals, at a number of requests that does not grow with them.

An active status costs its first page, plus the last one where there are more, so that the oldest task is on one of
the two whichever way the list is sorted. A final status costs one page: the one where new tasks arrive. Statuses are
asked for in the order tasks pass through them, so a task that moves meanwhile is seen twice rather than never.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES, UNSTARTED_TASK_STATUSES
from exporter.collect.result import FetchTasks, Implausible, TasksResult, Unknown
from exporter.expose import families
from exporter.expose.text import Samples
from exporter.fleet.activity import ActiveStatusScan
from exporter.fleet.finished import MAX_PAGES, FinalStatusScan, ListPage
from exporter.fleet.tasks import Task, oldest, read_tasks
from exporter.fleet.timings import Timings
from exporter.platform import wire


@dataclass(frozen=True, slots=True)
class _Active:
    """One active status: how many tasks there are, and those that were read."""

    total: int
    tasks: tuple[Task, ...]
    pages: int
    truncated: bool

    @property
    def complete(self) -> bool:
        return len(self.tasks) >= self.total


@dataclass(frozen=True, slots=True)
class _FinalStatus:
    """One final status."""

    scan: FinalStatusScan
    stopped: bool = False
    """Before all that is new was read."""

    @property
    def truncated(self) -> bool:
        return self.stopped or not self.scan.stable


async def collect_tasks(fetch: FetchTasks, team: str, before: Timings, unknown: Unknown) -> TasksResult:
    """Look at every status once.

    Args:
        fetch: gets a page.
        team: the value of the `team_name` label.
        before: the timings until now.
        unknown: is added to.

    Raises:
        PlatformError: a page could not be had, or contradicts itself.
    """
    active = {status: await _active(fetch, status, unknown) for status in ACTIVE_TASK_STATUSES}
    listed = {status: ActiveStatusScan(tasks=seen.tasks, complete=seen.complete) for status, seen in active.items()}
    final = await _finals(fetch, before, before.activity.gone(listed), unknown)
    running, waiting = active["running"], active["waiting"]
    advance = before.advanced(listed, {status: seen.scan for status, seen in final.items()})
    unknown.update({"started_at": advance.reversed_starts, "completed_at": advance.reversed_ends})
    totals = {status: seen.total for status, seen in active.items()}
    totals |= {status: seen.scan.total for status, seen in final.items()}

    samples = Samples()
    families.add_task_counts(samples, team, totals)
    created = {status: oldest(task.created_at for task in active[status].tasks) for status in UNSTARTED_TASK_STATUSES}
    families.add_oldest(samples, team, created, oldest(task.started_at for task in running.tasks))
    families.add_timings(samples, team, advance.timings)
    read = sum(len(seen.tasks) for seen in active.values())
    return TasksResult(
        samples=samples,
        packed=(),
        pages=sum(seen.pages for seen in active.values()) + sum(len(seen.scan.pages) for seen in final.values()),
        items=read + sum(len(page.tasks) for seen in final.values() for page in seen.scan.pages),
        reported=sum(totals.values()),
        truncated=any(seen.truncated for seen in active.values()) or any(seen.truncated for seen in final.values()),
        series_dropped=0,
        timings=advance.timings,
        required=Counter(task.labels for task in waiting.tasks),
    )


async def _active(fetch: FetchTasks, status: str, unknown: Unknown) -> _Active:
    """Read both ends of an active status; once more when they do not add up."""
    seen = await _ends(fetch, status, unknown)
    if not seen.truncated:
        return seen
    again = await _ends(fetch, status, unknown)
    return replace(again, pages=seen.pages + again.pages)


async def _ends(fetch: FetchTasks, status: str, unknown: Unknown) -> _Active:
    first = await fetch(status, 1)
    pages = [first] if first.last == 1 else [first, await fetch(status, first.last)]
    tasks = {task.task_id: task for page in pages for task in _tasks(page, unknown)}
    # An empty last page whose total agrees means that the list shrank meanwhile: its real end was not read.
    adds_up = all(page.missing == 0 and page.number <= page.last for page in pages)
    return _Active(first.total, tuple(tasks.values()), len(pages), truncated=not adds_up)


async def _finals(
    fetch: FetchTasks, before: Timings, gone: Mapping[str, float], unknown: Unknown
) -> Mapping[str, _FinalStatus]:
    """Read the final statuses from the end where tasks arrive; then look on for what left the active ones."""
    final: dict[str, _FinalStatus] = {}
    for status in FINAL_TASK_STATUSES:
        known = before.lists.get(status)
        start = _FinalStatus(FinalStatusScan(known, seen_active=before.activity.seen))
        first = await _read_page(fetch, status, known.entry if known else 1, start, unknown)
        final[status] = await _read_on(fetch, status, first, {}, unknown)
    for status in FINAL_TASK_STATUSES:
        final[status] = await _read_on(fetch, status, final[status], _without(gone, final.values()), unknown)
    return final


async def _read_on(
    fetch: FetchTasks, status: str, seen: _FinalStatus, gone: Mapping[str, float], unknown: Unknown
) -> _FinalStatus:
    while (number := seen.scan.next_page(_without(gone, [seen]))) and not seen.stopped:
        if len(seen.scan.pages) >= MAX_PAGES:
            return replace(seen, stopped=True)
        seen = await _read_page(fetch, status, number, seen, unknown)
    return seen


async def _read_page(fetch: FetchTasks, status: str, number: int, seen: _FinalStatus, unknown: Unknown) -> _FinalStatus:
    """Read one more page; once more if it is short of what its own total promises."""
    page = await fetch(status, number)
    if page.missing:
        page = await fetch(status, number)
    listed = ListPage(number=number, last=page.last, total=page.total, tasks=tuple(_tasks(page, unknown)))
    return _FinalStatus(replace(seen.scan, pages=(*seen.scan.pages, listed)), stopped=page.missing > 0)


def _without(gone: Mapping[str, float], final: Iterable[_FinalStatus]) -> Mapping[str, float]:
    if not gone:
        return gone
    found = {task.task_id for seen in final for task in seen.scan.tasks}
    return {task_id: created_at for task_id, created_at in gone.items() if task_id not in found}


def _tasks(page: wire.Page[wire.Task], unknown: Unknown) -> list[Task]:
    unknown.update(page.unknown)
    tasks = list(read_tasks(page, unknown))
    if page.items and not tasks:
        raise Implausible(f"none of {len(page.items)} tasks has an id")
    return tasks
