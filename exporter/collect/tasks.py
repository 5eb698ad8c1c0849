"""The tasks of one team, counted by the platform's totals, so the number of requests does not grow with their number.

Of an active status the first and the last page are read, so that the oldest task is on one of them, whichever way the
list is sorted. Of a final status one page is read: the one where new tasks arrive. Statuses are requested in the order
in which tasks pass through them, so a task that changes its status meanwhile is seen twice rather than never.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES, PROVISIONING
from exporter.collect.provisioning import ProvisioningFilter
from exporter.collect.result import Implausible, TaskSource, UnknownValues
from exporter.errors import Expected
from exporter.fleet.activity import ActiveStatusScan
from exporter.fleet.finished import MAX_PAGES, FinalStatusScan
from exporter.fleet.snapshots import TasksSnapshot, tasks_snapshot
from exporter.fleet.tasks import ListPage, read_page
from exporter.fleet.timings import Timings


async def collect_tasks(
    source: TaskSource,
    before: Timings,
    unknown: UnknownValues,
    *,
    provisioning: ProvisioningFilter,
    now: float = inf,
    workflows: int = 0,
) -> TasksSnapshot:
    """Read every status once.

    Args:
        source: provides the pages.
        before: the timings so far.
        unknown: unknown values are added here, even if the poll fails.
        provisioning: whether the platform filters by that status; updated by the poll.
        now: Unix seconds; no time of a task can be later. Infinite while the platform's clock is not known.
        workflows: how many workflows have series of their own.

    Raises:
        PlatformError: a page could not be read, or contradicts itself.
    """
    unfiltered = await provisioning.unfiltered_total(source.total_tasks)
    lists = _TaskLists(source, unknown, now)
    active: dict[str, ActiveStatusScan] = {}
    for status in ACTIVE_TASK_STATUSES:
        active[status] = await lists.scan_active(status)
        if status == "waiting" and (scan := await lists.scan_provisioning(provisioning)):
            active[PROVISIONING] = scan
    final = await lists.scan_final(before, before.activity.gone(active))
    _refuse_ignored_filter(final.values())
    if unfiltered is not None:
        filtered = sum(scan.total for scan in active.values()) + sum(scan.total for scan in final.values())
        unknown["task_status"] += provisioning.compare(unfiltered, filtered)
    snapshot = tasks_snapshot(active, final, before, provisioning.beyond, workflows)
    unknown.update(snapshot.unknown)
    return snapshot


class _TaskLists:
    """Reads as many pages as needed. Mutable only in that it counts unknown values."""

    def __init__(self, source: TaskSource, unknown: UnknownValues, now: float) -> None:
        self._source = source
        self._unknown = unknown
        self._now = now

    async def _page(self, status: str, number: int, expected: Expected = ()) -> ListPage:
        page = read_page(await self._source.tasks(status, number, expected=expected), self._unknown, self._now)
        if page.items and not page.tasks:
            raise Implausible(f"none of {page.items} tasks has an id")
        return page

    async def scan_active(self, status: str, expected: Expected = ()) -> ActiveStatusScan:
        """Read the first and the last page of an active status; once more if the totals do not add up."""
        scan = await self._both_ends(status, expected)
        if not scan.truncated:
            return scan
        again = await self._both_ends(status, expected)
        return replace(again, pages=scan.pages + again.pages)

    async def scan_provisioning(self, provisioning: ProvisioningFilter) -> ActiveStatusScan | None:
        """The same for `provisioning`; None if the platform does not filter by it."""
        if not provisioning.worth_asking:
            return None
        try:
            scan = await self.scan_active(PROVISIONING, provisioning.expected)
        except provisioning.expected:
            provisioning.note(accepted=False)
            return None
        # A finished task is not being provisioned, so the filter was ignored, and items do not state their status.
        provisioning.note(accepted=all(task.completed_at is None for task in scan.tasks))
        return scan if provisioning.accepted else None

    async def _both_ends(self, status: str, expected: Expected) -> ActiveStatusScan:
        first = await self._page(status, 1, expected)
        pages = [first] if first.last == 1 else [first, await self._page(status, first.last, expected)]
        tasks = {task.task_id: task for page in pages for task in page.tasks}
        # If a page is beyond the last one by its own total, the list shrank, and its real last page was not read.
        adds_up = all(page.missing == 0 and page.number <= page.last for page in pages)
        return ActiveStatusScan(
            total=first.total,
            tasks=tuple(tasks.values()),
            pages=len(pages),
            items=sum(page.items for page in pages),
            truncated=not adds_up,
        )

    async def scan_final(self, before: Timings, gone: Mapping[str, float]) -> Mapping[str, FinalStatusScan]:
        """Read the final statuses from the end where tasks arrive, and further for tasks that left the active ones.

        Args:
            before: the timings so far.
            gone: tasks that left the active statuses since the last poll: id to creation time.
        """
        scans: dict[str, FinalStatusScan] = {}
        for status in FINAL_TASK_STATUSES:
            memory = before.final_lists.get(status)
            start = FinalStatusScan(before=memory, seen_active=before.activity.seen)
            scan = await self._read_page(status, memory.start_page if memory else 1, start)
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
        """Read one more page; once more if it is shorter than its own total implies."""
        page = await self._page(status, number)
        if page.missing:
            page = await self._page(status, number)
        return replace(scan, pages=(*scan.pages, page), stopped=page.missing > 0)


def _refuse_ignored_filter(final: Iterable[FinalStatusScan]) -> None:
    # Items may not state their status. A task that is retried meanwhile can be in two of these lists, but not in all.
    shared = frozenset.intersection(*(frozenset(task.task_id for task in scan.tasks) for scan in final))
    if len(shared) > 1:
        raise Implausible(f"{len(shared)} tasks are completed, failed and cancelled: the status filter is ignored")


def _not_in(scans: Iterable[FinalStatusScan], gone: Mapping[str, float]) -> Mapping[str, float]:
    if not gone:
        return gone
    found = {task.task_id for scan in scans for task in scan.tasks}
    return {task_id: created_at for task_id, created_at in gone.items() if task_id not in found}
