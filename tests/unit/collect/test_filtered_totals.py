import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES, TASK_STATUSES
from exporter.collect.result import Implausible
from exporter.errors import Expected, ServerFailed
from exporter.platform import wire
from support.lists import Item, Poller, TaskLists, done

SIZES = st.fixed_dictionaries({status: st.sampled_from([0, 1, 9, 10, 11, 20, 57]) for status in TASK_STATUSES})


def lists(sizes: Mapping[str, int], *, newest_first: bool = True) -> TaskLists:
    """This many tasks of each status, on a platform whose totals count all tasks."""
    found = TaskLists(per_page=10, filtered_totals=False, newest_first=newest_first)
    for status, count in sizes.items():
        if status in FINAL_TASK_STATUSES:
            found.put(*(done(f"{status}-{i}", 1000.0 + i, 1005.0 + i, status=status) for i in range(count)))
        else:
            found.put(*(Item(f"{status}-{i}", status, created_at=1000.0 + i) for i in range(count)))
    return found


def counts(poller: Poller) -> Mapping[str, int]:
    assert poller.snapshot is not None
    return poller.snapshot.counts


@given(sizes=SIZES, newest_first=st.booleans())
async def test_every_count_is_true(sizes: dict[str, int], newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """If totals count all tasks, lists are counted by their pages from the first poll on, and none is truncated."""
    poller = Poller(lists(sizes, newest_first=newest_first))
    for _ in range(2):
        await poller.poll()
        assert counts(poller) == sizes
        assert not poller.truncated


@given(sizes=SIZES)
async def test_the_oldest_is_found(sizes: dict[str, int]) -> None:
    """The oldest task of each active status is on its true last page."""
    poller = await Poller(lists(sizes)).poll()
    assert poller.snapshot is not None
    expected = {status: 1000.0 if sizes[status] else None for status in poller.snapshot.oldest_created}
    assert poller.snapshot.oldest_created == expected


async def test_what_finishes_counts_once() -> None:
    """Counters follow the true lengths, also across a page boundary."""
    platform = lists({"running": 15, "completed": 95, "failed": 3})
    poller = await Poller(platform).poll()
    for number in range(15):
        platform.move(f"running-{number}", "completed", started_at=2000.0 + number, completed_at=3000.0 + number)
        await poller.poll()
        assert (poller.finished, poller.truncated) == ({"completed": number + 1}, False)


async def test_nothing_is_asked_where_totals_add_up() -> None:
    """In the ordinary case there is no additional request: neither for the unfiltered list nor for a last page."""
    platform = lists({"running": 25, "completed": 250})
    platform.filtered_totals = True
    poller = await Poller(platform).poll()
    assert poller.lists.requests == [
        ("pending", 1),
        ("waiting", 1),
        ("queued", 1),
        ("running", 1),
        ("running", 3),
        *((status, 1) for status in FINAL_TASK_STATUSES),
    ]


async def test_later_polls_cost_little() -> None:
    """Lists of one page cost one request, longer ones at most three more while their last page stays the same."""
    sizes = {"pending": 3, "running": 57, "completed": 5003, "failed": 2000}
    poller = await Poller(lists(sizes)).poll()
    first = len(poller.lists.requests)
    await poller.poll()
    asked = Counter(status for status, _ in poller.lists.requests)
    assert {status for status in TASK_STATUSES if asked[status] == 1} == {*TASK_STATUSES} - sizes.keys() | {"pending"}
    assert max(asked.values()) <= 4
    assert first < 80


@dataclass(slots=True)
class Lying(TaskLists):
    """Reports more tasks than there are, in every list."""

    too_many: int = 5

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        read = await TaskLists.tasks(self, status, page, expected=expected)
        return wire.Page(read.number, read.items, read.total + self.too_many, read.per_page, read.unknown)


@pytest.mark.parametrize(("too_many", "running"), list(product([1, 5, 1000], [0, 1, 2, 40])))
async def test_a_lie_is_something_else(too_many: int, running: int) -> None:
    """Totals that are too high for the unfiltered list too prove nothing: they are shown, as truncated."""
    platform = Lying(too_many=too_many)
    platform.put(*(Item(f"t{i}", "running", created_at=i) for i in range(running)))
    poller = await Poller(platform).poll()
    assert counts(poller) == {**dict.fromkeys(TASK_STATUSES, too_many), "running": running + too_many}
    assert poller.truncated


class FilteringAfterPaging(TaskLists):
    """Cuts the unfiltered list into pages, then drops the tasks of other statuses from each page."""

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        unfiltered = await TaskLists.tasks(self, None, page, expected=expected)
        kept: list[wire.Task | None] = [
            task for task in unfiltered.items if task is not None and status in (task.task_status, None)
        ]
        return wire.Page(page, kept, unfiltered.total, self.per_page, Counter())


@pytest.mark.parametrize("running", [3, 250])
async def test_pages_that_prove_nothing(running: int) -> None:
    """If a page that is not full is followed by another one, lists cannot be counted by their pages."""
    platform = FilteringAfterPaging()
    platform.put(*(Item(f"r{i}", "running", created_at=3.0 * i) for i in range(running)))
    platform.put(*(done(f"c{i}", 2.0 * i, 2.0 * i + 1) for i in range(300)))
    with pytest.raises(Implausible, match=r"page \d+ is not full, and yet another one follows"):
        await Poller(platform).poll()


async def test_a_platform_that_is_mended() -> None:
    """Once totals differ from each other, they are used again."""
    platform = lists({"running": 25, "completed": 50})
    poller = await Poller(platform).poll()
    ignored = [poller.totals.ignore_filter]
    platform.filtered_totals = True
    for _ in range(2):
        await poller.poll()
        ignored.append(poller.totals.ignore_filter)
    assert ignored == [True, False, False]
    assert (len(poller.lists.requests), counts(poller)["running"], counts(poller)["completed"]) == (8, 25, 50)


async def test_a_list_that_moves_while_it_is_counted() -> None:
    """A count is right for some moment during the poll, and a list that shrank is read once more."""
    platform = lists({"waiting": 95})
    poller = await Poller(platform).poll()

    def shrink(status: str, number: int) -> None:
        if (status, number) == ("waiting", 10):
            platform.remove(*(f"waiting-{i}" for i in range(20) if f"waiting-{i}" in platform.items))

    platform.before_request = shrink
    await poller.poll()
    assert counts(poller)["waiting"] == 75
    assert not poller.truncated


async def test_a_failure_fails_the_poll() -> None:
    """The poll fails if a page that is needed to count a list cannot be read."""

    def fail(status: str, _number: int) -> None:
        if status == "":
            raise ServerFailed("500")

    platform = lists({"running": 3})
    platform.before_request = fail
    with pytest.raises(ServerFailed):
        await Poller(platform).poll()


async def test_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log says that totals ignore the filter when this is detected, and not at every poll."""
    poller = Poller(lists(dict.fromkeys(ACTIVE_TASK_STATUSES, 2)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await poller.poll()
    assert [record.message for record in caplog.records] == ["totals ignore the status filter"]
