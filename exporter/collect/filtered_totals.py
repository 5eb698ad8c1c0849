"""Totals of filtered task lists: inferred to count the tasks that match, but a platform may count all tasks.

Such totals are nearly equal for all statuses, and larger than what the pages hold. Once that is proven, each list is
counted by finding its last page, which takes a few more requests for a list of several pages.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from exporter.catalog import OTHER
from exporter.collect.result import Implausible, TaskSource
from exporter.errors import Expected
from exporter.fleet.snapshots import TasksSnapshot
from exporter.log import event
from exporter.platform import wire

NEARLY_EQUAL: Final = 0.9
"""Totals with at least this ratio may be of one list that changed between two requests. The true totals of seven lists
cannot all be this close to the total of all tasks."""

_log = logging.getLogger(__name__)


class FilteredTotals:
    """What one team's platform counts in the total of a filtered list. Mutable.

    Attributes:
        ignore_filter: whether they were found to count all tasks, whatever the filter.
    """

    def __init__(self, team: str) -> None:
        self.ignore_filter = False
        self._team = team
        self._last_pages: dict[str, int] = {}

    async def poll(self, source: TaskSource, read: Callable[[TaskSource], Awaitable[TasksSnapshot]]) -> TasksSnapshot:
        """Let `read` read all statuses; if that proves the totals wrong, a second time, with true totals.

        Raises:
            PlatformError: a page could not be read, or contradicts itself.
        """
        if not self.ignore_filter:
            snapshot = await read(source)
            self.ignore_filter = await _totals_ignore_filter(snapshot, source)
            if not self.ignore_filter:
                return snapshot
            event(_log, logging.WARNING, "totals ignore the status filter", team_name=self._team)
        counted = CountedLists(source, self._last_pages)
        snapshot = await read(counted)
        self.ignore_filter = _nearly_equal(*counted.stated.values())
        return snapshot


async def _totals_ignore_filter(snapshot: TasksSnapshot, source: TaskSource) -> bool:
    """Whether the totals are proved to count all tasks; requests a page only if they are wrong and nearly equal."""
    stated = [total for status, total in snapshot.counts.items() if status != OTHER]
    if not snapshot.coverage.truncated or not snapshot.coverage.items or not _nearly_equal(*stated):
        return False
    # The last page of the unfiltered list shows whether the total is right: a wrong one exceeds the list.
    total = max(stated)
    page = await source.tasks(None, -(-total // wire.PER_PAGE))
    return _nearly_equal(page.total, total) and page.number <= page.last and page.missing == 0


def _nearly_equal(*totals: int) -> bool:
    return min(totals) >= NEARLY_EQUAL * max(totals)


class CountedLists:
    """The lists of one poll, with their true lengths in place of the platform's totals. Mutable.

    Attributes:
        stated: the platform's totals, by status.
    """

    def __init__(self, source: TaskSource, last_pages: dict[str, int]) -> None:
        """Read from `source`; `last_pages` is the number of each list's last page at the last poll, and is updated."""
        self.stated: dict[str, int] = {}
        self._source = source
        self._last_pages = last_pages
        self._lengths: dict[str, int] = {}

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        """A page of a status, with the true total."""
        read = await self._source.tasks(status, page, expected=expected)
        if status is None:
            return read
        self.stated[status] = read.total
        full = len(read.items) >= read.per_page
        if not full or self._lengths.get(status, 0) < read.number * read.per_page:
            self._lengths[status] = await self._length(status, read)
        return replace(read, total=self._lengths[status])

    async def total_tasks(self) -> int:
        """How many tasks there are in any status."""
        return await self._source.total_tasks()

    async def _length(self, status: str, page: wire.Page[wire.Task]) -> int:
        """Find the last page by binary search, starting near where it was at the last poll."""
        at_last_poll = self._last_pages.get(status, 1)
        last_full, first_empty = 0, page.last + 1
        while not 0 < len(page.items) < page.per_page:
            if page.items:
                last_full = page.number
            else:
                first_empty = page.number
            if last_full + 1 >= first_empty:
                self._last_pages[status] = last_full
                return last_full * page.per_page
            likely = (at_last_poll, at_last_poll + 1, at_last_poll - 1)
            possible = (number for number in likely if last_full < number < first_empty)
            page = await self._source.tasks(status, next(possible, (last_full + first_empty) // 2))
        await self._confirm_last(status, page)
        self._last_pages[status] = page.number
        return (page.number - 1) * page.per_page + len(page.items)

    async def _confirm_last(self, status: str, page: wire.Page[wire.Task]) -> None:
        """Check that nothing follows a page that is not full, unless it was the last one at the last poll already."""
        if page.number < page.last and self._last_pages.get(status) != page.number:
            following = await self._source.tasks(status, page.number + 1)
            if following.items:
                raise Implausible(f"{status}: page {page.number} is not full, and yet another one follows")
