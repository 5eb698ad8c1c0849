"""Which agents are connected, and which were until recently. The platform only lists those that are."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Presence:
    """The agents of one team that have a `connected` series."""

    last_seen: Mapping[str, float] = field(default_factory=dict)
    """By agent id, when a poll last found it listed. Unix seconds of our clock."""
    connected: frozenset[str] = frozenset()
    """Ids of those that count as connected now."""

    def updated(  # noqa: PLR0913  what was found, and the rules by name
        self,
        listed: frozenset[str],
        left_out: frozenset[str],
        now: float,
        *,
        complete: bool,
        memory: float,
        limit: int,
        expected: frozenset[str] = frozenset(),
    ) -> "Presence":
        """The presence after a poll.

        Args:
            listed: ids of the agents it found.
            left_out: ids of agents it found beyond the limit: they have no series, but are not gone either.
            now: Unix seconds of our clock.
            complete: whether it saw the whole list; if not, agents seen within `memory` stay connected.
            memory: seconds for which a vanished agent is remembered.
            limit: how many vanished agents are remembered at most; those seen last are kept.
            expected: ids that are never forgotten.
        """
        known = {agent_id: seen for agent_id, seen in self.last_seen.items() if agent_id not in left_out}
        recent = {agent_id: seen for agent_id, seen in known.items() if now - seen <= memory}
        connected = listed if complete else listed | (self.connected & recent.keys())
        gone = sorted(
            ((seen, agent_id) for agent_id, seen in recent.items() if agent_id not in connected), reverse=True
        )
        last_seen = {agent_id: seen for seen, agent_id in gone[:limit]}
        # Sorted so that an unchanged fleet renders to identical bytes.
        last_seen |= {agent_id: known[agent_id] for agent_id in sorted((expected | connected) & known.keys() - listed)}
        last_seen |= dict.fromkeys(sorted(listed), now)
        return Presence(last_seen, connected)
