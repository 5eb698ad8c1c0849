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
from exporter.fleet.tasks import ListPage, Task, latest

MAX_REMEMBERED: Final = 200
"""At most this many ids are remembered per status: two pages."""
MAX_PAGES: Final = 10
"""At most this many pages are read per status and poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalStatusMemory:
    """What is remembered of one final status between two polls."""

    order: Order | None
    """How its list is sorted; None while unknown."""
    total: int
    last_page: int
    task_ids: tuple[str, ...]
    """Of the tasks read at the last poll, from the end where tasks arrive, then as many earlier ones as fit."""
    whole_list: bool
    """Whether every task of the list was remembered at some poll, and no id was forgotten since. Any task that is not
    remembered is then new."""
    latest: Mapping[Key, float]
    """The latest time of each sort key among the tasks seen so far. Unix seconds of the platform's clock."""
    unusable_items: int = 0
    """The number of items read that were duplicates or had no id."""

    @property
    def newest_first(self) -> bool:
        """Whether new tasks arrive on the first page; assumed while the order is unknown."""
        return self.order is None or self.order.newest_first

    @property
    def start_page(self) -> int:
        """The page to request first: the one that had the newest tasks."""
        return 1 if self.newest_first else self.last_page


NOTHING_REMEMBERED: Final = FinalStatusMemory(
    order=None, total=0, last_page=1, task_ids=(), whole_list=False, latest=dict.fromkeys(Key, -inf)
)


