"""The results of the last polls of one list."""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from exporter.errors import PlatformError, explained
from exporter.fleet.snapshots import Coverage
from exporter.platform.clock import Clock
from exporter.platform.pacing import Backoff
from exporter.status import Attempt, CollectorStatus

ATTEMPTS_KEPT: Final = 8
"""How many of the last polls are shown."""

_Attempt = tuple[float, float, int, int | None, str | None, str | None]
"""An `Attempt` as a plain tuple, which the garbage collector does not walk: each team keeps sixteen."""


class History:
    """The polls of one list of one team. Mutable: each poll is recorded here."""

    def __init__(
        self, name: str, interval: float, stale_after: float, *, clock: Clock, random: Callable[[], float]
    ) -> None:
        self.name = name
        self._backoff = Backoff(interval, random=random)
        self._stale_after = stale_after
        self._clock = clock
        self._attempts: deque[_Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self._items: int | None = None
        self._items_reported: int | None = None
        self._truncated: bool | None = None
        self._last_success_at: float | None = None
        self.fresh_until = -inf
        """Until when the data of the last success may be served, in monotonic seconds."""

    def reconfigure(self, interval: float, stale_after: float) -> None:
        """Use another interval from the next poll on, and another maximum age at once."""
        self._backoff.interval = interval
        self.fresh_until += stale_after - self._stale_after
        self._stale_after = stale_after

    @property
    def due(self) -> bool:
        """Whether no back-off delays the next poll."""
        return self._backoff.until is None or self._clock.monotonic() >= self._backoff.until

    def succeeded(self, started: float, coverage: Coverage) -> None:
        """Record a successful poll.

        Args:
            started: when the poll started, in monotonic seconds, like the result.
            coverage: how much it read.
        """
        self._backoff.succeeded()
        self._note(started, coverage.pages, coverage.items, None, None)
        self._items, self._items_reported, self._truncated = coverage.items, coverage.reported, coverage.truncated
        self._last_success_at = self._clock.wall()
        self.fresh_until = self._clock.monotonic() + self._stale_after

    def failed(self, started: float, error: Exception) -> None:
        """Record a failed poll."""
        retry_after = error.retry_after if isinstance(error, PlatformError) else None
        self._backoff.failed(self._clock.monotonic(), retry_after)
        self._note(started, 0, None, *explained(error))

    def _note(self, started: float, pages: int, items: int | None, reason: str | None, words: str | None) -> None:
        duration = self._clock.monotonic() - started
        self._attempts.appendleft((self._clock.wall_time(started), duration, pages, items, reason, words))

    def status(self, held_until: float | None) -> CollectorStatus:
        """The current state; `held_until`, in monotonic seconds, is the team's hold."""
        now = self._clock.monotonic()
        holds = (time for time in (self._backoff.until, held_until) if time is not None and time > now)
        until = max(holds, default=None)
        attempts = tuple(Attempt(*each) for each in self._attempts)
        last = attempts[0] if attempts else None
        return CollectorStatus(
            name=self.name,
            interval=self._backoff.interval,
            attempts=attempts,
            success=last is not None and last.reason is None,
            fresh=now < self.fresh_until,
            last_attempt_at=last.started_at if last else None,
            last_success_at=self._last_success_at,
            items=self._items,
            items_reported=self._items_reported,
            truncated=self._truncated,
            failures_in_a_row=self._backoff.failures,
            backoff_until=None if until is None else self._clock.wall_time(until),
        )
