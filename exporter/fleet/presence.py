"""Which agents are connected, and which were until recently. The platform lists only connected ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.platform.clock import Moment


@dataclass(frozen=True, slots=True)
class Presence:
    """The agents of one team that have a `connected` series."""

    last_seen: Mapping[str, float] = field(default_factory=dict)
    """When a poll last found each agent listed, by id. Unix seconds of our clock."""
    connected: frozenset[str] = frozenset()
    """Ids of the agents that count as connected."""
    seen_at: Mapping[str, float] = field(default_factory=dict)
    """Like `last_seen`, but in monotonic seconds: agents are forgotten by this, because the wall clock may jump."""

    def updated(  # noqa: PLR0913  findings and rules, all by keyword
        self,
        listed: frozenset[str],
        left_out: frozenset[str],
        now: Moment,
        *,
        complete: bool,
        memory: float,
        limit: int,
        expected: frozenset[str] = frozenset(),
    ) -> "Presence":
        """The presence after a poll.

        Args:
            listed: ids of the agents that the poll found.
            left_out: ids of agents beyond the limit, which have no series but are not gone either.
            now: when it found them.
            complete: whether it read the whole list; if not, agents seen within `memory` stay connected.
            memory: seconds for which a vanished agent is remembered.
            limit: most vanished agents that are remembered; those seen last are kept.
            expected: ids that are never forgotten.
        """
        known = {agent_id: seen for agent_id, seen in self.last_seen.items() if agent_id not in left_out}
        seen_at = {agent_id: self.seen_at.get(agent_id, now.monotonic) for agent_id in known}
        recent = {agent_id for agent_id, seen in seen_at.items() if now.monotonic - seen <= memory}
        connected = listed if complete else listed | (self.connected & recent)
        gone = sorted(recent - connected, key=lambda agent_id: (seen_at[agent_id], agent_id), reverse=True)
        kept = [*gone[:limit], *sorted((expected | connected) & known.keys() - listed)]
        # Sorted so that an unchanged fleet renders to identical bytes.
        here = sorted(listed)
        return Presence(
            last_seen={agent_id: known[agent_id] for agent_id in kept} | dict.fromkeys(here, now.wall),
            connected=connected,
            seen_at={agent_id: seen_at[agent_id] for agent_id in kept} | dict.fromkeys(here, now.monotonic),
        )
