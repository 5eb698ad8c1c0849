import asyncio
import email.utils
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.platform.pacing import Backoff, Pacer, TokenBucket, parse_http_date, parse_retry_after


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move on, and let others move."""
        assert seconds > 0
        self.now += seconds
        await asyncio.sleep(0)


def test_tokens_come_back_with_time() -> None:
    """As many as the burst at once, then one each gap, and never more than the burst."""
    time = Time()
    bucket = TokenBucket(0.5, 3, time.clock)

    def taken(asked: int) -> int:
        count = 0
        while count < asked and bucket.wait() == 0:
            bucket.take()
            count += 1
        return count

    assert taken(5) == 3
    assert bucket.wait() == 0.5
    time.now += 0.5
    assert taken(2) == 1
    time.now += 1000
    assert taken(5) == 3


async def _starts(rate: float, requests: int, pauses: dict[int, float] | None = None) -> list[float]:
    """The start times of requests that are all made at once, except for pauses before some of them."""
    time, starts = Time(), list[float]()
    pacer = Pacer(rate, requests, clock=time.clock, sleep=time.sleep)
    for number in range(requests):
        time.now += (pauses or {}).get(number, 0.0)
        async with pacer.request_permit():
            starts.append(time.now)
    return starts


@given(
    rate=st.floats(0.05, 50),
    pauses=st.dictionaries(st.integers(0, 39), st.floats(0, 30), max_size=8),
)
def test_no_window_holds_more_than_the_rate_and_one_burst(rate: float, pauses: dict[int, float]) -> None:
    """In any t seconds at most rate x t + max(1, rate) requests start, whatever the pauses."""
    starts = asyncio.run(_starts(rate, 40, pauses))
    assert starts == sorted(starts)
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= rate * (starts[last] - begin) + max(1.0, rate) + 1e-6


@given(rate=st.floats(0.05, 50))
def test_the_rate_is_used_up(rate: float) -> None:
    """No request waits longer than necessary: a burst at once, then one request per gap."""
    starts = asyncio.run(_starts(rate, 40))
    burst = min(40, max(1, math.floor(rate + 1e-9)))
    assert starts[:burst] == pytest.approx([1000.0] * burst)
    for number, start in enumerate(starts):
        assert start - 1000.0 <= max(0.0, (number + 1 - max(1.0, rate)) / rate) + 1e-6


async def test_a_slow_sleep_earns_no_second_request() -> None:
    """After a stall at one request a second the next one still comes a second later."""
    time = Time()

    async def oversleep(seconds: float) -> None:
        await time.sleep(seconds + 0.75)

    pacer, starts = Pacer(1, 1, clock=time.clock, sleep=oversleep), []
    for _ in range(3):
        async with pacer.request_permit():
            starts.append(time.now - 1000.0)
    assert starts == [0.0, 1.75, 3.5]


async def test_at_most_the_concurrency_is_under_way_first_come_first_served() -> None:
    """Places are given in the order of the requests, and never more than allowed."""
    time, order, busy, most = Time(), list[int](), 0, 0
    pacer = Pacer(1000, 3, clock=time.clock, sleep=time.sleep)

    async def request(number: int) -> None:
        nonlocal busy, most
        async with pacer.request_permit():
            order.append(number)
            busy += 1
            most = max(most, busy)
            for _ in range(number % 4 + 1):
                await asyncio.sleep(0)
            busy -= 1

    await asyncio.gather(*(request(number) for number in range(20)))
    assert order == list(range(20))
    assert most == 3


async def test_permits_are_given_one_by_one() -> None:
    """Requests that wait at the same time start one gap apart, in their order."""
    time, starts = Time(), list[tuple[int, float]]()
    pacer = Pacer(1, 5, clock=time.clock, sleep=time.sleep)

    async def request(number: int) -> None:
        async with pacer.request_permit():
            starts.append((number, time.now - 1000.0))

    await asyncio.gather(*(request(number) for number in range(5)))
    assert starts == [(number, float(number)) for number in range(5)]


async def test_a_waiter_that_gives_up_costs_nothing() -> None:
    """A request that is cancelled while waiting or running frees its place and its token for the next."""
    gate = asyncio.Event()
    time = Time()

    async def wait_for_the_gate(seconds: float) -> None:
        await gate.wait()
        time.now += seconds

    pacer = Pacer(1, 2, clock=time.clock, sleep=wait_for_the_gate)
    started: list[str] = []

    async def request(name: str) -> None:
        async with pacer.request_permit():
            started.append(name)
            if name == "inside":
                await asyncio.Event().wait()

    tasks = [asyncio.create_task(request(name)) for name in ("inside", "timed", "queued", "last")]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    await asyncio.wait(tasks[:3])
    gate.set()
    await tasks[3]
    assert started == ["inside", "last"]
    assert time.now == 1001.0


async def test_an_error_inside_frees_the_place() -> None:
    """A failing request frees its place, and its error is raised."""
    pacer = Pacer(1000, 1)
    for _ in range(3):
        with pytest.raises(LookupError):
            async with pacer.request_permit():
                raise LookupError


def test_two_failures_do_not_back_off() -> None:
    """A failed poll is repeated at the next interval."""
    backoff = Backoff(30, random=lambda: 1.0)
    for failures in (1, 2):
        backoff.failed(1000.0, None)
        assert (backoff.failures, backoff.until) == (failures, None)


@pytest.mark.parametrize(("random", "delays"), [(0.0, [30, 60, 120, 150, 150]), (1.0, [60, 120, 240, 300, 300])])
def test_the_third_failure_in_a_row_starts_an_exponential_back_off(random: float, delays: list[float]) -> None:
    """Pauses double up to five minutes, and their upper half is random."""
    backoff = Backoff(30, random=lambda: random)
    until = []
    for _ in range(7):
        backoff.failed(1000.0, None)
        until.append(backoff.until)
    assert until == [None, None, *(1000.0 + delay for delay in delays)]


def test_a_success_ends_the_back_off() -> None:
    """The next failure is a first one again."""
    backoff = Backoff(30, random=lambda: 1.0)
    for _ in range(5):
        backoff.failed(1000.0, None)
    backoff.succeeded()
    assert (backoff.failures, backoff.until) == (0, None)
    backoff.failed(2000.0, None)
    assert (backoff.failures, backoff.until) == (1, None)


@pytest.mark.parametrize(("asked", "until"), [(0.0, None), (5.0, 1005.0), (900.0, 1900.0)])
def test_retry_after_holds_from_the_first_failure(asked: float, until: float | None) -> None:
    """A wait that the platform asks for applies at once, up to fifteen minutes."""
    backoff = Backoff(30, random=lambda: 1.0)
    backoff.failed(1000.0, asked)
    assert backoff.until == until


def test_a_failure_without_retry_after_ends_the_wait_of_the_one_before() -> None:
    """A requested wait applies only after the failure that requested it."""
    backoff = Backoff(30, random=lambda: 1.0)
    backoff.failed(1000.0, 600.0)
    backoff.failed(1600.0, None)
    assert backoff.until is None


@given(
    interval=st.floats(1, 3600),
    failures=st.integers(3, 2000),
    random=st.floats(0, 1),
    asked=st.none() | st.floats(0, 900),
)
def test_a_back_off_stays_within_its_bounds(interval: float, failures: int, random: float, asked: float | None) -> None:
    """A pause is never below the interval or the requested wait, and otherwise never above 300 s."""
    backoff = Backoff(interval, random=lambda: random)
    for _ in range(failures):
        backoff.failed(0.0, asked)
    floor = max(interval, asked or 0.0)
    assert backoff.until is not None
    assert floor <= backoff.until <= max(floor, 300.0)


NOW = 1739194200.0  # Mon, 10 Feb 2025 13:30:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("901", 900),
        ("9" * 5000, 900),
        ("Mon, 10 Feb 2025 13:30:30 GMT", 30),
        ("Monday, 10-Feb-25 13:30:30 GMT", 30),
        ("Mon Feb 10 13:30:30 2025", 30),
        ("Mon, 10 Feb 2025 13:30:30 -0000", 30),
        ("Mon, 10 Feb 2025 14:30:30 +0100", 30),
        ("Mon, 10 Feb 2025 13:29:00 GMT", 0),
        ("Mon, 10 Feb 2075 13:30:00 GMT", 900),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("inf", None),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", None),
        ("7, 7", None),
        ("Mon, 99 Feb 2025 13:30:30 GMT", None),
        ("Mon, 10 Feb 99999999999 13:30:30 GMT", None),
        ("Mon, 10 Feb 2025 13:30:30 +9999999999999", None),
    ],
)
def test_retry_after_in_either_form(value: str | None, seconds: float | None) -> None:
    """Retry-After may be seconds or a date, 0 if past, at most 900; anything else is None."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [A-Z+\-0-9]{3,8}"))
