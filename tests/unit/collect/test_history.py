from dataclasses import replace

import pytest

from exporter.collect.history import ATTEMPTS_KEPT, History
from exporter.errors import RateLimited, RequestTimeout
from exporter.fleet.snapshots import Coverage
from exporter.status import CollectorStatus
from fixtures import NOW, FakeClock

COVERAGE = Coverage(pages=7, items=14, reported=42, truncated=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(clock: FakeClock) -> History:
    return History("tasks", 30.0, 120.0, clock=clock.clock, random=lambda: 0.5)


def poll(history: History, clock: FakeClock, outcome: Coverage | Exception, seconds: float = 0.5) -> CollectorStatus:
    """The status after one poll that takes this long."""
    started = clock.clock.monotonic()
    clock.advance(seconds)
    if isinstance(outcome, Coverage):
        history.succeeded(started, outcome)
    else:
        history.failed(started, outcome)
    return history.status(None)


def test_before_the_first_poll(history: History) -> None:
    """Before the first poll everything is unknown."""
    assert history.status(None) == CollectorStatus(
        "tasks", 30.0, (), False, False, None, None, None, None, None, 0, None
    )


def test_success(history: History, clock: FakeClock) -> None:
    """A successful poll shows when it started and ended, what it read and that it is fresh."""
    status = poll(history, clock, COVERAGE)
    assert (status.success, status.fresh, status.failures_in_a_row) == (True, True, 0)
    assert (status.last_attempt_at, status.last_success_at) == (NOW, NOW + 0.5)
    assert (status.items, status.items_reported, status.truncated) == (14, 42, True)
    [attempt] = status.attempts
    assert (attempt.started_at, attempt.duration, attempt.pages, attempt.items) == (NOW, 0.5, 7, 14)
    assert attempt.reason is attempt.error is None


def test_failure_keeps_what_was_read_last(history: History, clock: FakeClock) -> None:
    """After a failure the last good result is still shown as read; the failure has a reason and a message."""
    poll(history, clock, COVERAGE)
    clock.advance(29.5)
    status = poll(history, clock, RequestTimeout("no answer"))
    assert (status.success, status.fresh, status.items) == (False, True, 14)
    assert (status.last_attempt_at, status.last_success_at) == (NOW + 30, NOW + 0.5)
    assert (status.attempts[0].reason, status.attempts[0].error, status.attempts[0].items) == (
        "timeout",
        "no answer",
        None,
    )


@pytest.mark.parametrize(("age", "fresh"), [(119.9, True), (120.0, False), (500.0, False)])
def test_freshness(history: History, clock: FakeClock, age: float, *, fresh: bool) -> None:
    """Data is fresh until it has the maximum age, counted from the end of its poll."""
    poll(history, clock, COVERAGE, seconds=10.0)
    clock.advance(age)
    assert history.status(None).fresh == fresh


def test_own_mistakes_are_told_without_their_text(history: History, clock: FakeClock) -> None:
    """An internal error is shown by its type; its message, which may contain anything, is only logged."""
    status = poll(history, clock, KeyError("sk-secret"))
    attempt = status.attempts[0]
    assert (attempt.reason, attempt.error) == ("internal", "internal error of the exporter: KeyError")


def test_backoff_starts_at_the_third_failure(history: History, clock: FakeClock) -> None:
    """After two failures polls continue at the interval; from the third on they back off, until one succeeds."""
    failures = [poll(history, clock, RequestTimeout("no answer"), seconds=0.0) for _ in range(4)]
    assert [status.failures_in_a_row for status in failures] == [1, 2, 3, 4]
    assert [status.backoff_until for status in failures] == [None, None, NOW + 45, NOW + 90]
    assert poll(history, clock, COVERAGE).backoff_until is None
    assert poll(history, clock, RequestTimeout("no answer")).failures_in_a_row == 1


def test_backoff_that_is_over_is_not_shown(history: History, clock: FakeClock) -> None:
    """A back-off that has passed delays nothing."""
    assert poll(history, clock, RateLimited("429", retry_after=10), seconds=0.0).backoff_until == NOW + 10
    clock.advance(10.0)
    assert history.status(None).backoff_until is None


def test_hold_of_the_team_counts_too(history: History, clock: FakeClock) -> None:
    """A hold of the whole team holds this list back too; the later time counts."""
    now = clock.clock.monotonic()
    assert history.status(now + 5).backoff_until == NOW + 5
    assert history.status(now).backoff_until is None
    poll(history, clock, RateLimited("429", retry_after=10), seconds=0.0)
    assert history.status(now + 5).backoff_until == NOW + 10
    assert history.status(now + 15).backoff_until == NOW + 15


def test_few_attempts_are_kept(history: History, clock: FakeClock) -> None:
    """Only as many polls are kept as the page shows, newest first."""
    for number in range(20):
        poll(history, clock, replace(COVERAGE, items=number))
    attempts = history.status(None).attempts
    assert [attempt.items for attempt in attempts] == list(range(19, 19 - ATTEMPTS_KEPT, -1))


def test_other_rules(history: History, clock: FakeClock) -> None:
    """A new interval applies from the next poll on, a new maximum age to the data that is there."""
    history.reconfigure(10.0, 40.0)
    assert not history.status(None).fresh
    poll(history, clock, COVERAGE)
    clock.advance(39.0)
    assert (history.status(None).fresh, history.status(None).interval) == (True, 10.0)
    history.reconfigure(10.0, 20.0)
    assert not history.status(None).fresh
    history.reconfigure(10.0, 50.0)
    assert history.status(None).fresh
    clock.advance(11.0)
    assert not history.status(None).fresh
