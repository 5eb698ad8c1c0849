import asyncio
import gc
import selectors
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from exporter.collect.schedule import GRACE, Schedule
from exporter.platform.clock import Clock

START = 5000.0


class _NoWaiting(selectors.DefaultSelector):
    """Advances the loop's time instead of waiting. Mutable: it keeps the time."""

    now = START

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout:
            self.now += timeout
        return super().select(0)


class TimedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time advances only in sleeps, and then at once."""

    def __init__(self) -> None:
        self._timed = _NoWaiting()
        super().__init__(self._timed)

    def time(self) -> float:
        return self._timed.now


@dataclass(frozen=True, slots=True)
class _Rules:
    name: str
    interval: float


@dataclass(slots=True, weakref_slot=True, eq=False)
class PolledTeam:
    """A team whose polls take as long as a test chooses. Mutable: it records when they started."""

    rules: _Rules
    takes: Callable[[int], float] = lambda _: 0.0
    polls: list[float] = field(default_factory=list)
    under_way: int = 0

    async def poll(self) -> None:
        assert self.under_way == 0, "two polls of a team at once"
        self.under_way += 1
        self.polls.append(now())
        try:
            await asyncio.sleep(self.takes(len(self.polls)))
        finally:
            self.under_way -= 1


def now() -> float:
    """Seconds since the start."""
    return asyncio.get_running_loop().time() - START


def team(name: str = "render", interval: float = 30.0, takes: Callable[[int], float] = lambda _: 0.0) -> PolledTeam:
    return PolledTeam(_Rules(name, interval), takes)


def make_schedule(*teams: PolledTeam) -> Schedule:
    loop = asyncio.get_running_loop()
    schedule = Schedule(Clock(wall=lambda: loop.time() + 1e9, monotonic=loop.time))
    set_teams(schedule, *teams)
    return schedule


def set_teams(schedule: Schedule, *teams: PolledTeam) -> None:
    schedule.set_teams(teams)  # type: ignore[arg-type]  # they are polled alike


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a loop whose time we control."""
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(scene())


async def run_for(schedule: Schedule, seconds: float) -> None:
    """Run the schedule for this long, then stop it."""
    task = asyncio.create_task(schedule.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_starts_are_spread_and_the_beat_is_fixed() -> None:
    """The first polls are spread over the interval; each team then keeps its rhythm."""

    async def scene() -> None:
        teams = [team(name) for name in "abc"]
        await run_for(make_schedule(*teams), 75.0)
        assert [each.polls for each in teams] == [[0.0, 30.0, 60.0], [10.0, 40.0, 70.0], [20.0, 50.0]]

    play(scene)


def test_the_first_round_is_short() -> None:
    """Even with long intervals every team has data within half a minute; after that polls are spread evenly."""

    async def scene() -> None:
        teams = [team(str(number), 300.0) for number in range(20)]
        await run_for(make_schedule(*teams), 640.0)
        polls = [each.polls for each in teams]
        assert [first for first, *_ in polls] == [pytest.approx(1.5 * number) for number in range(20)]
        assert polls[0] == [0.0, 300.0, 600.0]
        assert polls[1] == [1.5, 315.0, 615.0]  # not again after a few seconds
        assert polls[3] == [4.5, 45.0, 345.0]
        assert polls[19] == [28.5, 285.0, 585.0]

    play(scene)


def test_each_team_has_its_own_interval() -> None:
    """The first poll of a team with its own interval is spread over that."""

    async def scene() -> None:
        slow, fast = team("slow", 60.0), team("fast", 10.0)
        await run_for(make_schedule(slow, fast), 62.0)
        assert slow.polls == [0.0, 60.0]
        assert fast.polls == [5.0, 15.0, 25.0, 35.0, 45.0, 55.0]

    play(scene)


@pytest.mark.parametrize(
    ("seconds", "polls"),
    [
        (0.5, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]),  # the beat does not drift
        (9.5, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]),
        (12.0, [0.0, 20.0, 40.0]),  # missed beats are skipped
        (35.0, [0.0, 40.0]),
    ],
)
def test_polls_never_overlap(seconds: float, polls: list[float]) -> None:
    """A poll that takes longer than the interval skips polls, which are not made up for."""

    async def scene() -> None:
        slow, other = team("slow", 10.0, lambda _: seconds), team("other", 10.0)
        await run_for(make_schedule(slow, other), 54.0)
        assert slow.polls == polls
        assert other.polls == [5.0, 15.0, 25.0, 35.0, 45.0]

    play(scene)