def test_a_header_never_breaks_the_parser(value: str) -> None:
    """Any text gives None or 0 to 900 seconds."""
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 900


@given(st.integers(0, 4_000_000_000))
def test_a_date_is_read_to_the_second(moment: int) -> None:
    """Dates as HTTP servers write them are parsed."""
    assert parse_http_date(email.utils.formatdate(moment, usegmt=True)) == moment


async def test_requests_likely_to_hang_share_a_part_of_the_places() -> None:
    """However many teams hang, three quarters of the places are available to others."""
    time = Time()
    pacer = Pacer(1000, 8, clock=time.clock, sleep=time.sleep)
    held = asyncio.Event()
    inside: list[str] = []

    async def request(name: str, *, likely_to_hang: bool) -> None:
        async with pacer.request_permit(likely_to_hang=likely_to_hang):
            inside.append(name)
            await held.wait()

    hanging = [asyncio.create_task(request("hanging", likely_to_hang=True)) for _ in range(20)]
    for _ in range(50):
        await asyncio.sleep(0)
    healthy = [asyncio.create_task(request("healthy", likely_to_hang=False)) for _ in range(6)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert (inside.count("hanging"), inside.count("healthy")) == (2, 6)
    held.set()
    await asyncio.gather(*hanging, *healthy)
    assert inside.count("hanging") == 20


@pytest.mark.parametrize(("places", "slow", "fast"), [(8, 6, 2), (4, 3, 1), (2, 1, 1), (1, 1, 0)])
async def test_slow_requests_leave_places_to_the_others(places: int, slow: int, fast: int) -> None:
    """However many teams are slow or hang, a quarter of the places is available to the others."""
    pacer = Pacer(1e6, places)
    inside: list[str] = []
    held = asyncio.Event()

    async def request(name: str, **expected: bool) -> None:
        async with pacer.request_permit(**expected):
            inside.append(name)
            await held.wait()

    many = [asyncio.create_task(request("slow", slow=True)) for _ in range(12)]
    many += [asyncio.create_task(request("slow", likely_to_hang=True)) for _ in range(12)]
    for _ in range(100):
        await asyncio.sleep(0)
    many += [asyncio.create_task(request("fast")) for _ in range(places)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert (inside.count("slow"), inside.count("fast")) == (slow, fast)
    held.set()
    await asyncio.gather(*many)
    assert len(inside) == 24 + places


async def test_slow_teams_take_no_poll_from_the_others() -> None:
    """A fast team's poll starts even while the maximum number of slow teams is polled."""
    pacer = Pacer(1e6, 8)
    inside: list[str] = []
    done = asyncio.Event()

    async def poll(name: str, *, slow: bool) -> None:
        async with pacer.poll_permit(slow=slow):
            inside.append(name)
            await done.wait()

    polls = [asyncio.create_task(poll("slow", slow=True)) for _ in range(30)]
    polls += [asyncio.create_task(poll("fast", slow=False)) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert (inside.count("slow"), inside.count("fast")) == (10, 3)
    done.set()
    await asyncio.gather(*polls)


async def test_a_poll_that_turns_out_slow_makes_room() -> None:
    """At the first polls no team is known to be slow; a poll whose answers are slow gives its permit to another."""
    pacer = Pacer(1e6, 1)
    slow = [pacer.poll_permit() for _ in range(2)]
    for permit in slow:
        await permit.__aenter__()
    waiting = asyncio.create_task(pacer.poll_permit().__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(2):
        slow[0].turned_slow()
    await waiting
    for permit in slow:
        await permit.__aexit__()
    known = pacer.poll_permit(slow=True)
    async with known:
        known.turned_slow()
        assert pacer._slow_polls._value == 1
    assert (pacer._polls._value, pacer._slow_polls._value) == (1, 2)


async def test_teams_take_turns_but_those_that_hang() -> None:
    """Few more teams are polled at once than there are places, and hanging teams use no poll permits."""
    pacer = Pacer(1000, 1)
    inside: list[str] = []
    done = asyncio.Event()

    async def poll(name: str, *, likely_to_hang: bool) -> None:
        async with pacer.poll_permit(likely_to_hang=likely_to_hang):
            inside.append(name)
            await done.wait()

    polls = [asyncio.create_task(poll("healthy", likely_to_hang=False)) for _ in range(5)]
    polls += [asyncio.create_task(poll("hanging", likely_to_hang=True)) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert (inside.count("healthy"), inside.count("hanging")) == (2, 5)
    done.set()
    await asyncio.gather(*polls)
    assert inside.count("healthy") == 5


async def test_the_last_teams_do_not_have_the_places_to_themselves() -> None:
    """Polling all teams at once takes at most 1.3 times the minimum that the places allow."""
    teams, requests, places = 10, 12, 8
    pacer = Pacer(1e6, places)
    under_way: list[asyncio.Event] = []

    async def poll() -> None:
        async with pacer.poll_permit():
            for _ in range(requests):
                async with pacer.request_permit():
                    answered = asyncio.Event()
                    under_way.append(answered)
                    await answered.wait()

    polls = asyncio.gather(*(poll() for _ in range(teams)))
    rounds = 0
    while not polls.done():
        for _ in range(50):
            await asyncio.sleep(0)
        rounds += bool(under_way)
        for answered in under_way:
            answered.set()
        under_way.clear()
    assert rounds <= 1.3 * teams * requests / places
