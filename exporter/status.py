"""The state of all polls at one moment, as immutable values that are computed on demand.

They are the only source of the metrics about the exporter, the status page, its JSON form and the exit code of `once`.
Times are Unix seconds of our own clock, durations seconds. None means "not known" or "does not apply".
"""

from dataclasses import dataclass
from typing import Final

NOTABLE_SKEW: Final = 5.0
"""Seconds between the platform's clock and ours from which we warn: ages of tasks are wrong by that much."""


@dataclass(slots=True)
class Attempt:
    """One poll of one collector, as the status page lists it. Not `frozen`, which makes it thrice as slow to build."""

    started_at: Final[float]
    duration: Final[float]
    pages: Final[int]
    items: Final[int | None]
    """Items read; None when the poll failed."""
    reason: Final[str | None]
    """Why it failed, from `exporter.errors.REASONS`; None when it succeeded."""
    error: Final[str | None]
    """The same in words, free of credentials; may contain text from the platform, so escape it."""


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """One list of one team: `tasks` or `agents`."""

    name: str
    interval: float
    attempts: tuple[Attempt, ...]
    """The last polls, newest first."""
    success: bool
    """Whether the last poll succeeded; False before the first."""
    fresh: bool
    """Whether its data may be served now."""
    last_attempt_at: float | None
    last_success_at: float | None
    items: int | None
    """Items read in the last successful poll."""
    items_reported: int | None
    """The total that the platform reported."""
    truncated: bool | None
    failures_in_a_row: int
    backoff_until: float | None
    """Not polled before this time; None when not backing off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStatus:
    """The last attempt to read a team's quotas, which are optional."""

    limits: int
    """How many were found."""
    reason: str | None = None
    """Why they could not be read, as in `Attempt`; None when they could."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """A summary of a team's fresh data. None means not known, or too old to be served."""

    tasks_waiting: int | None = None
    """Not started yet: pending, waiting or queued."""
    tasks_running: int | None = None
    agents: int | None = None
    """Connected agents."""
    gpus_in_use: int | None = None
    """Tasks running on agents, as the agents report them."""
    gpu_capacity: int | None = None
    """GPUs that agents offer, as the agents report them."""


@dataclass(frozen=True, slots=True)
class TeamStatus:
    """One team, configured or discovered."""

    name: str
    team_id: str | None
    credential_kind: str
    """integration, device or jwt."""
    collectors: tuple[CollectorStatus, ...]
    next_poll_at: float | None
    """None while a poll is under way."""
    credential_loaded_at: float | None
    credential_expires_at: float | None
    series: int
    """Domain series served now."""
    series_dropped: int
    """Domain series left out because of a limit at the last poll."""
    fleet: FleetStatus = FleetStatus()
    quotas: QuotaStatus | None = None
    """None before the first attempt, and for keys that cannot read quotas."""
    provisioning_filtered: bool | None = None
    """Whether the platform filters tasks by `provisioning`; None before the first attempt."""
    totals_ignore_filter: bool = False
    """Whether the totals of filtered lists were found to count all tasks; lists are then counted by their pages."""

    @property
    def up(self) -> bool:
        """Whether every collector's last poll succeeded and its data is fresh."""
        return all(c.success and c.fresh for c in self.collectors)

    @property
    def attempted(self) -> bool:
        """Whether every collector was tried at least once."""
        return all(c.last_attempt_at is not None for c in self.collectors)

    @property
    def backoff_until(self) -> float | None:
        """The latest time until which one of its collectors is held back; None when none is."""
        return max((c.backoff_until for c in self.collectors if c.backoff_until is not None), default=None)


@dataclass(frozen=True, slots=True)
class LeftOutTeam:
    """A discovered team that should be polled but cannot be."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class DiscoveryStatus:
    """One credential whose teams are discovered."""

    name: str
    success: bool
    """Whether the last attempt succeeded; False before the first."""
    last_attempt_at: float | None
    last_success_at: float | None
    reason: str | None
    """Why the last attempt failed, from `exporter.errors.REASONS`; None when it succeeded."""
    error: str | None
    """The error message, as in `Attempt`."""
    polled: int
    """Teams found that are polled."""
    left_out: tuple[LeftOutTeam, ...]
    """Teams found that are wanted but cannot be polled."""
    not_wanted: int
    """Teams found that the patterns exclude."""


@dataclass(frozen=True, slots=True)
class ExporterStatus:
    """The exporter process."""

    version: str
    now: float
    started_at: float
    stale_after: float
    clock_skew: float | None
    """The platform's clock minus ours, from its last `Date` header."""
    teams: tuple[TeamStatus, ...]
    log_lines_dropped: int = 0
    """Log lines that were lost because nobody read them in time."""
    discovered: bool = True
    """Whether the teams of every discovery were requested at least once."""
    last_reload_ok: bool = True
    """Whether the last attempt to load the configuration succeeded."""
    last_reload_ok_at: float | None = None
    discoveries: tuple[DiscoveryStatus, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether each team's first poll and each discovery's first request were attempted."""
        return self.discovered and all(team.attempted for team in self.teams)