@dataclass(frozen=True, kw_only=True)
class FinalStatusScan:
    """The pages of one final status that were read in one poll, in the order of the requests.

    It has no slots, because derived values are cached properties.
    """

    before: FinalStatusMemory | None
    """None at the first poll, which only records the state of the list."""
    seen_active: Container[str] = frozenset()
    """Ids of tasks that were active at an earlier poll and have not been in a final status since."""
    pages: tuple[ListPage, ...] = ()
    stopped: bool = False
    """Whether reading ended before all new tasks were read."""

    @property
    def truncated(self) -> bool:
        """Whether some new tasks may be missing."""
        return self.stopped or not self._positions_prove

    @property
    def total(self) -> int:
        """The list's length according to the first page."""
        return self.pages[0].total

    @cached_property
    def tasks(self) -> Sequence[Task]:
        """The tasks read, without duplicates, starting at the end where tasks arrive."""
        tasks: dict[str, Task] = {}
        for page in self._gapless_pages:
            for task in page.tasks if self._newest_first else reversed(page.tasks):
                tasks.setdefault(task.task_id, task)
        return tuple(tasks.values())

    @property
    def _first_poll(self) -> bool:
        return self.before is None

    @property
    def _memory(self) -> FinalStatusMemory:
        return self.before or NOTHING_REMEMBERED

    # How the list is sorted

    @cached_property
    def _order(self) -> Order | None:
        """How the list is sorted, as far as this poll or an earlier one shows."""
        page, order = self.pages[0].tasks, self._memory.order
        return order if order and order.fits(page) else detect_order(page) or order

    def _sorted_by(self, key: Key) -> bool:
        return self._order is not None and self._order.key is key

    @cached_property
    def _newest_first(self) -> bool:
        return self._order is None or self._order.newest_first

    @cached_property
    def _direction_flipped(self) -> bool:
        """Whether earlier polls read this list from the wrong end. This poll then only records its state."""
        if self._first_poll or self._memory.whole_list:
            return False
        return self._memory.newest_first != self._newest_first

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

    # What to read

    def next_page(self, gone: Mapping[str, float]) -> int | None:
        """The page to read next; None when all new tasks were read.

        Args:
            gone: tasks that left the active statuses since the last poll and were not found yet: id to creation time.
        """
        gapless, last = self._gapless_pages, self.pages[-1].last
        if not gapless or gapless[-1].number > last:
            return last  # the list grew or shrank while it was read: start again at what is now its last page
        following = gapless[-1].number + (1 if self._newest_first else -1)
        if self._first_poll or self._direction_flipped or not 1 <= following <= last:
            return None
        return following if self._further_page_may_hold_new(gone) else None

    def _further_page_may_hold_new(self, gone: Mapping[str, float]) -> bool:
        if self._sorted_by(Key.COMPLETED) and _oldest(Key.COMPLETED, self.tasks) < self._memory.latest[Key.COMPLETED]:
            return False
        return self._new_tasks_may_continue or self._unproved_new > 0 or self._is_further_on(gone)

    @property
    def _new_tasks_may_continue(self) -> bool:
        """Whether the new tasks at the list's end may continue beyond the pages read.

        They may while no remembered task was read, and the last page read reaches past the latest time seen earlier.
        """
        if any(task.task_id in self._remembered for task in self.tasks):
            return False
        if self._order is None:
            return self._memory.whole_list
        key, horizon = self._order.key, self._memory.latest[self._order.key]
        return any((time := key.of(task)) is None or time >= horizon for task in self._gapless_pages[-1].tasks)

    def _is_further_on(self, gone: Mapping[str, float]) -> bool:
        """Whether one of these tasks must be on a later page: the list is sorted by creation, and not read that far."""
        reached = _oldest(Key.CREATED, self.tasks)
        return self._sorted_by(Key.CREATED) and any(created <= reached for created in gone.values())

    # What is new

    @property
    def new(self) -> list[Task]:
        """The tasks that joined the list since the last poll, as far as that can be known; none at the first poll."""
        if self._first_poll or self._direction_flipped:
            return []
        accounted_for = self._remembered.union(task.task_id for task in self._proved_new)
        horizon = self._memory.latest[Key.COMPLETED]
        others = [task for task in self.tasks if task.task_id not in accounted_for and _end(task) > horizon]
        return [*self._proved_new, *sorted(others, key=_end, reverse=True)[: self._unproved_new]]

    @cached_property
    def _remembered(self) -> frozenset[str]:
        return frozenset(self._memory.task_ids)

    @cached_property
    def _proved_new(self) -> Sequence[Task]:
        places = (place for place, task in enumerate(self.tasks) if task.task_id in self._remembered)
        new_before = max(places, default=-1) if self._positions_prove else -1
        return [
            task
            for place, task in enumerate(self.tasks)
            if task.task_id not in self._remembered and (place < new_before or self._new_at_any_place(task))
        ]

    @cached_property
    def _positions_prove(self) -> bool:
        """Whether a place in the list proves anything: the remembered tasks are in the same order, or were all."""
        if self._first_poll or self._memory.whole_list:
            return True
        places = {task_id: place for place, task_id in enumerate(self._memory.task_ids)}
        found = [places[task.task_id] for task in self.tasks if task.task_id in places]
        return not self._direction_flipped and found == sorted(found)

    def _new_at_any_place(self, task: Task) -> bool:
        """Whether a task that is not remembered must be new, wherever it is in the list."""
        if self._memory.whole_list or task.task_id in self.seen_active:
            return True
        time = self._order.key.of(task) if self._order else None
        return self._order is not None and time is not None and time > self._memory.latest[self._order.key]

    @cached_property
    def _unproved_new(self) -> int:
        """How many new tasks the list's growth implies beyond those that are proved to be new."""
        unusable = max(0, self._unusable_items - self._memory.unusable_items)
        growth = (self._gapless_pages or self.pages)[0].total - self._memory.total - unusable
        return max(0, growth - len(self._proved_new))

    @property
    def _unusable_items(self) -> int:
        return sum(page.items for page in self._gapless_pages) - len(self.tasks)

    # What to remember

    def after(self) -> FinalStatusMemory:
        """What to remember for the next poll."""
        earlier, last_read = self._memory, self.pages[-1]
        ids = dict.fromkeys((*(task.task_id for task in self.tasks), *earlier.task_ids))
        read = {task.task_id: task for page in self.pages for task in page.tasks}
        read_all = last_read.total <= len(self.tasks) + self._unusable_items
        fits = len(self.tasks) <= MAX_REMEMBERED
        return FinalStatusMemory(
            order=self._order,
            total=last_read.total,
            last_page=last_read.last,
            task_ids=tuple(islice(ids, MAX_REMEMBERED)),
            whole_list=(read_all and fits) or (earlier.whole_list and len(ids) <= MAX_REMEMBERED),
            latest={key: latest(map(key.of, read.values()), earlier.latest[key]) for key in Key},
            unusable_items=self._unusable_items,
        )


def _oldest(key: Key, tasks: Iterable[Task]) -> float:
    return min((time for task in tasks if (time := key.of(task)) is not None), default=inf)


def _end(task: Task) -> float:
    return -inf if task.completed_at is None else task.completed_at
