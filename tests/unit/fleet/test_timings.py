"""What the life of a task adds to the counters and histograms."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from exporter.catalog import RUN_BUCKETS, WAIT_BUCKETS
from exporter.fleet import activity
from exporter.fleet.timings import Histogram
from support.lists import Item, Poller, TaskLists, done, history

LATER = 1_000_000.0


async def started(*items: Item) -> Poller:
    """A poller after its first poll, in which these tasks were listed."""
    lists = TaskLists()
    lists.put(*items)
    return await Poller(lists).poll()


def test_buckets_are_constant_and_reach_from_seconds_to_hours() -> None:
    """Both histograms have the documented bounds: moving one would break every quantile across the change."""
    expected = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
    assert expected == WAIT_BUCKETS == RUN_BUCKETS


def test_an_observation_on_a_bound_is_within_it() -> None:
    """Bounds are inclusive, as `le` means; values above the last bound are counted too."""
    histogram = Histogram.empty((1, 5)).observed([0, 1, 1.5, 5, 6])
    assert histogram.counts == (2, 2, 1)
    assert histogram.sum == 13.5


async def test_nothing_is_there_before_it_happened() -> None:
    """Counters and histograms are 0 at the first poll, whatever tasks are waiting, running or finished."""
    poller = await started(*history(3), Item("r", "running", 1.0, 2.0), Item("w", "waiting", 1.0))
    samples = poller.samples
    for status in ("completed", "failed", "cancelled"):
        assert samples.value("cyberun_tasks_finished_total", team_name="render", status=status) == 0
        assert samples.value("cyberun_task_run_seconds_count", team_name="render", status=status) == 0
    assert samples.value("cyberun_task_wait_seconds_count", team_name="render") == 0
    assert samples.value("cyberun_task_retries_total", team_name="render") == 0


async def test_the_wait_counts_when_the_start_is_seen() -> None:
    """A task's wait is counted when its start is seen, and not again at its end."""
    poller = await started(Item("w", "waiting", LATER))
    poller.lists.move("w", "running", started_at=LATER + 90)
    assert (await poller.poll()).waits == (1, 90.0)
    await poller.poll()
    poller.lists.move("w", "completed", completed_at=LATER + 100)
    assert (await poller.poll()).waits == (1, 90.0)
    assert poller.runs == {"completed": (1, 10.0)}


async def test_the_wait_counts_at_the_end_at_the_latest() -> None:
    """The wait of a task that was created and ended between two polls is counted when its end is seen."""
    poller = await started()
    poller.lists.put(done("quick", LATER, LATER + 10, wait=3.0))
    assert (await poller.poll()).waits == (1, 3.0)


@pytest.mark.parametrize("status", ["running", "queued"])
async def test_a_wait_that_was_over_at_the_first_poll_never_counts(status: str) -> None:
    """A task that started before the first poll counts when it ends; its wait does not: a restart would recount it."""
    poller = await started(Item("old", status, LATER, LATER + 5))
    await poller.poll()
    poller.lists.move("old", "failed", completed_at=LATER + 20)
    await poller.poll()
    assert (poller.finished, poller.waits, poller.runs) == ({"failed": 1}, (0, 0.0), {"failed": (1, 15.0)})


async def test_a_running_task_whose_start_comes_later_was_over_too() -> None:
    """The wait of a task running at the first poll is not counted, even if its start time only appears later."""
    poller = await started(Item("old", "running", LATER))
    poller.lists.move("old", "running", started_at=LATER + 5)
    await poller.poll()
    poller.lists.move("old", "completed", completed_at=LATER + 20)
    assert (await poller.poll()).waits == (0, 0.0)


async def test_waits_of_running_tasks_that_were_not_read_are_over_too() -> None:
    """With more running tasks than can be read, no wait of a task that was running at the first poll is counted."""
    items = [Item(f"a{n:03d}", "running", LATER + n, LATER + n + 1) for n in range(300)]
    poller = await started(*items)
    for item in items:
        poller.lists.put(replace(item, status="completed", completed_at=LATER + 2000))
    await poller.poll()
    assert (poller.finished, poller.waits) == ({"completed": 300}, (0, 0.0))


async def test_a_task_cancelled_before_it_started_has_neither_wait_nor_run() -> None:
    """A task cancelled before it started only counts as finished."""
    poller = await started(Item("w", "waiting", LATER))
    poller.lists.move("w", "cancelled", completed_at=LATER + 5)
    await poller.poll()
    assert (poller.finished, poller.waits, poller.runs) == ({"cancelled": 1}, (0, 0.0), {})
    assert not +poller.unknown


@pytest.mark.parametrize("keeps_start", [True, False])
@pytest.mark.parametrize("seen_between", [True, False])
async def test_a_retried_task_waits_once(keeps_start: bool, seen_between: bool) -> None:  # noqa: FBT001  passed by name
    """A task that runs, is queued and runs again has one wait, up to the first start seen; retries count at its end."""
    poller = await started()
    poller.lists.put(Item("r", "running", LATER, LATER + 10))
    await poller.poll()
    poller.lists.move("r", "queued", retries=1, **({} if keeps_start else {"started_at": None}))
    if seen_between:
        await poller.poll()
    poller.lists.move("r", "running", started_at=LATER + 50)
    await poller.poll()
    assert poller.timings.retries == 0
    poller.lists.move("r", "completed", completed_at=LATER + 60)
    await poller.poll()
    assert poller.waits == (1, 10.0)
    assert poller.runs == {"completed": (1, 10.0)}
    assert poller.timings.retries == 1


