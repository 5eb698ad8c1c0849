"""Events in the order of simulated time."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Timeline:
    """The queue of future events. Mutable.

    Every event sees its own time as `now`, so the result does not depend on the steps in which time advances.

    Attributes:
        now: time of the current event, in Unix seconds.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Schedule an event this many seconds from `now`."""
        heappush(self._events, (self.now + seconds, next(self._order), event))

    def advance(self, to: float) -> None:
        """Run all events that are due by this time; a time in the past changes nothing."""
        while self._events and self._events[0][0] <= to:
            self.now, _, event = heappop(self._events)
            event()
