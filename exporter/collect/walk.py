"""Reading a list page by page, and whether what was read can be all of it.

The list has no cursor, so it may move while it is read. Growing at either end loses nothing that was there at the
start; shrinking can hide an item between two pages.
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
        """Note a page; return the number of the one to read next, None at the end."""
        self._totals.append(page.total)
        self.items += len(page.items)
        self._short = self._short or page.missing > 0
        if self.items >= page.total or page.missing > 0 or not page.items:
            return None
        self.bounded = page.number >= self._max_pages
        return None if self.bounded else page.number + 1

    def saw_all(self, seen: int) -> bool:
        """Whether nothing that was there at the start can have been missed.

        Args:
            seen: how many distinct items were seen, those without an id included.
        """
        return not self.bounded and not self._short and self._totals[0] <= seen <= self._totals[-1]

    def coverage(self, seen: int, items: int) -> Coverage:
        """What to report about the walk; `items` is how many distinct items had an id.

        Raises:
            Implausible: more was seen than any page said there is.
        """
        if seen > max(self._totals):
            raise Implausible(f"{seen} agents seen of a list of {max(self._totals)}")
        truncated = not self.saw_all(seen) or seen < self._totals[-1]
        return Coverage(pages=len(self._totals), items=items, reported=self._totals[-1], truncated=truncated)
