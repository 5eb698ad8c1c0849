"""Two clocks: wall time for people and metrics, which may jump, and monotonic time for durations, which never does."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)

monotonic: Final[Callable[[], float]] = time.monotonic if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME)
"""Seconds that also pass while the machine is suspended, where the system has such a clock (Linux)."""


class Moment(NamedTuple):
    """The same moment on both clocks."""

    wall: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock and a monotonic clock."""

    wall: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    """Seconds."""

    def now(self) -> Moment:
        """This moment."""
        return Moment(self.wall(), self.monotonic())

    def wall_time(self, monotonic: float) -> float:
        """The Unix time of a monotonic time, by the current difference of the two clocks."""
        return self.wall() + monotonic - self.monotonic()


CLOCK: Final = Clock(time.time, monotonic)
"""For everything except timers. It advances while the machine is suspended, so old data counts as old."""
AWAKE: Final = Clock(time.time, time.monotonic)
"""Advances like the event loop's timers, for work that a timer starts."""
