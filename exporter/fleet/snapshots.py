"""What one complete poll of a list shows: everything that is exposed of it, as one frozen value."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from exporter.catalog import OTHER, UNSTARTED_TASK_STATUSES
from exporter.fleet.activity import ActiveStatusScan
from exporter.fleet.finished import FinalStatusScan
from exporter.fleet.presence import Presence
from exporter.fleet.tasks import oldest
from exporter.fleet.timings import Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of its list a poll read, and whether that can be all."""

    pages: int
    items: int
    """Read, each counted once."""
    reported: int
    """What the platform said there were."""
    truncated: bool
    """The totals do not add up, or a bound was hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksSnapshot:
    """A team's tasks. Times are Unix seconds of the platform's clock."""

    coverage: Coverage
    counts: Mapping[str, int]
    """Tasks by status; OTHER only while it is known."""
    oldest_created: Mapping[str, float | None]
    """When the oldest task of each status that was not started yet was created."""
    oldest_started: float | None
    """When the running task that started first did so."""
    required_labels: Mapping[frozenset[str], int] | None
    """How many of the waiting tasks that were read require each set of labels; None when tasks wait and none of those
    read says what it requires. Where the platform fills in labels on assignment only, that is always so."""
    retrying: int
    """Active tasks that were read and have a retry behind them."""
    running_on: Mapping[str, int]
    """How many of the running tasks that were read run on each agent, where they say so."""
    timings: Timings
    unknown: Counter[str]
    """How many times of finished or started tasks contradict each other, by field."""


def tasks_snapshot(
    active: Mapping[str, ActiveStatusScan],
    final: Mapping[str, FinalStatusScan],
    before: Timings,
    beyond: int | None = None,
    workflows: int = 0,
) -> TasksSnapshot:
    """Put together what one poll read.

    Args:
        active: by active status.
        final: by final status.
        before: the timings until now.
        beyond: tasks whose status cannot be asked for; None while unknown.
        workflows: how many workflows are told apart.
    """
    advance = before.advanced(active, final, workflows)
    counts = {status: scan.total for status, scan in active.items()}
    counts |= {status: scan.total for status, scan in final.items()}
    counts |= {} if beyond is None else {OTHER: beyond}
    created = {status: oldest(task.created_at for task in active[status].tasks) for status in UNSTARTED_TASK_STATUSES}
    return TasksSnapshot(
        coverage=_coverage(active.values(), final.values()),
        counts=counts,
        oldest_created=created,
        oldest_started=oldest(task.started_at for task in active["running"].tasks),
        required_labels=_required_labels(active["waiting"]),
        retrying=sum(task.retries > 0 for scan in active.values() for task in scan.tasks),
        running_on=Counter(task.agent_id for task in active["running"].tasks if task.agent_id),
        timings=advance.timings,
        unknown=Counter({"started_at": advance.reversed_starts, "completed_at": advance.reversed_ends}),
    )


def _required_labels(waiting: ActiveStatusScan) -> Mapping[frozenset[str], int] | None:
    # No labels means unknown, not none required.
    required = Counter(task.labels for task in waiting.tasks if task.labels)
    return required if required or not waiting.total else None


def _coverage(active: Collection[ActiveStatusScan], final: Collection[FinalStatusScan]) -> Coverage:
    final_pages = [page for scan in final for page in scan.pages]
    return Coverage(
        pages=sum(scan.pages for scan in active) + len(final_pages),
        items=sum(len(scan.tasks) for scan in active) + sum(len(page.tasks) for page in final_pages),
        reported=sum(scan.total for scan in active) + sum(scan.total for scan in final),
        truncated=any(scan.truncated for scan in active) or any(scan.truncated for scan in final),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsSnapshot:
    """A team's agents but for their own series, which are rendered page by page."""

    coverage: Coverage
    counts: Mapping[str, int]
    """Agents by status."""
    presence: Presence
    expected: frozenset[str]
    """Ids that have a `connected` series also when nobody ever saw them."""
    listed: frozenset[str]
    """Ids of all listed agents, also of those without series."""
    label_sets: frozenset[frozenset[str]] | None
    """The distinct label sets of the connected agents; None when they are too many to hold."""
    running_tasks: int | None
    """Over all connected agents that state it; None when none does."""
    gpu_capacity: int | None
    series_dropped: int
    """Series of agents left out for a limit."""
