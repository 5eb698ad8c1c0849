"""Chooses the listed agents that have series of their own, within a limit."""

from collections.abc import Iterable

from exporter.fleet.agents import Agent


class Roster:
    """The agents of one read of the list, without duplicates. Mutable: they are added page by page.

    Agents that already have series keep them, so the limit does not make series flap; free places go to new agents.

    Attributes:
        exposed: ids of the agents that have series of their own.
        left_out: ids of the agents beyond the limit.
    """

    def __init__(self, exposed_before: frozenset[str], limit: int) -> None:
        self.exposed: set[str] = set()
        self.left_out: set[str] = set()
        self._exposed_before = exposed_before
        self._limit = limit
        self._free = limit - len(exposed_before)

    def __len__(self) -> int:
        return len(self.exposed) + len(self.left_out)

    def enter(self, agents: Iterable[Agent]) -> tuple[list[Agent], list[Agent]]:
        """Add new agents and return them: those to expose and those left out."""
        admitted, refused = [], []
        for agent in agents:
            if agent.agent_id in self.exposed or agent.agent_id in self.left_out:
                continue
            if self._has_place(agent.agent_id):
                self.exposed.add(agent.agent_id)
                admitted.append(agent)
            else:
                self.left_out.add(agent.agent_id)
                refused.append(agent)
        return admitted, refused

    def _has_place(self, agent_id: str) -> bool:
        if agent_id in self._exposed_before:
            return len(self.exposed) < self._limit  # a reload may have lowered the limit
        self._free -= 1
        return self._free >= 0
