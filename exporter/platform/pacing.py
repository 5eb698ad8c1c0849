"""How fast requests start, how many run at once, and when a team backs off.

Times are seconds of one clock, which the caller chooses.
"""

import asyncio
import email.utils
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC
from typing import Self

MAX_RETRY_AFTER = 900.0
"""Seconds; longer waits that the platform asks for are cut to this."""

MAX_BACKOFF = 300.0
"""Maximum seconds between two failing polls, unless the interval is longer."""

FAILURES_BEFORE_BACKOFF = 3
"""Failed polls in a row after which a collector backs off."""

HANGING_SHARE = 4
"""One in this many request places is open to requests that are likely to hang."""

RESERVED_SHARE = 4
"""One in this many request places is kept for requests that are likely to be answered soon."""

SLOW = 1.0
"""Seconds from which an answer is slow: a poll of many such answers takes as long as an interval."""

EXTRA_POLLS_PER = 4
"""One extra team may poll for every four request places: none leaves places idle at the end of a cycle, many lengthen
garbage collections."""

_DOUBLINGS = 32
"""Enough for every interval to reach MAX_BACKOFF, few enough for a float."""


class TokenBucket:
    """A token every `gap` seconds, with at most `burst` saved up. Mutable: it keeps when the next token is due."""

    def __init__(self, gap: float, burst: float, clock: Callable[[], float]) -> None:
        self._gap = gap
        self._saved = max(0.0, burst - 1) * gap
        self._clock = clock
        self._due = clock() - self._saved

    def wait(self) -> float:
        """Seconds until a token is available; 0 if one is."""
        return max(0.0, self._due - self._clock())

    def take(self) -> None:
        """Take an available token, or the next one in advance."""
        self._due = max(self._due, self._clock() - self._saved) + self._gap


class PollPermit:
    """Allows one team to poll while its context is open. Mutable."""

    def __init__(self, permits: asyncio.Semaphore | None, *, fast: bool) -> None:
        self._permits = permits
        self._fast = fast

    async def __aenter__(self) -> Self:
        if self._permits is not None:
            await self._permits.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release()

    def turned_slow(self) -> None:
        """Let another team poll in place of this one, which turned out to be slow."""
        if self._fast and self._permits is not None:
            permits, self._permits = self._permits, None
            permits.release()


class Pacer:
    """Grants permits to the requests of all teams, first come, first served. Mutable.

    A request first takes a place and then waits for the rate limit, so it starts the moment the rate allows and slow
    answers never build up a burst. A caller that is cancelled while it waits uses up nothing.
    """

    def __init__(
        self,
        rate: float,
        concurrency: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Allow `rate` requests a second, in bursts of one second's worth, and `concurrency` at once."""
        self._bucket = TokenBucket(1 / rate, burst=rate, clock=clock)
        self._sleep = sleep
        self._requests = asyncio.Semaphore(concurrency)
        polls = concurrency + max(1, concurrency // EXTRA_POLLS_PER)
        self._polls, self._slow_polls = asyncio.Semaphore(polls), asyncio.Semaphore(polls)
        self._hanging = asyncio.Semaphore(max(1, concurrency // HANGING_SHARE))
        self._slow = asyncio.Semaphore(max(1, concurrency - max(1, concurrency // RESERVED_SHARE)))
        self._queue = asyncio.Lock()

    def request_permit(self, *, likely_to_hang: bool = False, slow: bool = False) -> AbstractAsyncContextManager[None]:
        """Wait until one request may start; its place is free again when the context ends.

        Args:
            slow: whether the team's answers take long. Such requests leave some places to others, so that a fast team
                among slow ones is polled in time.
            likely_to_hang: whether the team's last request timed out. Such requests share some places, so that
                hanging teams cannot occupy those that others need.
        """
        return self._wait_for_permit(likely_to_hang=likely_to_hang, slow=slow)

    def poll_permit(self, *, likely_to_hang: bool = False, slow: bool = False) -> "PollPermit":
        """Wait until one more team may poll. Few polls run at once, because each keeps in memory what it has read.

        Args:
            likely_to_hang: whether the team's last request timed out. Then only its requests wait, not its poll.
            slow: whether the team's answers take long. Slow teams wait only for each other.
        """
        if likely_to_hang:
            return PollPermit(None, fast=False)
        return PollPermit(self._slow_polls, fast=False) if slow else PollPermit(self._polls, fast=True)

    @asynccontextmanager
    async def _wait_for_permit(self, *, likely_to_hang: bool, slow: bool) -> AsyncIterator[None]:
        hanging = self._hanging if likely_to_hang else nullcontext()
        share = self._slow if likely_to_hang or slow else nullcontext()
        async with hanging, share, self._requests:
            await self._wait_for_pace()
            yield

    async def _wait_for_pace(self) -> None:
        async with self._queue:
            if (wait := self._bucket.wait()) > 0:
                await self._sleep(wait)
            self._bucket.take()


class Backoff:
    """When one collector may poll again after failures. Mutable.

    Attributes:
        interval: seconds between two polls; the pauses are never shorter.
        failures: failed polls in a row.
        until: no poll before this time, by the clock of `failed`; None when not backing off.
    """

    __slots__ = ("_random", "failures", "interval", "until")

    def __init__(self, interval: float, *, random: Callable[[], float]) -> None:
        """Back off from `interval` seconds upwards; `random` returns numbers from 0 to 1."""
        self.interval = interval
        self._random = random
        self.failures = 0
        self.until: float | None = None

    def failed(self, now: float, retry_after: float | None) -> None:
        """Record a failed poll; `retry_after` is the wait that the platform asked for, in seconds."""
        self.failures += 1
        delay = max(retry_after or 0.0, self._spacing())
        self.until = now + delay if delay > 0 else None

    def succeeded(self) -> None:
        """Record a successful poll, after which there is no back-off."""
        self.failures = 0
        self.until = None

    def _spacing(self) -> float:
        """Seconds to wait by our own rules: doubled with each failure, with a random upper half."""
        if self.failures < FAILURES_BEFORE_BACKOFF:
            return 0.0
        doublings = min(self.failures - FAILURES_BEFORE_BACKOFF + 1, _DOUBLINGS)
        ceiling = min(self.interval * 2.0**doublings, MAX_BACKOFF)
        return max(self.interval, ceiling * (1 + self._random()) / 2)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait according to a `Retry-After` header.

    Args:
        value: the header, in seconds or as an HTTP date.
        now: Unix seconds.

    Returns:
        0 to 900 seconds, 0 for a date in the past; None if there is no header or it cannot be parsed.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", value):
        return min(float(value), MAX_RETRY_AFTER)
    moment = parse_http_date(value)
    return None if moment is None else min(max(moment - now, 0.0), MAX_RETRY_AFTER)


def parse_http_date(value: str) -> float | None:
    """Unix seconds of an HTTP date, or None if it is not one. A date without a zone is UTC, the only zone of HTTP."""
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
