"""`provisioning`: a status that the platform documents on its concept page, but not as a value of the filter.

Where the filter accepts it, it is an active status like the others. Where it does not, such tasks appear only in the
unfiltered list, so its total is compared with the sum of the other statuses from time to time.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from exporter.errors import ClientRefused, Expected, RequestTimeout, SchemaMismatch, ServerFailed
from exporter.platform.clock import Clock

INTERVAL: Final = 3600.0
"""Seconds until a refused filter is tried again."""
LOOK_EVERY: Final = 10
"""The unfiltered list is requested at every poll of this number."""
REFUSALS: Final = (ClientRefused, SchemaMismatch, ServerFailed, RequestTimeout)
"""How platforms answer an unknown filter value: with an error, or with tasks of any status."""


class ProvisioningFilter:
    """How one team's platform treats the filter. Mutable.

    Attributes:
        accepted: whether it filters; None before the first attempt.
        beyond: the number of tasks that no filter shows, by the last two comparisons; None while unknown.
    """

    def __init__(self, clock: Clock) -> None:
        self.accepted: bool | None = None
        self.beyond: int | None = None
        self._clock = clock
        self._ask_at = 0.0
        self._polls_until_look = 0
        self._last_difference: int | None = None

    @property
    def worth_asking(self) -> bool:
        """Whether to filter by it in this poll."""
        return self.accepted is True or self._clock.monotonic() >= self._ask_at

    @property
    def expected(self) -> Expected:
        """Failures that mean that the filter is not accepted; fewer once it was accepted, as others are temporary."""
        return (ClientRefused, SchemaMismatch) if self.accepted else REFUSALS

    def note(self, *, accepted: bool) -> None:
        """Remember how the platform answered."""
        self.accepted = accepted
        if accepted:
            self.beyond = self._last_difference = None
        else:
            self._ask_at = self._clock.monotonic() + INTERVAL

    async def unfiltered_total(self, ask: Callable[[], Awaitable[int]]) -> int | None:
        """How many tasks there are in any status; None in polls that do not request it.

        It is requested before the filtered lists, so tasks created meanwhile make the difference smaller, not larger.
        """
        if self.accepted is not False:
            return None
        if self._polls_until_look > 0:
            self._polls_until_look -= 1
            return None
        total = await ask()
        self._polls_until_look = LOOK_EVERY - 1
        return total

    def compare(self, unfiltered: int, filtered: int) -> int:
        """Record and return how many tasks no filter shows, from the totals of one poll.

        The smaller of the last two differences is used, because old tasks may be removed during a poll.
        """
        difference = max(0, unfiltered - filtered)
        before = difference if self._last_difference is None else self._last_difference
        beyond = min(difference, before)
        self.beyond, self._last_difference = beyond, difference
        return beyond
