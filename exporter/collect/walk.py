"""Reads a list page by page, and judges whether everything was read.

The list has no cursor, so it may move while it is read. If it grows at either end, nothing that was there at the
start is missed; if it shrinks, an item can slip between two pages.
"""

from exporter.collect.result import Implausible
from exporter.fleet.snapshots import Coverage
from exporter.platform import wire


class Walk:
    """One walk over the pages of a list. Mutable: pages are added as they come.

    Attributes:
        items: how many items the pages held.
        bounded: whether it ended at its bound, with pages left unread.
    """

    def __init__(self, max_pages: int) -> None:
        self.items = 0
        self.bounded = False
        self._max_pages = max_pages
        self._totals: list[int] = []
        self._short = False

    def add(self, page: wire.Page[wire.Agent]) -> int | None:
        """Add a page; return the number of the next one to read, None at the end."""
        self._totals.append(page.total)
        self.items += len(page.items)
        self._short = self._short or page.missing > 0
        if self.items >= page.total or page.missing > 0 or not page.items:
            return None
        self.bounded = page.number >= self._max_pages
        return None if self.bounded else page.number + 1

    @property
    def saw_all(self) -> bool:
        """Whether everything that was there at the start was certainly read.

        The platform may list one id twice, so items count here, not distinct ids.
        """
        return not self.bounded and not self._short and self._totals[0] <= self.items <= self._totals[-1]

    @property
    def stood_still(self) -> bool:
        """Whether every page stated the same total; an item that came twice is then in the list twice."""
        return len(set(self._totals)) == 1

    def coverage(self, distinct: int) -> Coverage:
        """The coverage of a walk that saw this many distinct ids.

        Raises:
            Implausible: it saw more items than any page said there are.
        """
        if self.items > max(self._totals):
            raise Implausible(f"{self.items} agents seen of a list of {max(self._totals)}")
        return Coverage(pages=len(self._totals), items=distinct, reported=self._totals[-1], truncated=not self.saw_all)
