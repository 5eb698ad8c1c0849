"""How fast, how many at once, and when to leave the platform alone for a while.

Both objects here are mutable. Times are seconds of one monotonic or Unix clock that the caller chooses and keeps to.
"""

import asyncio
import email.utils
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC

MAX_RETRY_AFTER = 900.0
"""Seconds; a platform that asks for more is asked again after these."""

MAX_BACKOFF = 300.0
"""Seconds; only an interval that is longer itself is above."""

PATIENCE = 3
"""Failures in a row from which the polls of a collector are spaced out."""

SUSPECTS = 4
"""One place in so many is open to requests that are likely to hang."""

SPARE = 4
"""For so many places one team more is polled at once: with none, the last teams would leave most places idle, and with
many, what their polls hold would make garbage collections long."""

_DOUBLINGS = 32
"""Enough for every interval to reach the limit, few enough for a float."""


class Pacer:
    """The pace of all requests of all teams. Mutable. First come, first served; a waiter that gives up costs nothing.

    The concurrency is taken first and the pace second: a permit of the pace is used the moment it is given, so a
    burst never builds up behind slow answers.
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
        self._gap = 1 / rate
        self._ahead = max(0.0, 1 - self._gap)
        self._due = clock() - self._ahead
        self._clock = clock
        self._sleep = sleep
        self._places = asyncio.Semaphore(concurrency)
        self._turns = asyncio.Semaphore(concurrency + max(1, concurrency // SPARE))
        self._suspects = asyncio.Semaphore(max(1, concurrency // SUSPECTS))
        self._queue = asyncio.Lock()

    def slot(self, *, suspect: bool = False) -> AbstractAsyncContextManager[None]:
        """Wait until one request may start; the place is free again when the context ends.

        Args:
            suspect: whether the request is likely to hang. Such requests share a part of the places, so that teams
                that hang cannot hold those that the others need.
        """
        return self._slot(suspect=suspect)

    def turn(self, *, suspect: bool = False) -> AbstractAsyncContextManager[object]:
        """Wait until one more team may be polled: what a poll has read so far is held until it ends.

        Args:
            suspect: whether its requests are likely to hang. It waits in its requests then, not here.
        """
        return nullcontext() if suspect else self._turns

    @asynccontextmanager
    async def _slot(self, *, suspect: bool) -> AsyncIterator[None]:
        async with self._suspects if suspect else nullcontext(), self._places:
            await self._turn()
            yield

    async def _turn(self) -> None:
        """A token bucket told by time: a token is due every gap, and at most a second's worth may lie unused."""
        async with self._queue:
            early = self._due - self._clock()
            if early > 0:
                await self._sleep(early)
            self._due = max(self._due, self._clock() - self._ahead) + self._gap


class Backoff:
    """When one collector may ask again. Mutable.

    Attributes:
        interval: seconds between two polls, below which it never goes.
        failures: failed polls in a row.
        until: no poll before this time, on the clock of `failed`; None when not backing off.
    """

    __slots__ = ("_random", "failures", "interval", "until")

    def __init__(self, interval: float, *, random: Callable[[], float]) -> None:
        """Back off around `interval` seconds; `random` gives numbers from 0 to 1."""
        self.interval = interval
        self._random = random
        self.failures = 0
        self.until: float | None = None

    def failed(self, now: float, retry_after: float | None) -> None:
        """Note a failed poll; `retry_after` is what the platform asked for, in seconds."""
        self.failures += 1
        asked = min(retry_after or 0.0, MAX_RETRY_AFTER)
        delay = max(asked, self._spacing())
        self.until = now + delay if delay > 0 else None

    def succeeded(self) -> None:
        """Note a poll that went well: the next one comes at the interval."""
        self.failures = 0
        self.until = None

    def _spacing(self) -> float:
        """Seconds from our own rules: doubled with each failure, the upper half of it by chance."""
        if self.failures < PATIENCE:
            return 0.0
        doublings = min(self.failures - PATIENCE + 1, _DOUBLINGS)
        ceiling = min(self.interval * 2.0**doublings, MAX_BACKOFF)
        return max(self.interval, ceiling * (1 + self._random()) / 2)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait according to a `Retry-After` header.

    Args:
        value: the header, in seconds or as an HTTP date.
        now: Unix seconds.

    Returns:
        0 to 900 seconds, 0 for a date gone by; None when there is no header or it means nothing.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", value):
        return min(float(value), MAX_RETRY_AFTER)
    moment = parse_http_date(value)
    return None if moment is None else min(max(moment - now, 0.0), MAX_RETRY_AFTER)


def parse_http_date(value: str) -> float | None:
    """Unix seconds of an HTTP date; None when it is none. A date without a zone is in UTC, as HTTP has no other."""
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
