"""Finding new tasks of a final status, with an in-memory list server that has pages of a hundred."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from exporter.errors import ServerFailed
from exporter.fleet.finished import MAX_PAGES, MAX_REMEMBERED
from exporter.fleet.order import Key, Order, detect_order
from exporter.fleet.tasks import Task
from support.lists import Item, Poller, TaskLists, done, history

ORDERS = [("created_at", True), ("created_at", False), ("completed_at", True), ("completed_at", False)]
every_order = pytest.mark.parametrize(("key", "newest_first"), ORDERS)


async def seeded(key: str = "created_at", *, newest_first: bool = True, old: Iterable[Item] = ()) -> Poller:
    """A poller after its first poll of a list with these finished tasks."""
    lists = TaskLists(key, newest_first)
    lists.put(*old)
    return await Poller(lists).poll()


def times(key: str, values: Iterable[float | None]) -> list[Task]:
    created = key == Key.CREATED.value
    return [
        Task(task_id=str(number), created_at=value if created else None, completed_at=None if created else value)
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize("key", list(Key))
def test_a_page_tells_how_its_list_is_sorted(key: Key) -> None:
    """An order by creation or end, ascending or descending, is detected despite ties, gaps and a few exceptions."""
    rising = [float(number // 3) for number in range(100)]
    stray = [*rising[:40], 0.0, *rising[40:]]
    gaps = [time if place % 4 else None for place, time in enumerate(rising)]
    for values in (rising, stray, gaps):
        assert detect_order(times(key.value, values)) == Order(key, newest_first=False)
        assert detect_order(times(key.value, reversed(values))) == Order(key, newest_first=True)


@pytest.mark.parametrize(
    "values",
    [[], [1.0] * 100, [None] * 100, [float(n) for n in range(10)], [n * 37.0 % 101 for n in range(100)]],
    ids=["empty", "one second", "no times", "too few", "by something else"],
)
def test_what_cannot_be_told_is_not_guessed(values: list[float | None]) -> None:
    """No order is detected from too few times, from equal ones, or from a page sorted by something else."""
    assert detect_order(times("completed_at", values)) is None


def test_the_stricter_order_wins() -> None:
    """A list sorted by end is also roughly sorted by creation; the key that fits without exception is used."""
    created = [10.0 * n - 25 * (n % 9 == 0) for n in range(100)]
    page = [Task(task_id=str(n), created_at=created[n], completed_at=10.0 * n + 5) for n in range(100)]
    assert detect_order(page) == Order(Key.COMPLETED, newest_first=False)
    assert detect_order([replace(task, completed_at=task.completed_at) for task in reversed(page)]) == Order(
        Key.COMPLETED, newest_first=True
    )


@every_order
@pytest.mark.parametrize("old", [0, 1, 99, 100, 101, 250, 1001])
async def test_the_first_poll_only_seeds(key: str, newest_first: bool, old: int) -> None:  # noqa: FBT001  passed by name
    """Tasks listed at the first poll never count, after a restart either, and even if nothing happens then."""
    poller = await seeded(key, newest_first=newest_first, old=history(old))
    first = sorted(poller.final_requests)
    await poller.poll()
    assert not poller.finished
    # One page of each status; one more at the start alone, and only of a long list that begins with its oldest.
    last = -(-old // 100)
    extra = [("completed", last)] if old > 100 and not newest_first else []
    assert first == sorted([("completed", 1), ("failed", 1), ("cancelled", 1), *extra])
    assert len(poller.final_requests) == 3
    restarted = await Poller(poller.lists).poll()
    assert (await restarted.poll()).finished == {}


@every_order
@pytest.mark.parametrize("old", [0, 99, 100, 199, 250])
@pytest.mark.parametrize("burst", [1, 2, 99, 100, 101, 350, 799])
async def test_bursts_are_counted_in_full(key: str, newest_first: bool, old: int, burst: int) -> None:  # noqa: FBT001  passed by name
    """All tasks that finish between two polls count, with at most two more requests than a page per hundred."""
    poller = await seeded(key, newest_first=newest_first, old=history(old))
    poller.lists.put(*history(burst, start=100_000.0, prefix="n"))
    await poller.poll()
    assert poller.finished == {"completed": burst}
    assert poller.runs == {"completed": (burst, sum(5.0 + 40 * (n % 3) for n in range(burst)))}
    assert poller.waits == (burst, 1.0 * burst)
    assert not poller.truncated
    assert len(poller.final_requests) <= 2 + -(-burst // 100) + 2
    assert (await poller.poll()).finished == {"completed": burst}
    assert len(poller.final_requests) == 3


@every_order
async def test_the_bound_is_kept_and_told(key: str, newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """Of more pages than the limit only that many are read, `truncated` is set, and later polls continue."""
    poller = await seeded(key, newest_first=newest_first, old=history(250))
    poller.lists.put(*history(5000, start=100_000.0, prefix="n"))
    await poller.poll()
    assert len(poller.final_requests) == 2 + MAX_PAGES
    assert poller.truncated
    counted = poller.finished["completed"]
    assert 100 * (MAX_PAGES - 2) <= counted <= 100 * MAX_PAGES
    await poller.poll()
    assert (poller.finished["completed"], poller.truncated) == (counted, False)
    poller.lists.put(*history(150, start=900_000.0, prefix="z"))
    await poller.poll()
    assert (poller.finished["completed"], poller.truncated) == (counted + 150, False)


@every_order
@pytest.mark.parametrize("removed", [1, 60, 240])
async def test_retention_moves_nothing(key: str, newest_first: bool, removed: int) -> None:  # noqa: FBT001  passed by name
    """Old tasks that are removed while new ones finish neither reduce nor increase the counts."""
    poller = await seeded(key, newest_first=newest_first, old=history(250))
    poller.lists.remove(*(f"h{number:05d}" for number in range(removed)))
    assert (await poller.poll()).finished == {}
    poller.lists.put(*history(7, start=100_000.0, prefix="n"))
    poller.lists.remove(*(f"h{number:05d}" for number in range(removed, removed + 7)))
    assert (await poller.poll()).finished == {"completed": 7}
    poller.lists.remove(*list(poller.lists.items))
    assert (await poller.poll()).finished == {"completed": 7}
    assert not poller.truncated


@every_order
@pytest.mark.parametrize("removed", [1, 99, 150, 230, 399])
async def test_older_tasks_that_surface_are_not_new(key: str, newest_first: bool, removed: int) -> None:  # noqa: FBT001  passed by name
    """When the newest tasks are deleted, older ones still do not count; tasks that finish later do."""
    poller = await seeded(key, newest_first=newest_first, old=history(400))
    poller.lists.remove(*(f"h{399 - number:05d}" for number in range(removed)))
    assert (await poller.poll()).finished == {}
    poller.lists.put(done("n", 90_000.0, 90_010.0))
    assert (await poller.poll()).finished == {"completed": 1}


async def test_what_was_counted_and_forgotten_is_not_new() -> None:
    """After a burst longer than the memory, deleting the newest tasks does not make older ones count again."""
    poller = await seeded(old=history(10))
    poller.lists.put(*history(350, start=100_000.0, prefix="n"))
    await poller.poll()
    poller.lists.remove(*(f"n{349 - number:05d}" for number in range(MAX_REMEMBERED)))
    assert (await poller.poll()).finished == {"completed": 350}


@every_order
async def test_two_tasks_in_one_second_are_two(key: str, newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """A task that ends in the same second as the last one seen counts, whether it is listed before or after it."""
    poller = await seeded(key, newest_first=newest_first, old=history(250))
    for task_id in ("n5", "n9", "n1", "n7"):
        poller.lists.put(done(task_id, 90_000.0, 90_010.0))
        await poller.poll()
    assert poller.finished == {"completed": 4}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("removed", [0, 1, 50])
async def test_a_long_task_ends_deep_in_the_list(newest_first: bool, removed: int) -> None:  # noqa: FBT001  passed by name
    """Sorted by creation, a long task that ends pages away from new ones is found because it was active before.

    Also while retention removes more tasks than are added.
    """
    poller = await seeded("created_at", newest_first=newest_first, old=history(850))
    long = Item("long", "running", 5500.0, 5501.0)
    poller.lists.put(long)
    await poller.poll()
    poller.lists.put(replace(long, status="completed", completed_at=90_000.0))
    poller.lists.remove(*(f"h{number:05d}" for number in range(removed)))
    await poller.poll()
    assert poller.finished == {"completed": 1}
    assert poller.runs == {"completed": (1, 90_000.0 - 5501.0)}
    assert not poller.truncated
    assert len(poller.final_requests) <= 2 + 5
    assert (await poller.poll()).finished == {"completed": 1}
    assert len(poller.final_requests) == 3


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_length_tells_of_tasks_nobody_saw_active(newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """If a task that was never seen active ends deep in a list, the list's growth makes it be searched for."""
    poller = await seeded("created_at", newest_first=newest_first, old=history(600))
    running = [Item(f"r{n:03d}", "running", 2000.0 + n, 2001.0 + n) for n in range(500)]
    poller.lists.put(*running)
    poller.timings = (await Poller(poller.lists).poll()).timings
    poller.lists.put(replace(running[250], status="completed", completed_at=90_000.0))
    await poller.poll()
    assert poller.finished == {"completed": 1}
    assert poller.runs == {"completed": (1, 90_000.0 - 2251.0)}


