"""Relates a team's tasks to its agents, which neither list shows on its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What the last snapshots of both lists show together. None means unknown."""

    without_eligible_agent: int | None
    """Waiting tasks that no connected agent can take."""
    on_absent_agents: int | None
    """Running tasks whose agent is not listed."""
    failed: Mapping[str, int]
    """Failed tasks by agent, for each listed agent that has series of its own."""


def assignment(tasks: TasksSnapshot, agents: AgentsSnapshot) -> Assignment:
    """Compare both lists, each as last read."""
    complete = not tasks.coverage.truncated and not agents.coverage.truncated
    failed, seen = tasks.timings.tallies.failed, agents.presence.last_seen
    return Assignment(
        without_eligible_agent=without_eligible_agent(tasks.required_labels, agents.label_sets),
        on_absent_agents=_absent(tasks.running_on, agents.listed) if complete else None,
        # The agents in `seen` are already sorted; sorting a large fleet again would stall the event loop.
        failed={agent_id: failed.get(agent_id, 0) for agent_id in seen if agent_id in agents.presence.connected},
    )


def without_eligible_agent(
    required: Mapping[frozenset[str], int] | None, offered: Iterable[frozenset[str]] | None
) -> int | None:
    """How many tasks no agent can take; None when that is unknown.

    Args:
        required: how many tasks require each set of labels; None when no task states any.
        offered: the label sets of the connected agents; None when they are not known. An agent is eligible when its
            set holds all required ones.
    """
    if required is None or offered is None:
        return None
    offered = tuple(offered)
    return sum(count for labels, count in required.items() if not any(labels <= has for has in offered))


def _absent(running_on: Mapping[str, int], listed: frozenset[str]) -> int:
    return sum(count for agent_id, count in running_on.items() if agent_id not in listed)
