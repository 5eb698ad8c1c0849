import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.presence import Presence
from exporter.platform.clock import Moment

NONE = frozenset[str]()


def after(presence: Presence, listed: str, now: float, *, left_out: str = "", complete: bool = True) -> Presence:
    """A poll that found agents with one-letter ids; ten seconds of memory, at most three former agents."""
    found, beyond = frozenset(listed), frozenset(left_out)
    return presence.updated(found, beyond, Moment(now, now), complete=complete, memory=10.0, limit=3)


def state(presence: Presence) -> tuple[str, str]:
    """Who is connected, and who is remembered as gone."""
    gone = presence.last_seen.keys() - presence.connected
    return "".join(sorted(presence.connected)), "".join(sorted(gone))


def test_nobody_yet() -> None:
    """Before the first poll no agent was seen."""
    assert state(Presence()) == ("", "")


def test_listed_agents_are_connected() -> None:
    """Listed agents are connected and were seen now."""
    presence = after(Presence(), "ba", 100.0)
    assert state(presence) == ("ab", "")
    assert presence.last_seen == {"a": 100.0, "b": 100.0}


def test_vanished_agent_is_gone_at_once_with_its_last_time() -> None:
    """An agent that is no longer listed is gone, and keeps the time when it was last seen."""
    presence = after(after(Presence(), "ab", 100.0), "b", 105.0)
    assert state(presence) == ("b", "a")
    assert presence.last_seen == {"a": 100.0, "b": 105.0}


@pytest.mark.parametrize(("now", "gone"), [(110.0, "a"), (110.5, "")])
def test_memory_ends(now: float, gone: str) -> None:
    """A vanished agent is remembered exactly as long as configured."""
    assert state(after(after(Presence(), "ab", 100.0), "b", now)) == ("b", gone)


def test_return() -> None:
    """An agent that returns is connected again."""
    presence = after(after(after(Presence(), "a", 100.0), "", 105.0), "a", 108.0)
    assert state(presence) == ("a", "")
    assert presence.last_seen == {"a": 108.0}


def test_only_the_latest_gone_are_remembered() -> None:
    """The number of remembered agents is limited; those seen last are kept."""
    presence = Presence()
    for i, letter in enumerate("abcdef"):
        presence = after(presence, letter, 100.0 + i)
    assert state(presence) == ("f", "cde")


def test_nobody_vanishes_in_a_walk_that_did_not_see_all() -> None:
    """After a truncated read, missing agents stay connected, with the time when they were really seen."""
    presence = after(after(Presence(), "ab", 100.0), "bc", 105.0, complete=False)
    assert state(presence) == ("abc", "")
    assert presence.last_seen == {"a": 100.0, "b": 105.0, "c": 105.0}


def test_gone_stay_gone_in_a_truncated_walk() -> None:
    """A truncated read does not make a former agent connected again."""
    presence = after(after(after(Presence(), "ab", 100.0), "b", 101.0), "b", 102.0, complete=False)
    assert state(presence) == ("b", "a")


def test_walks_that_never_see_all_keep_nobody_for_ever() -> None:
    """If every read is truncated, an agent that is never found again is forgotten after the memory time."""
    presence = after(Presence(), "ab", 100.0)
    for now in range(101, 112):
        presence = after(presence, "b", float(now), complete=False)
        assert state(presence) == ("ab" if now <= 110 else "b", "")


def test_left_out_agents_are_neither_connected_nor_gone() -> None:
    """An agent that is listed but has no series because of a limit does not look as if it were gone."""
    presence = after(after(Presence(), "ab", 100.0), "b", 101.0)
    assert state(presence) == ("b", "a")
    assert state(after(presence, "b", 102.0, left_out="a")) == ("b", "")


def test_order_is_that_of_the_names() -> None:
    """The same fleet gives the same bytes, whatever the order of the list."""
    names = [f"agent-{i:03}" for i in range(300)]
    presence = Presence().updated(frozenset(names), NONE, Moment(1.0, 1.0), complete=True, memory=1.0, limit=1)
    assert list(presence.last_seen) == names


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcdefgh")), st.booleans()), max_size=30))
def test_any_history(polls: list[tuple[set[str], bool]]) -> None:
    """Whatever happens, listed agents are connected and seen now, and memory is bounded."""
    presence = Presence()
    for i, (listed, complete) in enumerate(polls):
        now = 3.0 * i
        presence = after(presence, "".join(listed), now, complete=complete)
        assert listed <= presence.connected
        assert not complete or listed == presence.connected
        assert presence.connected <= presence.last_seen.keys()
        assert len(presence.last_seen) - len(presence.connected) <= 3
        assert all(now - seen <= 10.0 for seen in presence.last_seen.values())
        assert all(presence.last_seen[agent] == now for agent in listed)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_is_set_forgets_nobody(jump: float) -> None:
    """Agents are forgotten by the monotonic clock; the time when they were seen is wall-clock time."""
    first = Presence().updated(frozenset("ab"), NONE, Moment(1e9, 0.0), complete=True, memory=10.0, limit=3)
    gone = first.updated(frozenset("a"), NONE, Moment(1e9 + jump, 9.0), complete=True, memory=10.0, limit=3)
    assert (state(gone), gone.last_seen) == (("a", "b"), {"a": 1e9 + jump, "b": 1e9})
    late = gone.updated(frozenset("a"), NONE, Moment(1e9 + jump, 11.0), complete=True, memory=10.0, limit=3)
    assert state(late) == ("a", "")