def test_one_long_poll_is_caught_up_with() -> None:
    """After one long poll the rhythm is the same as before."""

    async def scene() -> None:
        slow = team("slow", 10.0, lambda number: 23.0 if number == 2 else 0.0)
        await run_for(make_schedule(slow), 55.0)
        assert slow.polls == [0.0, 10.0, 40.0, 50.0]

    play(scene)


def test_next_polls() -> None:
    """Each team's next poll is known in Unix seconds, and is None while one is under way."""

    async def scene() -> None:
        slow, fast = team("slow", 30.0, lambda _: 8.0), team("fast", 30.0)
        schedule = make_schedule(slow, fast)
        assert schedule.next_polls() == {"slow": 1e9 + START, "fast": 1e9 + START + 15}
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(5.0)
        assert schedule.next_polls() == {"slow": None, "fast": 1e9 + START + 15}
        await asyncio.sleep(5.0)
        assert schedule.next_polls()["slow"] == 1e9 + START + 30
        task.cancel()

    play(scene)


def test_teams_come_and_go() -> None:
    """A remaining team keeps its rhythm; a removed one is not polled again, even if a poll was under way."""

    async def scene() -> None:
        stays, goes, busy = team("stays"), team("goes"), team("busy", takes=lambda _: 1000.0)
        schedule = make_schedule(stays, goes, busy)
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(25.0)
        comes = team("comes", 20.0)
        set_teams(schedule, comes, stays)
        await asyncio.sleep(0)
        assert schedule.next_polls().keys() == {"comes", "stays"}
        await asyncio.sleep(40.0)
        assert (stays.polls, goes.polls) == ([0.0, 30.0, 60.0], [10.0])
        assert (busy.polls, busy.under_way) == ([20.0], 0)
        assert comes.polls == [25.0, 45.0, 65.0][: len(comes.polls)]
        assert len(comes.polls) >= 2
        task.cancel()

    play(scene)


def test_a_team_that_is_gone_is_freed() -> None:
    """A removed team is freed even in the middle of a poll, although startup objects are exempt from collection."""

    async def scene() -> None:
        schedule = make_schedule(team("goes", takes=lambda _: 1000.0))
        gc.freeze()
        try:
            gone = weakref.ref(schedule._entries["goes"].team)
            task = asyncio.create_task(schedule.run())
            await asyncio.sleep(25.0)
            set_teams(schedule)
            await asyncio.sleep(1.0)
            gc.collect()
            assert gone() is None
            task.cancel()
        finally:
            gc.unfreeze()

    play(scene)


@pytest.mark.parametrize(
    ("before", "after", "at", "polls"),
    [
        (30.0, 10.0, 5.0, [0.0, 10.0, 20.0, 30.0]),
        (300.0, 10.0, 25.0, [0.0, 25.0, 35.0]),
        (10.0, 30.0, 5.0, [0.0, 30.0]),
        (10.0, 30.0, 15.0, [0.0, 10.0]),
    ],
)
def test_another_interval_begins_at_the_last_poll(before: float, after: float, at: float, polls: list[float]) -> None:
    """A team whose interval changed is polled when the new one is over, or at once if it is over already."""

    async def scene() -> None:
        one = team("one", before)
        schedule = make_schedule(one)
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(at)
        one.rules = _Rules("one", after)
        set_teams(schedule, one)
        await asyncio.sleep(39.0 - at)
        assert one.polls == polls
        task.cancel()

    play(scene)


