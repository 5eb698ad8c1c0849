from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest

from exporter.catalog import (
    ACTIVE_TASK_STATUSES,
    FINAL_TASK_STATUSES,
    PROVISIONING,
    TASK_STATUSES,
    UNSTARTED_TASK_STATUSES,
)
from exporter.collect.provisioning import INTERVAL, LOOK_EVERY, ProvisioningFilter
from exporter.collect.tasks import collect_tasks
from exporter.errors import ClientRefused, Expected, PlatformError, RequestTimeout, SchemaMismatch, ServerFailed
from exporter.fleet.snapshots import TasksSnapshot
from exporter.fleet.timings import Timings
from exporter.platform import wire
from fixtures import FakeClock
from support.lists import NeverProvisioning

START = datetime(2025, 2, 10, 14, tzinfo=UTC)
UNIX = START.timestamp()


def task(number: int, **fields: Any) -> wire.Task:
    """A task that was created this many seconds after the start, and started half a second later."""
    created = START + timedelta(seconds=number)
    known = {"id": f"t{number}", "created_at": created, "started_at": created + timedelta(seconds=0.5)}
    return wire.Task(**{**known, **fields})


@dataclass(slots=True)
class Listed:
    """Lists of tasks, made as they are asked for. Mutable: tests change them.

    Attributes:
        items: the items, or how many there are, by status.
        totals: what the platform says there are, where it lies.
        falling: newest first.
        filters: how the platform refuses to filter by `provisioning`; None: it filters.
        everything: the total of the unfiltered list.
    """

    items: dict[str, Sequence[wire.Task | None] | int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    falling: bool = False
    fails: tuple[str, int] | None = None
    filters: PlatformError | None = None
    everything: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        assert status is not None
        assert not expected or status == PROVISIONING
        self.asked.append((status, number := page))
        if status == PROVISIONING and self.filters is not None:
            raise self.filters
        if (status, number) == self.fails:
            raise ServerFailed("GET /r/tasks: 500")
        has = self.items.get(status, 0)
        count = has if isinstance(has, int) else len(has)
        places = range((number - 1) * 100, min(number * 100, count))
        if isinstance(has, int):
            numbers = [count - 1 - i if self.falling else i for i in places]
            items: list[wire.Task | None] = [task(number, id=f"{status}-{number}") for number in numbers]
        else:
            items = [has[i] for i in places]
        return wire.Page(number, items, self.totals.get(status, count), 100, Counter[str]())

    async def total_tasks(self) -> int:
        self.asked.append(("", 1))
        return self.everything

    def pages(self, status: str) -> list[int]:
        return [number for each, number in self.asked if each == status]


async def look(
    listed: Listed,
    before: Timings | None = None,
    unknown: Counter[str] | None = None,
    *,
    provisioning: ProvisioningFilter | None = None,
    now: float = inf,
) -> TasksSnapshot:
    listed.asked.clear()
    return await collect_tasks(
        listed,
        before or Timings(),
        Counter() if unknown is None else unknown,
        provisioning=provisioning or NeverProvisioning(),
        now=now,
    )


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (100_000, 2)])
async def test_requests_do_not_grow_with_the_tasks(count: int, pages: int) -> None:
    """An active status costs one request, or two if it has more than a page; a final one costs one."""
    listed = Listed(dict.fromkeys(ACTIVE_TASK_STATUSES, count))
    result = await look(listed)
    assert len(listed.asked) == result.coverage.pages == 3 + 4 * pages
    for status in ACTIVE_TASK_STATUSES:
        assert listed.pages(status) == [1, -(-count // 100)][:pages]
    assert (result.coverage.reported, result.coverage.truncated) == (4 * count, False)


@pytest.mark.parametrize("count", [0, 1, 100, 101, 100_000])
async def test_final_statuses_cost_one_request(count: int) -> None:
    """However many tasks have finished, each final status costs one request per poll once its order is known."""
    listed = Listed(dict.fromkeys(FINAL_TASK_STATUSES, count), falling=True)
    first = await look(listed)
    second = await look(listed, first.timings)
    assert len(listed.asked) == 4 + 3
    assert second.coverage.reported == 3 * count
    assert second.timings.finished == dict.fromkeys(FINAL_TASK_STATUSES, 0)


async def test_mixed_statuses() -> None:
    """The number of requests is 3 + Σ(1 or 2), status by status."""
    listed = Listed({"pending": 5, "waiting": 101, "queued": 0, "running": 5000, "completed": 80})
    result = await look(listed)
    assert len(listed.asked) == 3 + (1 + 2 + 1 + 2)
    assert result.counts == {
        **dict.fromkeys(TASK_STATUSES, 0),
        "pending": 5,
        "waiting": 101,
        "running": 5000,
        "completed": 80,
    }


async def test_statuses_are_asked_for_in_the_order_tasks_pass() -> None:
    """A task that changes its status between two requests is seen twice rather than never."""
    listed = Listed()
    await look(listed)
    assert [status for status, _ in listed.asked] == list(TASK_STATUSES)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("count", [1, 100, 101, 250, 100_000])
async def test_oldest_is_found_at_either_end(count: int, *, falling: bool) -> None:
    """The oldest task is on the first or on the last page, whichever way the list is sorted."""
    result = await look(Listed(dict.fromkeys(ACTIVE_TASK_STATUSES, count), falling=falling))
    assert result.oldest_created == dict.fromkeys(UNSTARTED_TASK_STATUSES, UNIX)
    assert result.oldest_started == UNIX + 0.5


async def test_no_oldest_where_there_is_none() -> None:
    """Without tasks, or without a known time, the oldest task is absent, never zero."""
    result = await look(Listed({"waiting": [task(0, created_at=None)], "running": [task(1, started_at=None)]}))
    assert result.oldest_created == dict.fromkeys(UNSTARTED_TASK_STATUSES)
    assert result.oldest_started is None


@pytest.mark.parametrize(
    ("status", "count", "total", "pages"),
    [
        ("waiting", 0, 3, [1, 1]),
        ("waiting", 40, 42, [1, 1]),
        ("waiting", 100, 150, [1, 2, 1, 2]),
        ("waiting", 150, 250, [1, 3, 1, 3]),
        ("completed", 40, 42, [1, 1]),
    ],
)
async def test_total_that_is_too_high(status: str, count: int, total: int, pages: list[int]) -> None:
    """A status with fewer tasks than its total is read once more, then the result is truncated."""
    listed = Listed({status: count}, {status: total})
    result = await look(listed)
    assert listed.pages(status) == pages
    assert (result.coverage.truncated, result.coverage.reported) == (True, total)


async def test_list_that_shrank_between_its_ends() -> None:
    """If the last page is empty because the list shrank meanwhile, its real last page is read in a second attempt."""

    class Shrinking(Listed):
        async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
            if (status, page) == ("waiting", 3) and self.items["waiting"] == 201:
                self.items["waiting"] = 199
            return await Listed.tasks(self, status, page, expected=expected)

    listed = Shrinking({"waiting": 201})
    result = await look(listed)
    assert listed.pages("waiting") == [1, 3, 1, 2]
    assert (result.coverage.truncated, result.coverage.reported) == (False, 199)


async def test_duplicates_count_once() -> None:
    """A task that is on both pages because the list changed is read once."""
    items = [task(i) for i in range(100)] + [task(99), task(100)]
    result = await look(Listed({"waiting": items}))
    assert (result.coverage.items, result.coverage.reported) == (101, 102)


async def test_an_id_that_comes_twice_on_a_page_is_counted() -> None:
    """Of two tasks with one id, one is read and the other counted as unknown; the total stays the platform's."""
    unknown = Counter[str]()
    result = await look(Listed({"running": [task(1), task(2), task(1)]}), unknown=unknown)
    assert (+unknown, result.coverage.items, result.counts["running"]) == ({"id": 1}, 2, 3)


async def test_items_without_an_id() -> None:
    """Items without an id are skipped and counted; the number of tasks stays the platform's."""
    unknown = Counter[str]()
    result = await look(Listed({"waiting": [None, task(0, id=None), task(1)]}), unknown=unknown)
    assert (unknown["id"], result.coverage.items) == (2, 1)
    assert result.counts["waiting"] == 3


@pytest.mark.parametrize("status", TASK_STATUSES)
async def test_nothing_but_items_without_an_id(status: str) -> None:
    """A list of nothing but such items is a failure."""
    with pytest.raises(SchemaMismatch, match="none of 2 tasks has an id"):
        await look(Listed({status: [None, wire.Task()]}))


async def test_a_status_filter_that_is_ignored_in_silence() -> None:
    """If items do not state their status, tasks that are in all final lists show that the filter is ignored."""
    everything = [task(0), task(1)]
    with pytest.raises(SchemaMismatch, match="2 tasks are completed, failed and cancelled"):
        await look(Listed(dict.fromkeys(TASK_STATUSES, everything)))
    moved = {"failed": everything, "waiting": everything, "running": everything, "completed": everything}
    assert (await look(Listed(dict(moved)))).counts["failed"] == 2


@pytest.mark.parametrize("fails", [("pending", 1), ("running", 2), ("cancelled", 1)])
async def test_failure_fails_the_whole_reading(fails: tuple[str, int]) -> None:
    """Any page that cannot be read fails the whole poll."""
    with pytest.raises(ServerFailed):
        await look(Listed({"running": 101}, fails=fails))


async def test_required_labels() -> None:
    """Waiting tasks are counted by the set of labels that they require; others, and those that state none, are not."""
    gpu, big = ["gpu"], ["gpu", "h100"]
    waiting = [task(0, agent_labels=gpu), task(1, agent_labels=big), task(2, agent_labels=big), task(3)]
    result = await look(Listed({"waiting": waiting, "pending": [task(4, agent_labels=["x"])]}))
    assert result.required_labels == {frozenset(gpu): 1, frozenset(big): 2}


@pytest.mark.parametrize(
    ("waiting", "known"),
    [([], True), ([["gpu"]], True), ([["gpu"], None], True), ([None, []], False)],
    ids=["nobody waits", "all say", "one says", "none says"],
)
async def test_required_labels_may_be_unknown(waiting: list[list[str] | None], known: bool) -> None:  # noqa: FBT001  passed by name
    """If tasks wait and none says what it requires, the requirements are unknown, which is not the same as none."""
    tasks = [task(number, agent_labels=labels) for number, labels in enumerate(waiting)]
    assert ((await look(Listed({"waiting": tasks}))).required_labels is not None) == known


@pytest.mark.parametrize("field", ["created_at", "started_at", "completed_at"])
async def test_times_that_are_still_to_come_are_dropped(field: str) -> None:
    """A time further ahead than clocks differ is wrong: it is dropped and counted, and the task is kept."""
    unknown = Counter[str]()
    listed = Listed({"running": [task(0, **{field: START + timedelta(hours=2)}), task(1)]})
    snapshot = await look(listed, unknown=unknown, now=UNIX + 10)
    assert (+unknown, snapshot.counts["running"]) == ({field: 1}, 2)
    assert snapshot.oldest_started in (UNIX + 0.5, UNIX + 1.5)


async def test_times_a_little_ahead_are_kept() -> None:
    """A time less than an hour ahead is accepted; while the platform's clock is unknown, any is."""
    unknown = Counter[str]()
    listed = Listed({"completed": [task(0, completed_at=START + timedelta(minutes=59))]})
    await look(listed, unknown=unknown, now=UNIX)
    await look(Listed({"running": [task(10**9)]}), unknown=unknown)
    assert not +unknown


async def test_durations_that_run_backwards_are_counted() -> None:
    """A task that started before it was created, or ended before it started, has no duration and is counted."""
    first = await look(Listed({"completed": [task(0)]}))
    early, unknown = START - timedelta(seconds=5), Counter[str]()
    bad = task(1, started_at=early, completed_at=early - timedelta(seconds=5))
    second = await look(Listed({"completed": [bad, task(0)]}), first.timings, unknown)
    assert unknown == {"started_at": 1, "completed_at": 1}
    assert second.timings.finished["completed"] == 1
    assert sum(second.timings.wait.counts) == 0


async def test_nothing_is_kept_of_a_poll_that_failed() -> None:
    """The timings are immutable: a poll that fails halfway has changed nothing."""
    before = (await look(Listed({"completed": [task(0)]}))).timings
    copy = before.finished, before.final_lists, before.wait
    with pytest.raises(ServerFailed):
        await look(Listed({"completed": [task(1), task(0)]}, fails=("failed", 1)), before)
    assert (before.finished, before.final_lists, before.wait) == copy


# --- provisioning -------------------------------------------------------------------------------------------


async def test_provisioning_where_it_is_filtered() -> None:
    """If the platform filters by it, provisioning is an active status, read between waiting and queued."""
    listed, provisioning = Listed({"provisioning": 2}), ProvisioningFilter(FakeClock().clock)
    for _ in range(2):
        snapshot = await look(listed, provisioning=provisioning)
        assert [status for status, _ in listed.asked][:5] == ["pending", "waiting", "provisioning", "queued", "running"]
        assert len(listed.asked) == 8
        assert (snapshot.counts[PROVISIONING], snapshot.coverage.reported) == (2, 2)
        assert "other" not in snapshot.counts
    assert provisioning.accepted


@pytest.mark.parametrize(
    "refusal", [ClientRefused("400"), SchemaMismatch("another status"), ServerFailed("500"), RequestTimeout("none")]
)
async def test_provisioning_where_it_is_not_filtered(refusal: PlatformError) -> None:
    """A refusal, in whatever form, only affects this status, which is rarely requested again."""
    clock = FakeClock()
    listed, provisioning = Listed({"waiting": 1}, filters=refusal), ProvisioningFilter(clock.clock)
    snapshot = await look(listed, provisioning=provisioning)
    assert PROVISIONING not in snapshot.counts
    assert (provisioning.accepted, snapshot.counts["waiting"]) == (False, 1)
    clock.advance(INTERVAL - 1)
    await look(listed, provisioning=provisioning)
    assert not listed.pages(PROVISIONING)
    clock.advance(1)
    listed.filters = None
    assert PROVISIONING in (await look(listed, provisioning=provisioning)).counts


async def test_a_filter_that_is_ignored_in_silence() -> None:
    """If items do not state their status, finished tasks among them show that the filter was ignored."""
    listed = Listed({"provisioning": [task(0), task(1, completed_at=START)]})
    provisioning = ProvisioningFilter(FakeClock().clock)
    assert PROVISIONING not in (await look(listed, provisioning=provisioning)).counts
    assert provisioning.accepted is False


async def test_a_filter_that_was_accepted_fails_like_any_other() -> None:
    """Once the platform filters by it, other failures fail the poll, and a refusal is noted."""
    listed, provisioning = Listed(), ProvisioningFilter(FakeClock().clock)
    await look(listed, provisioning=provisioning)
    listed.filters = ServerFailed("500")
    with pytest.raises(ServerFailed):
        await look(listed, provisioning=provisioning)
    listed.filters = ClientRefused("400")
    assert PROVISIONING not in (await look(listed, provisioning=provisioning)).counts
    assert provisioning.accepted is False


async def test_what_no_filter_shows_is_counted_now_and_then() -> None:
    """If it cannot be filtered, the unfiltered total, read first in every tenth poll, gives the number of `other`."""
    listed = Listed({"waiting": 3, "completed": 4}, filters=ClientRefused("400"), everything=9)
    provisioning, unknown = ProvisioningFilter(FakeClock().clock), Counter[str]()
    assert "other" not in (await look(listed, provisioning=provisioning)).counts
    looks = []
    for _ in range(2 * LOOK_EVERY):
        snapshot = await look(listed, None, unknown, provisioning=provisioning)
        assert snapshot.counts["other"] == 2
        looks.append(listed.pages(""))
        assert not listed.pages("") or listed.asked[0] == ("", 1)
    assert looks == ([[1]] + [[]] * (LOOK_EVERY - 1)) * 2
    assert unknown["task_status"] == 2 * 2


@pytest.mark.parametrize(("totals", "other"), [((9, 7), 0), ((7, 9), 0), ((9, 8), 1), ((5, 5), 0), ((9, 9), 2)])
async def test_what_is_removed_during_a_look_is_not_other(totals: tuple[int, int], other: int) -> None:
    """The smaller of the last two differences is used, and a negative one is 0."""
    listed = Listed({"waiting": 3, "completed": 4}, filters=ClientRefused("400"))
    provisioning = ProvisioningFilter(FakeClock().clock)
    await look(listed, provisioning=provisioning)
    for total in totals:
        listed.everything = total
        for _ in range(LOOK_EVERY):
            snapshot = await look(listed, provisioning=provisioning)
    assert snapshot.counts["other"] == other