@every_order
async def test_failed_polls_lose_nothing(key: str, newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """A poll that fails at any request changes nothing; the next successful one counts everything once."""
    poller = await seeded(key, newest_first=newest_first, old=history(250))
    for nth in range(8):
        poller.lists.put(*history(60, start=100_000.0 * (nth + 1), prefix=f"n{nth}-"))
        left = iter([True] * nth)

        def refuse(_status: str, _number: int, left: Iterable[bool] = left) -> None:
            if not next(iter(left), False):
                raise ServerFailed("503")

        poller.lists.before_request = refuse
        before = poller.timings
        with pytest.raises(ServerFailed):
            await poller.poll()
        assert poller.timings is before
    poller.lists.before_request = lambda _status, _number: None
    assert (await poller.poll()).finished == {"completed": 480}


@every_order
async def test_pages_that_shift_hide_nothing(key: str, newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """If tasks finish and old ones are removed during a poll, the next poll has counted everything once."""
    poller = await seeded(key, newest_first=newest_first, old=history(250))
    poller.lists.put(*history(230, start=100_000.0, prefix="n"))
    moves = iter(range(40))

    def shift(_status: str, _number: int) -> None:
        n = next(moves)
        poller.lists.put(done(f"s{n:02d}", 200_000.0 + n, 200_001.0 + n))
        poller.lists.remove(f"h{n:05d}")

    poller.lists.before_request = shift
    await poller.poll()
    poller.lists.before_request = lambda _status, _number: None
    assert (await poller.poll()).finished == {"completed": 230 + next(moves)}


async def test_a_list_without_a_steady_order_is_not_counted_by_positions() -> None:
    """If tasks of the same second change their order at each request, none counts again, and `truncated` is set."""
    lists = TaskLists(shuffled=random.Random(1))  # noqa: S311  no secret
    lists.put(*(replace(item, created_at=500.0) for item in history(500)))
    poller = await Poller(lists).poll()
    for _ in range(5):
        await poller.poll()
        assert poller.finished == {}
        assert poller.truncated
    lists.put(Item("seen", "running", 500.0, 600.0))
    await poller.poll()
    lists.put(done("seen", 500.0, 90_000.0), *(done(f"n{n}", 80_000.0 + n, 90_001.0 + n) for n in range(30)))
    assert (await poller.poll()).finished["completed"] <= 31
    assert poller.finished["completed"] > 0


async def test_a_status_left_again_counts_once() -> None:
    """A task that failed, was retried and completed counts once, when it was first seen finished."""
    poller = await seeded(old=history(30))
    poller.lists.put(done("again", 90_000.0, 90_010.0, status="failed"))
    await poller.poll()
    poller.lists.move("again", "running", started_at=90_020.0, completed_at=None, retries=1)
    await poller.poll()
    poller.lists.move("again", "completed", completed_at=90_030.0)
    await poller.poll()
    assert poller.finished == {"failed": 1}
    assert poller.waits == (1, 1.0)
    assert poller.runs == {"failed": (1, 9.0)}


async def test_a_task_in_two_lists_of_one_poll_counts_once() -> None:
    """A task seen as failed and, a request later, as completed counts once."""
    poller = await seeded(old=history(30))
    poller.lists.put(done("n", 90_000.0, 90_010.0))

    def move(status: str, _number: int) -> None:
        if status == "failed":
            poller.lists.move("n", "failed")

    poller.lists.before_request = move
    assert (await poller.poll()).finished == {"completed": 1}


async def test_items_without_an_id_do_not_send_the_reader_on() -> None:
    """Reading a list sorted by end stops once older tasks are reached, whatever its total is."""
    poller = await seeded("completed_at", old=history(900))
    poller.lists.put(Item("", "completed", 90_000.0, 90_001.0, 90_010.0), done("n", 90_000.0, 90_011.0))
    await poller.poll()
    assert poller.finished == {"completed": 1}
    assert len(poller.final_requests) == 3
    assert poller.unknown["id"] == 1


@every_order
async def test_memory_does_not_grow_with_the_tasks_ever_seen(key: str, newest_first: bool) -> None:  # noqa: FBT001  passed by name
    """After 20,000 tasks no more is remembered than after 500, and all were counted."""
    poller = await seeded(key, newest_first=newest_first, old=history(500))
    for batch in range(40):
        start = 1_000_000.0 + 10_000 * batch
        poller.lists.put(*history(500, start=start, prefix=f"n{batch:02d}-"))
        await poller.poll()
        poller.lists.items = dict(list(poller.lists.items.items())[-1000:])
    timings = poller.timings
    assert timings.finished["completed"] == 20_000
    assert max(len(each.task_ids) for each in timings.final_lists.values()) <= MAX_REMEMBERED
    assert not poller.truncated


async def test_a_list_read_from_the_wrong_end_is_learnt_anew() -> None:
    """When the order is detected at last and differs, no old task counts as new, and `truncated` is set."""
    batch = [done(f"b{n:03d}", 500.0, 600.0) for n in range(150)]
    poller = await seeded("created_at", newest_first=False, old=[*batch, *history(400)])
    assert poller.final_requests[0] == ("completed", 1)
    poller.lists.remove(*(item.task_id for item in batch))
    await poller.poll()
    assert poller.finished == {}
    assert poller.truncated
    poller.lists.put(*history(5, start=90_000.0, prefix="n"))
    await poller.poll()
    assert poller.finished == {"completed": 5}
    assert not poller.truncated


async def test_growth_that_nothing_explains_counts_nothing() -> None:
    """If a list grew by a task that cannot be distinguished from old ones, none counts."""
    poller = await seeded(old=history(250))
    poller.lists.put(Item("endless", "completed", 1503.0, 1504.0, None))
    await poller.poll()
    assert (poller.finished, poller.runs, poller.waits) == ({}, {}, (0, 0.0))
