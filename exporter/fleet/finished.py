"""Finds the tasks of a final status that are new since the last poll, from one end of their list.

A list of finished tasks is long, has no cursor and an undocumented order, and its tasks may be removed at any time. So
nothing is inferred from a position alone, or from our own clock. A task that is not remembered counts as new if one of
these proves it:

- it precedes a remembered one, in a list that was read without a gap from the end where new tasks arrive;
- the whole list was remembered;
- it was active at an earlier poll;
- by the list's sort key, it comes after every task seen in the list so far.

One case is left: in a list that is sorted by creation, a task that was never seen active can appear deep inside when it
ends. The list's growth then shows how many such tasks there are, and that many are counted, those that ended last. So
the number of new tasks may be too low, but never too high.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import inf
from typing import Final

from exporter.fleet.order import Key, Order, detect_order
from exporter.fleet.tasks import ListPage, Task

KNOWN: Final = 200
"""At most this many ids are remembered per status: two pages."""
MAX_PAGES: Final = 10
"""At most this many pages are read per status and poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalList:
    """What is remembered of one final status between two polls."""

    order: Order | None
    """None while unknown."""
    total: int
    last: int
    known: tuple[str, ...]
    """Ids of the last poll, from the end where tasks arrive, then as many earlier ones as fit."""
    all_known: bool
    """Whether every task of the list was known at some poll and no id was forgotten since. Any unknown task is then
    new."""
    latest: Mapping[Key, float]
    """The latest time of each sort key among the tasks seen so far. Unix seconds of the platform's clock."""
    surplus: int = 0
    """The number of items read that were duplicates or had no id."""

    @property
    def newest_first(self) -> bool:
        """Whether new tasks arrive on the first page; assumed while the order is unknown."""
        return self.order is None or self.order.newest_first

    @property
    def entry(self) -> int:
        """The page to request first: the one that had the newest tasks."""
        return 1 if self.newest_first else self.last


NOTHING: Final = FinalList(order=None, total=0, last=1, known=(), all_known=False, latest=dict.fromkeys(Key, -inf))


