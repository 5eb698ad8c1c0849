"""The tasks of one team: counted by the platform's totals, at a number of requests that does not grow with them.

An active status costs its first page, plus the last one where there are more, so that the oldest task is on one of
the two whichever way the list is sorted. A final status costs one page: the one where new tasks arrive. Statuses are
asked for in the order tasks pass through them, so a task that moves meanwhile is seen twice rather than never.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES
from exporter.collect.result import FetchTasks, Implausible, UnknownValues
from exporter.fleet.activity import ActiveStatusScan
from exporter.fleet.finished import MAX_PAGES, FinalStatusScan
from exporter.fleet.snapshots import TasksSnapshot, tasks_snapshot
from exporter.fleet.tasks import ListPage, read_page
from exporter.fleet.timings import Timings


async def collect_tasks(fetch: FetchTasks, before: Timings, unknown: UnknownValues, now: float = inf) -> TasksSnapshot:
    """Look at every status once.

    Args:
        fetch: gets a page.
        before: the timings until now.
        unknown: is added to, also when the poll fails.
        now: Unix seconds; no task did anything later. Infinite while the platform's clock is not known.

    Raises:
        PlatformError: a page could not be had, or contradicts itself.
    """
    lists = _TaskLists(fetch, unknown, now)
    active = {status: await lists.scan_active(status) for status in ACTIVE_TASK_STATUSES}
    final = await lists.scan_final(before, before.activity.gone(active))
    snapshot = tasks_snapshot(active, final, before)
    unknown.update(snapshot.unknown)
    return snapshot


class _TaskLists:
    """Reads pages, as many as it takes. Mutable only in that it counts what it did not understand."""

    def __init__(self, fetch: FetchTasks, unknown: UnknownValues, now: float) -> None:
        self._fetch = fetch
        self._unknown = unknown
        self._now = now

    async def _page(self, status: str, number: int) -> ListPage:
        page = read_page(await self._fetch(status, number), self._unknown, self._now)
        if page.items and not page.tasks:
            raise Implausible(f"none of {page.items} tasks has an id")
        return page

    async def scan_active(self, status: str) -> ActiveStatusScan:
        """Read both ends of an active status; once more when they do not add up."""
        scan = await self._both_ends(status)
        if not scan.truncated:
            return scan
        again = await self._both_ends(status)
        return replace(again, pages=scan.pages + again.pages)

    async def _both_ends(self, status: str) -> ActiveStatusScan:
        first = await self._page(status, 1)
        pages = [first] if first.last == 1 else [first, await self._page(status, first.last)]
        tasks = {task.task_id: task for page in pages for task in page.tasks}
        # A last page that is empty, as its total says, means that the list shrank meanwhile: its real end was not read.
        adds_up = all(page.missing == 0 and page.number <= page.last for page in pages)
        return ActiveStatusScan(
            total=first.total,
            tasks=tuple(tasks.values()),
            pages=len(pages),
            items=sum(page.items for page in pages),
            truncated=not adds_up,
        )

    async def scan_final(self, before: Timings, gone: Mapping[str, float]) -> Mapping[str, FinalStatusScan]:
        """Read the final statuses from the end where tasks arrive, then on for those that left the active ones.

        Args:
            before: the timings until now.
            gone: tasks that left the active statuses since the last poll: id to creation time.
        """
        scans: dict[str, FinalStatusScan] = {}
        for status in FINAL_TASK_STATUSES:
            known = before.lists.get(status)
            start = FinalStatusScan(before=known, seen_active=before.activity.seen)
            scan = await self._read_page(status, known.entry if known else 1, start)
            scans[status] = await self._read_on(status, scan, {})
        for status in FINAL_TASK_STATUSES:
            scans[status] = await self._read_on(status, scans[status], _not_in(scans.values(), gone))
        return scans

    async def _read_on(self, status: str, scan: FinalStatusScan, gone: Mapping[str, float]) -> FinalStatusScan:
        while (number := scan.next_page(_not_in([scan], gone))) and not scan.stopped:
            if len(scan.pages) >= MAX_PAGES:
                return replace(scan, stopped=True)
            scan = await self._read_page(status, number, scan)
        return scan

    async def _read_page(self, status: str, number: int, scan: FinalStatusScan) -> FinalStatusScan:
        """Read one more page; once more if it is short of what its own total promises."""
        page = await self._page(status, number)
        if page.missing:
            page = await self._page(status, number)
        return replace(scan, pages=(*scan.pages, page), stopped=page.missing > 0)


def _not_in(scans: Iterable[FinalStatusScan], gone: Mapping[str, float]) -> Mapping[str, float]:
    if not gone:
        return gone
    found = {task.task_id for scan in scans for task in scan.tasks}
    return {task_id: created_at for task_id, created_at in gone.items() if task_id not in found}
