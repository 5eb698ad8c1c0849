"""`provisioning`: a status that the platform's documentation names on its concept page, but not for the filter.

Where the filter is accepted it is an active status like the others. Where it is not, such tasks are in the unfiltered
list alone: what that holds beyond the statuses that can be asked for is counted, now and then.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from exporter.errors import ClientRefused, Expected, RequestTimeout, SchemaMismatch, ServerFailed
from exporter.platform.clock import Clock

INTERVAL: Final = 3600.0
"""Seconds until a filter that was refused is tried again."""
LOOK_EVERY: Final = 10
"""Polls from one look at the unfiltered list to the next."""
REFUSALS: Final = (ClientRefused, SchemaMismatch, ServerFailed, RequestTimeout)
"""How platforms answer a filter that they do not know: with an error, or with tasks of any status."""


class ProvisioningFilter:
    """What one team's platform makes of the filter. Mutable.

    Attributes:
        accepted: whether it filters; None before it was asked.
        beyond: tasks that no filter shows, by the last looks; None while unknown.
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
        """Failures that only say that the filter is not accepted; once it was, only what contradicts that."""
        return (ClientRefused, SchemaMismatch) if self.accepted else REFUSALS

    def note(self, *, accepted: bool) -> None:
        """Remember how the platform answered."""
        self.accepted = accepted
        if accepted:
            self.beyond = self._last_difference = None
        else:
            self._ask_at = self._clock.monotonic() + INTERVAL

    async def unfiltered_total(self, ask: Callable[[], Awaitable[int]]) -> int | None:
        """How many tasks there are whatever their status; None in polls that do not look.

        It is asked before the filtered lists: tasks that are created meanwhile make the difference smaller, not larger.
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
        """Note and return how many tasks no filter shows, by the totals of a poll that looked.

        The smaller difference of two looks counts: old tasks may be removed during one.
        """
        difference = max(0, unfiltered - filtered)
        before = difference if self._last_difference is None else self._last_difference
        beyond = min(difference, before)
        self.beyond, self._last_difference = beyond, difference
        return beyond
