"""Reads a list page by page, and decides whether everything was read.

The list has no cursor, so items may move while it is read. If it grows at either end, nothing that was there at the
start is missed. If it shrinks, an item can move from a page that is still to be read to one that was read already.
"""

from exporter.collect.result import Implausible
from exporter.fleet.snapshots import Coverage
from exporter.platform import wire


class Walk:
    """One walk over the pages of a list. Mutable: pages are added as they are read.

    Attributes:
        items: how many items the pages held.
        bounded: whether it ended at `max_pages`, with pages left unread.
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

        The platform may list an id twice, so this counts items, not distinct ids.
        """
        return not self.bounded and not self._short and self._totals[0] <= self.items <= self._totals[-1]

    @property
    def stood_still(self) -> bool:
        """Whether every page stated the same total. An item that was read twice is then in the list twice."""
        return len(set(self._totals)) == 1

    def coverage(self, distinct: int) -> Coverage:
        """The coverage of a walk that saw this many distinct ids.

        Raises:
            Implausible: it saw more items than the total of any page.
        """
        if self.items > max(self._totals):
            raise Implausible(f"the list has {self.items} agents, but states a total of {max(self._totals)}")
        return Coverage(pages=len(self._totals), items=distinct, reported=self._totals[-1], truncated=not self.saw_all)
