"""What the collectors of one team share."""

import logging
from dataclasses import dataclass
from math import inf

from exporter.catalog import Operation, Scope
from exporter.collect.agents import AgentRules
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import CompressedFamilies, SeriesStore
from exporter.platform import paths
from exporter.platform.clock import Clock
from exporter.platform.credentials import TokenSource
from exporter.platform.team import TeamClient

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRules:
    """What the configuration says about one team."""

    name: str
    team_id: str | None
    interval: float
    stale_after: float
    token_expires: float | None
    """When its credential expires, in Unix seconds, as configured for one that does not carry its expiry."""
    agents: AgentRules
    workflows: int = 0
    """How many workflows have series of their own."""


class Hold:
    """Until when the platform asked us to wait. Mutable; monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self.until: float | None = None
        self._clock = clock

    def extend(self, seconds: float | None) -> None:
        """Hold back for this long from now, unless an earlier request lasts longer; None changes nothing."""
        if seconds is not None:
            until = self._clock.monotonic() + seconds
            self.until = max(until, self.until or until)

    @property
    def over(self) -> bool:
        """Whether nothing is held back now."""
        return self.until is None or self._clock.monotonic() >= self.until


@dataclass(slots=True, kw_only=True)
class TeamContext:
    """A team as its collectors know it. Mutable: a reload replaces the rules and the client.

    Attributes:
        hold: a wait that the platform asks for concerns the credential, so all lists respect it.
        retired: the team is gone, or another one has its name; nothing is published after that.
    """

    rules: TeamRules
    client: TeamClient
    credential: TokenSource
    store: SeriesStore
    counters: ApiCounters
    clock: Clock
    hold: Hold
    retired: bool = False

    @property
    def may_manage(self) -> bool:
        """Whether the credential is accepted on management paths."""
        return self.credential.kind != "integration"

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that will be requested."""
        return (*self.client.paths, *((paths.WORKFLOWS,) if self.rules.workflows else ()))

    @property
    def latest_now(self) -> float:
        """Unix seconds that neither our clock nor the platform's, by its last `Date`, has reached yet.

        Infinite before the first `Date`.
        """
        return inf if self.counters.skew is None else self.clock.wall() + max(0.0, self.counters.skew)

    def internal_error(self, operation: Operation, error: Exception) -> None:
        """Log and count our own mistake, which must not end other polls."""
        self.counters.internal_error(operation)
        fields = {"team_name": self.rules.name, "operation": operation.value}
        _log.error("internal error during a poll", exc_info=error, extra=fields)

    def publish(self, scope: Scope, families: CompressedFamilies, fresh_until: float | None) -> None:
        """Serve the families until that time; None: as long as any other data of the team."""
        if not self.retired:
            self.store.put(self.rules.name, scope, families, fresh_until)