@dataclass(frozen=True, kw_only=True)
class FinalStatusScan:
    """The pages of one final status that were read in one poll, in the order of the requests.

    It has no slots, because derived values are cached properties.
    """

    before: FinalList | None
    """None at the first poll, which only records the state of the list."""
    seen_active: Container[str] = frozenset()
    """Ids of tasks that were active at an earlier poll and have not been in a final status since."""
    pages: tuple[ListPage, ...] = ()
    stopped: bool = False
    """Whether reading ended before all new tasks were read."""

    @property
    def truncated(self) -> bool:
        """Whether some new tasks may be missing."""
        return self.stopped or not self.stable

    @property
    def total(self) -> int:
        """The list's length according to the first page."""
        return self.pages[0].total

    @cached_property
    def order(self) -> Order | None:
        """How the list is sorted, as far as this poll or an earlier one shows."""
        page, order = self.pages[0].tasks, self.before.order if self.before else None
        return order if order and order.fits(page) else detect_order(page) or order

    @cached_property
    def _newest_first(self) -> bool:
        return self.order is None or self.order.newest_first

    @cached_property
    def _gapless_pages(self) -> Sequence[ListPage]:
        """The pages that were read without a gap, starting at the end where tasks arrive.

        A list that ends with the newest tasks is read backwards from its last page. If it has grown a page since, the
        page where reading started is left out and read again later, because tasks may have moved to it in the meantime.
        """
        if self._newest_first:
            return self.pages
        start = next((i for i, page in enumerate(self.pages) if page.number >= page.last), len(self.pages))
        return self.pages[start:]

    def next_page(self, gone: Mapping[str, float]) -> int | None:
        """The page to read next; None when all new tasks were read.

        Args:
            gone: tasks that left the active statuses since the last poll and were not found yet: id to creation time.
        """
        gapless, last = self._gapless_pages, self.pages[-1].last
        if not gapless or gapless[-1].number > last:
            return last  # the list grew or shrank while it was read: start again at what is now its last page
        following = gapless[-1].number + (1 if self._newest_first else -1)
        if self.before is None or self._direction_flipped or not 1 <= following <= last:
            return None
        return following if self._next_may_hold_new(self.before, gone) else None

    def _next_may_hold_new(self, before: FinalList, gone: Mapping[str, float]) -> bool:
        """Whether the next page may hold new tasks."""
        if self._sorted_by(Key.COMPLETED) and _oldest(Key.COMPLETED, self.tasks) < before.latest[Key.COMPLETED]:
            return False
        return self._new_may_continue(before) or self._unexplained > 0 or self._gone_lies_further(gone)

    def _sorted_by(self, key: Key) -> bool:
        return self.order is not None and self.order.key is key

    def _new_may_continue(self, before: FinalList) -> bool:
        """Whether the new tasks at the list's end may continue on the next page.

        They may while no remembered task was read, and the last page read reaches past the latest time seen earlier.
        """
        if any(task.task_id in self._known for task in self.tasks):
            return False
        if self.order is None:
            return before.all_known
        key, horizon = self.order.key, before.latest[self.order.key]
        return any((time := key.of(task)) is None or time >= horizon for task in self._gapless_pages[-1].tasks)

    def _gone_lies_further(self, gone: Mapping[str, float]) -> bool:
        """Whether one of these tasks must be on a later page: the list is sorted by creation, and not read that far."""
        reached = _oldest(Key.CREATED, self.tasks)
        return self._sorted_by(Key.CREATED) and any(created <= reached for created in gone.values())

    @cached_property
    def tasks(self) -> Sequence[Task]:
        """The tasks read, without duplicates, starting at the end where tasks arrive."""
        tasks: dict[str, Task] = {}
        for page in self._gapless_pages:
            for task in page.tasks if self._newest_first else reversed(page.tasks):
                tasks.setdefault(task.task_id, task)
        return tuple(tasks.values())

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.before.known if self.before else ())

    @cached_property
    def stable(self) -> bool:
        """Whether a position in the list proves anything: the remembered tasks are in the same order, or were all."""
        if self.before is None or self.before.all_known:
            return True
        places = {task_id: place for place, task_id in enumerate(self.before.known)}
        found = [places[task.task_id] for task in self.tasks if task.task_id in places]
        return not self._direction_flipped and found == sorted(found)

    @cached_property
    def _direction_flipped(self) -> bool:
        """Whether earlier polls read this list from the wrong end. This poll then only records its state."""
        before = self.before
        return before is not None and not before.all_known and before.newest_first != self._newest_first

    @property
    def new(self) -> list[Task]:
        """The tasks that joined the list since the last poll, as far as that can be known; none at the first poll."""
        if self.before is None or self._direction_flipped:
            return []
        counted = self._known.union(task.task_id for task in self._certain)
        latest = self.before.latest[Key.COMPLETED]
        others = [task for task in self.tasks if task.task_id not in counted and _end(task) > latest]
        return [*self._certain, *sorted(others, key=_end, reverse=True)[: self._unexplained]]

    @cached_property
    def _certain(self) -> Sequence[Task]:
        """The tasks that are proved to be new."""
        last_known = max((i for i, task in enumerate(self.tasks) if task.task_id in self._known), default=-1)
        trusted = last_known if self.stable else -1
        return [
            task
            for i, task in enumerate(self.tasks)
            if task.task_id not in self._known and (i < trusted or self._is_new(task))
        ]

    def _is_new(self, task: Task) -> bool:
        """Whether an unknown task must be new, whatever its position."""
        if self.before is None:
            return False
        if self.before.all_known or task.task_id in self.seen_active:
            return True
        time = self.order.key.of(task) if self.order else None
        return self.order is not None and time is not None and time > self.before.latest[self.order.key]

    @cached_property
    def _unexplained(self) -> int:
        """How many new tasks the list's growth implies beyond those that are proved to be new."""
        before = self.before or NOTHING
        growth = (self._gapless_pages or self.pages)[0].total - before.total - max(0, self._surplus - before.surplus)
        return max(0, growth - len(self._certain))

    @property
    def _surplus(self) -> int:
        return sum(page.items for page in self._gapless_pages) - len(self.tasks)

    def after(self) -> FinalList:
        """What to remember for the next poll."""
        earlier, latest_page = self.before or NOTHING, self.pages[-1]
        ids = dict.fromkeys((*(task.task_id for task in self.tasks), *earlier.known))
        read = {task.task_id: task for page in self.pages for task in page.tasks}
        read_all = latest_page.total <= len(self.tasks) + self._surplus
        return FinalList(
            order=self.order,
            total=latest_page.total,
            last=latest_page.last,
            known=tuple(islice(ids, KNOWN)),
            all_known=(read_all and len(self.tasks) <= KNOWN) or (earlier.all_known and len(ids) <= KNOWN),
            latest={key: _latest(key, read.values(), earlier.latest[key]) for key in Key},
            surplus=self._surplus,
        )


def _oldest(key: Key, tasks: Iterable[Task]) -> float:
    return min((time for task in tasks if (time := key.of(task)) is not None), default=inf)


def _latest(key: Key, tasks: Iterable[Task], earlier: float) -> float:
    return max((earlier, *(time for task in tasks if (time := key.of(task)) is not None)))


def _end(task: Task) -> float:
    return -inf if task.completed_at is None else task.completed_at
