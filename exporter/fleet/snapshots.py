"""The result of one complete poll of a list: everything that is exposed about it, as one immutable value."""

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
    """How much of its list a poll read, and whether something may be missing."""

    pages: int
    items: int
    """Items read, without duplicates."""
    reported: int
    """The total that the platform reported."""
    truncated: bool
    """Whether the totals do not add up, or a limit was reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksSnapshot:
    """A team's tasks. Times are Unix seconds of the platform's clock."""

    coverage: Coverage
    counts: Mapping[str, int]
    """Tasks by status; OTHER only while it is known."""
    oldest_created: Mapping[str, float | None]
    """When the oldest task of each unstarted status was created."""
    oldest_started: float | None
    """When the longest-running task started."""
    required_labels: Mapping[frozenset[str], int] | None
    """How many of the waiting tasks read require each set of labels; None when tasks wait and none of those read states
    any, as on a platform that fills in labels only on assignment."""
    retrying: int
    """Active tasks, among those read, that were retried."""
    running_on: Mapping[str, int]
    """How many of the running tasks read run on each agent, where stated."""
    timings: Timings
    unknown: Counter[str]
    """The number of contradictory times of finished or started tasks, by field."""


def tasks_snapshot(
    active: Mapping[str, ActiveStatusScan],
    final: Mapping[str, FinalStatusScan],
    before: Timings,
    beyond: int | None = None,
    workflows: int = 0,
) -> TasksSnapshot:
    """Build the snapshot from what one poll read.

    Args:
        active: by active status.
        final: by final status.
        before: the timings until now.
        beyond: tasks that no status filter returns; None while unknown.
        workflows: how many workflows have series of their own.
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
    # Absent labels mean unknown, not that none are required.
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
    """A team's agents, except their own series, which are rendered page by page."""

    coverage: Coverage
    counts: Mapping[str, int]
    """Agents by status."""
    presence: Presence
    expected: frozenset[str]
    """Ids that have a `connected` series even if they were never seen."""
    listed: frozenset[str]
    """Ids of all listed agents, including those without series."""
    label_sets: frozenset[frozenset[str]] | None
    """The distinct label sets of the connected agents; None if there are too many to keep."""
    running_tasks: int | None
    """Sum over all connected agents that report it; None when none does."""
    gpu_capacity: int | None
    series_dropped: int
    """Series left out because of the limit."""