@pytest.mark.parametrize(
    ("times", "waits", "runs", "unknown"),
    [
        ((None, 5, 9), 0, 1, {}),
        ((1, None, 9), 0, 0, {}),
        ((1, 5, None), 1, 0, {}),
        ((None, None, None), 0, 0, {}),
        ((5, 1, 9), 0, 1, {"started_at": 1}),
        ((1, 9, 5), 1, 0, {"completed_at": 1}),
        ((9, 5, 1), 0, 0, {"started_at": 1, "completed_at": 1}),
        ((5, 5, 5), 1, 1, {}),
    ],
    ids=["created", "started", "completed", "all", "start first", "end first", "backwards", "at once"],
)
async def test_times_that_are_missing_or_reversed(
    times: Sequence[float | None], waits: int, runs: int, unknown: dict[str, int]
) -> None:
    """A duration is left out if a time is missing, or if it is negative, which is counted; the task still counts."""
    poller = await started()
    created, begun, ended = (None if time is None else LATER + time for time in times)
    poller.lists.put(Item("n", "completed", created, begun, ended))
    await poller.poll()
    await poller.poll()
    assert poller.finished == {"completed": 1}
    assert (poller.waits[0], sum(count for count, _ in poller.runs.values())) == (waits, runs)
    assert min(poller.waits[1], 0) == 0
    assert dict(+poller.unknown) == unknown


@pytest.mark.parametrize("skew", [-86400.0 * 365, -3600.0, 3600.0, 86400.0 * 365])
async def test_clocks_may_disagree(skew: float) -> None:
    """The platform's times are only compared with each other: its clock may differ from ours, and may be set back."""
    poller = await started(*(replace(item, created_at=1.7e9 + n) for n, item in enumerate(history(150))))
    poller.lists.key = "created_at"
    poller.lists.put(done("n1", 1.8e9 + skew, 1.8e9 + skew + 4, wait=1.0))
    await poller.poll()
    poller.lists.put(done("n2", 1.8e9 + skew + 1, 1.8e9 + skew + 3, wait=1.0))
    await poller.poll()
    assert poller.finished == {"completed": 2}
    assert poller.runs == {"completed": (2, 4.0)}


async def test_one_absurd_time_stops_nothing() -> None:
    """A task that claims to end in the year 2286 counts, and those after it count too."""
    poller = await started(*history(150))
    poller.lists.put(done("future", LATER, 9_999_999_999.0))
    await poller.poll()
    poller.lists.put(*history(120, start=LATER + 10, prefix="n"))
    assert (await poller.poll()).finished == {"completed": 121}


async def test_more_running_tasks_than_can_be_read() -> None:
    """With more than two pages of running tasks, each wait counts once: those not read in time count at the end."""
    first = [Item(f"a{n:03d}", "running", LATER + n, LATER + n + 1) for n in range(300)]
    poller = await started(*first)
    later = [Item(f"b{n:03d}", "running", LATER + 500 + n, LATER + 502 + n) for n in range(150)]
    poller.lists.put(*later)
    assert (await poller.poll()).waits == (100, 200.0)
    for item in (*first, *later):
        poller.lists.put(replace(item, status="completed", completed_at=LATER + 2000))
    await poller.poll()
    assert poller.finished == {"completed": 450}
    assert poller.waits == (150, 2.0 * 150)


async def test_forgotten_tasks_are_never_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """If more tasks run than are remembered, a wait may be lost, but none is counted again at the end."""
    monkeypatch.setattr(activity, "REMEMBERED", 200)
    poller = await started()
    items = [Item(f"b{n:03d}", "running", LATER + n, LATER + 2 + n) for n in range(500)]
    for count in (100, 200, 300, 400, 500):
        poller.lists.put(*items[:count])
        await poller.poll()
        assert len(poller.timings.activity.seen) <= 200
    assert poller.waits == (500, 1000.0)
    for item in items:
        poller.lists.put(replace(item, status="completed", completed_at=LATER + 2000))
    assert (await poller.poll()).waits == (500, 1000.0)
    assert poller.finished == {"completed": 500}


async def test_a_task_deleted_while_it_ran_is_forgotten() -> None:
    """A task deleted while it ran is searched for in two polls, without success, and then costs no more requests."""
    poller = await started(*history(250), Item("r", "running", 1500.0, 1501.0))
    poller.lists.remove("r")
    for requests in (5, 5, 3):
        assert (await poller.poll()).finished == {}
        assert len(poller.final_requests) == requests
        assert not poller.truncated


async def test_oldest_and_eligibility_are_read_from_both_ends() -> None:
    """The oldest tasks of a long list are found with two requests, whichever way it is sorted."""
    for newest_first in (True, False):
        lists = TaskLists(newest_first=newest_first)
        lists.put(*(Item(f"w{n:04d}", "waiting", LATER + n) for n in range(1000)))
        lists.put(*(Item(f"r{n:04d}", "running", LATER + n, LATER + n + 1) for n in range(500)))
        poller = await Poller(lists).poll()
        labels = {"team_name": "render"}
        oldest = "cyberun_task_oldest_created_timestamp_seconds"
        assert poller.samples.value(oldest, status="waiting", **labels) == LATER
        assert poller.samples.value(oldest, status="queued", **labels) is None
        assert poller.samples.value("cyberun_task_oldest_started_timestamp_seconds", **labels) == LATER + 1
        assert len(lists.requests) == 7 + 2
