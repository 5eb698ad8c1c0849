"""What the collectors of one team share."""

import pytest

from exporter.collect.context import Hold
from exporter.platform.pacing import MAX_RETRY_AFTER
from fixtures import FakeClock


def test_nothing_is_held_at_first() -> None:
    """Before the platform asks for a wait, nothing is held back."""
    hold = Hold(FakeClock().clock)
    hold.extend(None)
    assert (hold.over, hold.until) == (True, None)


@pytest.mark.parametrize("seconds", [(600.0, 5.0), (5.0, 600.0)])
def test_the_longest_wait_counts(seconds: tuple[float, float]) -> None:
    """A shorter wait never replaces a longer one, in whichever order they are requested."""
    clock = FakeClock()
    hold = Hold(clock.clock)
    for each in seconds:
        hold.extend(each)
    clock.advance(599.9)
    assert not hold.over
    clock.advance(0.1)
    assert hold.over


def test_a_wait_begins_when_it_is_asked_for() -> None:
    """A repeated wait counts from its own request."""
    clock = FakeClock()
    hold = Hold(clock.clock)
    hold.extend(60.0)
    clock.advance(59.0)
    hold.extend(MAX_RETRY_AFTER)
    clock.advance(MAX_RETRY_AFTER - 0.1)
    assert not hold.over
    clock.advance(0.1)
    assert hold.over
