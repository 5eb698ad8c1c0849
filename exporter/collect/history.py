"""How the polls of one list went."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from exporter.collect.result import PollResult
from exporter.errors import PlatformError
from exporter.platform.pacing import Backoff
from exporter.status import Attempt, CollectorStatus

ATTEMPTS_KEPT: Final = 8
INTERNAL: Final = "internal"
"""Reason of a failure that is our own; in no metric's vocabulary, but logged with its traceback."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks: one for people and metrics, one for durations, which nobody sets."""

    wall: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    """Seconds."""

    def wall_time(self, monotonic: float) -> float:
        """The Unix time of a monotonic one, by today's distance between the two."""
        return self.wall() + monotonic - self.monotonic()


class History:
    """The polls of one list of one team. Mutable: each poll is noted here."""

    def __init__(
        self, name: str, interval: float, stale_after: float, clock: Clock, random: Callable[[], float]
    ) -> None:
        self.name = name
        self.backoff = Backoff(interval, random=random)
        self._interval = interval
        self._stale_after = stale_after
        self._clock = clock
        self._attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self._items: int | None = None
        self._reported: int | None = None
        self._truncated: bool | None = None
        self._last_success_at: float | None = None
        self._fresh_until: float | None = None
        self._status: CollectorStatus | None = None
        """The last one told, until something else changes than the time."""

    def reconfigure(self, interval: float, stale_after: float) -> None:
        """Go by another interval and age from the next poll on."""
        self._interval = self.backoff.interval = interval
        self._stale_after = stale_after
        self._status = None

    def succeeded(self, started: float, result: PollResult) -> float:
        """Note a poll that went well; return until when its data is fresh.

        Args:
            started: when, on the monotonic clock; the result is on the same.
            result: what it gave.
        """
        now = self._clock.monotonic()
        self.backoff.succeeded()
        self._note(started, result.pages, result.items, None, None)
        # Not the result itself: its samples are served compressed, and large.
        self._items, self._reported, self._truncated = result.items, result.reported, result.truncated
        self._last_success_at = self._clock.wall()
        self._fresh_until = now + self._stale_after
        return self._fresh_until

    def failed(self, started: float, error: Exception) -> None:
        """Note a poll that failed."""
        retry_after = error.retry_after if isinstance(error, PlatformError) else None
        self.backoff.failed(self._clock.monotonic(), retry_after)
        reason = error.reason if isinstance(error, PlatformError) else INTERNAL
        words = str(error) if isinstance(error, PlatformError) else f"an error of the exporter: {type(error).__name__}"
        self._note(started, 0, None, reason, words)

    def _note(self, started: float, pages: int, items: int | None, reason: str | None, words: str | None) -> None:
        duration = self._clock.monotonic() - started
        self._attempts.appendleft(Attempt(self._clock.wall_time(started), duration, pages, items, reason, words))
        self._status = None

    def status(self, held_until: float | None) -> CollectorStatus:
        """What is known now; `held_until`, monotonic, is the team's own hold."""
        now = self._clock.monotonic()
        until = max(
            (time for time in (self.backoff.until, held_until) if time is not None and time > now), default=None
        )
        fresh = self._fresh_until is not None and now < self._fresh_until
        backoff_until = None if until is None else self._clock.wall_time(until)
        known = self._status
        if known is None or (known.fresh, known.backoff_until) != (fresh, backoff_until):
            known = self._status = CollectorStatus(
                name=self.name,
                interval=self._interval,
                attempts=tuple(self._attempts),
                success=bool(self._attempts) and self._attempts[0].reason is None,
                fresh=fresh,
                last_attempt_at=self._attempts[0].started_at if self._attempts else None,
                last_success_at=self._last_success_at,
                items=self._items,
                items_reported=self._reported,
                truncated=self._truncated,
                failures_in_a_row=self.backoff.failures,
                backoff_until=backoff_until,
            )
        return known