def test_many_reloads_cost_no_polls() -> None:
    """However often the intervals change, teams are polled neither more often than these say nor later."""

    async def scene() -> None:
        teams = [team(name) for name in "abc"]
        schedule = make_schedule(*teams)
        task = asyncio.create_task(schedule.run())
        for second in range(70):
            await asyncio.sleep(1.0)
            for each in teams:
                each.rules = _Rules(each.rules.name, 30.0 + second % 2)
            set_teams(schedule, *teams)
        assert [len(each.polls) for each in teams] == [3, 2, 2]
        assert {second - first for each in teams for first, second in pairwise(each.polls)} <= {30.0, 31.0}
        task.cancel()

    play(scene)


def test_overdue_teams_are_spread() -> None:
    """Teams for which a much shorter interval is over are not polled all at once, and reloads do not postpone them."""

    async def scene() -> None:
        teams = [team(name, 3000.0) for name in "abc"]
        schedule = make_schedule(*teams)
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(100.0)
        for second in range(30):
            for each in teams:
                each.rules = _Rules(each.rules.name, 60.0 + second % 2)
            set_teams(schedule, *teams)
            await asyncio.sleep(1.0)
        assert [each.polls for each in teams] == [[0.0, 100.0], [10.0, 110.0], [20.0, 120.0]]
        task.cancel()

    play(scene)


def test_another_interval_does_not_end_a_poll_under_way() -> None:
    """The poll that is under way goes on, and the new interval counts from its start."""

    async def scene() -> None:
        one = team("one", 30.0, takes=lambda _: 8.0)
        schedule = make_schedule(one)
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(5.0)
        one.rules = _Rules("one", 10.0)
        set_teams(schedule, one)
        assert one.under_way == 1
        await asyncio.sleep(22.0)
        assert one.polls == [0.0, 10.0, 20.0]
        task.cancel()

    play(scene)


def test_what_a_poll_does_not_handle_ends_the_schedule() -> None:
    """Polling never stops silently: an unhandled error is raised by `run`, and all polls end."""

    async def scene() -> None:
        def break_down(_: int) -> float:
            raise ZeroDivisionError

        broken, other = team("broken", 30.0, break_down), team("other")
        with pytest.raises(ExceptionGroup) as caught:
            await make_schedule(broken, other).run()
        assert caught.group_contains(ZeroDivisionError)
        assert other.polls == []

    play(scene)


@pytest.mark.parametrize(("seconds", "advances"), [(GRACE - 1, True), (GRACE + 10, False)])
def test_advances(seconds: float, *, advances: bool) -> None:
    """A schedule is stuck if nothing starts or ends for that long although it should, and not before."""

    async def scene() -> None:
        hung = team("hung", 30.0, lambda _: 10_000.0)
        schedule = make_schedule(hung)
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(seconds)
        assert schedule.advances() == advances
        task.cancel()

    play(scene)


def test_one_hung_team_is_no_stuck_schedule() -> None:
    """The schedule advances as long as any team's polls start and end."""

    async def scene() -> None:
        schedule = make_schedule(team("hung", 30.0, lambda _: 10_000.0), team("fine"))
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(20 * GRACE)
        assert schedule.advances()
        task.cancel()

    play(scene)


def test_long_interval_is_no_stuck_schedule() -> None:
    """Without a due poll the schedule is not stuck."""

    async def scene() -> None:
        schedule = make_schedule(team("rare", 20 * GRACE))
        task = asyncio.create_task(schedule.run())
        await asyncio.sleep(19 * GRACE)
        assert schedule.advances()
        task.cancel()

    play(scene)


def test_schedule_that_nobody_runs_is_stuck() -> None:
    """Due polls that do not start mean that the schedule is stuck."""

    async def scene() -> None:
        schedule = make_schedule(team())
        await asyncio.sleep(GRACE + 1)
        assert not schedule.advances()

    play(scene)


def test_schedule_without_teams_advances() -> None:
    """A shard without teams is never stuck."""

    async def scene() -> None:
        schedule = make_schedule()
        await run_for(schedule, 10 * GRACE)
        assert schedule.advances()

    play(scene)
