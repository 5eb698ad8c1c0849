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
    """The configured expiry of a credential that does not carry it, in Unix seconds."""
    agents: AgentRules
    workflows: int = 0
    """How many workflows have series of their own."""


class Hold:
    """Until when the platform asked us to wait, in monotonic seconds. Mutable."""

    def __init__(self, clock: Clock) -> None:
        self.until: float | None = None
        self._clock = clock

    def extend(self, seconds: float | None) -> None:
        """Hold back for this many seconds from now, unless the current hold lasts longer; None changes nothing."""
        if seconds is not None:
            until = self._clock.monotonic() + seconds
            self.until = max(until, self.until or until)

    @property
    def over(self) -> bool:
        """Whether nothing is held back now."""
        return self.until is None or self._clock.monotonic() >= self.until


@dataclass(slots=True, kw_only=True)
class TeamContext:
    """What a team's collectors need. Mutable: a reload replaces the rules and the client.

    Attributes:
        hold: shared, because a wait that the platform asks for concerns the credential and so all lists.
        retired: whether the team is gone, or its name now belongs to another one; then nothing is published any more.
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
        """All paths that will be requested."""
        return (*self.client.paths, *((paths.WORKFLOWS,) if self.rules.workflows else ()))

    @property
    def latest_now(self) -> float:
        """The later of our clock and the platform's, in Unix seconds; infinite before the platform's first `Date`."""
        return inf if self.counters.skew is None else self.clock.wall() + max(0.0, self.counters.skew)

    def internal_error(self, operation: Operation, error: Exception) -> None:
        """Log and count a bug of ours, which must not end other polls."""
        self.counters.internal_error(operation)
        fields = {"team_name": self.rules.name, "operation": operation.value}
        _log.error("internal error during a poll", exc_info=error, extra=fields)

    def publish(self, scope: Scope, families: CompressedFamilies, fresh_until: float | None) -> None:
        """Serve the families until that time; if None, for as long as any other data of the team."""
        if not self.retired:
            self.store.put(self.rules.name, scope, families, fresh_until)
