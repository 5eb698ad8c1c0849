"""Which agents have series of their own under a limit."""

from exporter.fleet.agents import Agent
from exporter.fleet.roster import Roster


def enter(roster: Roster, ids: str) -> tuple[str, str]:
    admitted, left_out = roster.enter(Agent(agent_id=agent_id) for agent_id in ids)
    return "".join(agent.agent_id for agent in admitted), "".join(agent.agent_id for agent in left_out)


def test_first_come_first_served() -> None:
    """Without earlier agents, the first ones of the list have series."""
    roster = Roster(frozenset(), 2)
    assert enter(roster, "ab") == ("ab", "")
    assert enter(roster, "cd") == ("", "cd")
    assert (roster.exposed, roster.left_out, len(roster)) == ({"a", "b"}, {"c", "d"}, 4)


def test_each_agent_enters_once() -> None:
    """An agent that is listed again, whether exposed or left out, is ignored."""
    roster = Roster(frozenset(), 1)
    enter(roster, "ab")
    assert enter(roster, "ab") == ("", "")
    assert len(roster) == 2


def test_places_are_kept() -> None:
    """Agents exposed before stay so, wherever they are in the list; new ones get the remaining places."""
    roster = Roster(frozenset("yz"), 3)
    assert enter(roster, "abyz") == ("ayz", "b")


def test_places_are_kept_for_those_not_listed_yet() -> None:
    """A place is reserved while its agent may still be on a later page."""
    roster = Roster(frozenset("z"), 1)
    assert enter(roster, "a") == ("", "a")
    assert enter(roster, "z") == ("z", "")


def test_a_lower_limit_counts_for_all() -> None:
    """When the limit was lowered, agents exposed before lose their places too."""
    roster = Roster(frozenset("abc"), 2)
    assert enter(roster, "abcd") == ("ab", "cd")


def test_nobody_is_exposed_with_a_limit_of_none() -> None:
    """A limit of 0 leaves all agents out."""
    assert enter(Roster(frozenset("a"), 0), "ab") == ("", "ab")
