"""The platform's lists in memory, paged and sorted as a test chooses, for collectors without sockets."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from exporter.catalog import FINAL_TASK_STATUSES
from exporter.collect.filtered_totals import FilteredTotals
from exporter.collect.provisioning import ProvisioningFilter
from exporter.collect.result import TaskSource
from exporter.collect.tasks import collect_tasks
from exporter.errors import Expected
from exporter.expose import families
from exporter.expose.series_store import compress_families
from exporter.expose.text import Samples as RenderedSamples
from exporter.fleet.snapshots import TasksSnapshot
from exporter.fleet.timings import Timings
from exporter.platform import wire
from exporter.platform.clock import Clock
from support.samples import Samples, parse_families


@dataclass(frozen=True, slots=True)
class Item:
    """A task as the platform knows it. Times are Unix seconds of its clock."""

    task_id: str
    status: str = "completed"
    created_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    retries: int = 0
    labels: tuple[str, ...] = ()
    agent_id: str | None = None
    gpu_type: str | None = None
    workflow_id: str | None = None

    @property
    def on_the_wire(self) -> wire.Task:
        """The task as a page has it."""
        return wire.Task(
            id=self.task_id,
            task_status=self.status,
            created_at=_moment(self.created_at),
            started_at=_moment(self.started_at),
            completed_at=_moment(self.completed_at),
            retry_count=self.retries,
            agent_labels=list(self.labels),
            agent_id=self.agent_id,
            gpu_type=self.gpu_type,
            workflow_id=self.workflow_id,
        )


def _moment(time: float | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time, UTC)


@dataclass(slots=True)
class TaskLists:
    """One team's tasks. Mutable: tests move them, also between two requests.

    Attributes:
        key: the field by which lists are sorted; tasks without it come as if it were 0. Ties stand in order of id.
        newest_first: the direction.
        shuffled: ties stand in an order of their own at each request.
        doubled: ids of tasks that stand in their list twice.
        filtered_totals: whether a total counts what passes the filter; otherwise all tasks.
        before_request: is called with the status and the page asked for; may raise, may move tasks.
        requests: what was asked for.
    """

    key: str = "created_at"
    newest_first: bool = True
    per_page: int = wire.PER_PAGE
    shuffled: random.Random | None = None
    doubled: set[str] = field(default_factory=set)
    filtered_totals: bool = True
    before_request: Callable[[str, int], None] = field(default=lambda _status, _number: None)
    items: dict[str, Item] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)

    def put(self, *items: Item) -> None:
        """Add or replace tasks."""
        self.items.update((item.task_id, item) for item in items)

    def move(self, task_id: str, status: str, **times: float | None) -> None:
        """Change a task's status, and more of it."""
        self.items[task_id] = replace(self.items[task_id], status=status, **times)  # type: ignore[arg-type]  # values by name

    def remove(self, *task_ids: str) -> None:
        """Take tasks off their lists."""
        for task_id in task_ids:
            del self.items[task_id]

    def listed(self, status: str | None) -> list[Item]:
        """The list of a status, or of all tasks, sorted."""
        found = [item for item in self.items.values() if status in (item.status, None)]
        found += [item for item in found if item.task_id in self.doubled]
        return sorted(found, key=self._place, reverse=self.newest_first)

    def _place(self, item: Item) -> tuple[float, str]:
        tie = item.task_id if self.shuffled is None else str(self.shuffled.random())
        return getattr(item, self.key) or 0.0, tie

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        """A page as the client returns it to a collector."""
        assert not expected
        self.requests.append((status or "", number := page))
        self.before_request(status or "", number)
        found = self.listed(status)
        start = (number - 1) * self.per_page
        items: list[wire.Task | None] = [item.on_the_wire for item in found[start : start + self.per_page]]
        total = len(found if self.filtered_totals else self.listed(None))
        return wire.Page(number, items, total, self.per_page, Counter())

    async def total_tasks(self) -> int:
        """How many there are."""
        return len(self.items)


class NeverProvisioning(ProvisioningFilter):
    """For tests that do not care: the filter was refused, and nobody looks at what it would show."""

    def __init__(self) -> None:
        super().__init__(Clock(wall=lambda: 0.0, monotonic=lambda: 0.0))
        self.note(accepted=False)

    async def unfiltered_total(self, ask: Callable[[], Awaitable[int]]) -> int | None:
        """Unknown."""


@dataclass(slots=True)
class Poller:
    """Polls such lists like a team does. Mutable: it keeps what is remembered, and the last snapshot.

    A poll that fails raises and changes nothing.

    Attributes:
        workflows: how many have series of their own.
    """

    lists: TaskLists
    workflows: int = 0
    timings: Timings = field(default_factory=Timings)
    unknown: Counter[str] = field(default_factory=Counter)
    totals: FilteredTotals = field(default_factory=lambda: FilteredTotals("render"))
    snapshot: TasksSnapshot | None = None

    async def poll(self) -> "Poller":
        """One poll."""
        self.lists.requests.clear()
        self.snapshot = await self.totals.poll(self.lists, self._read)
        self.timings = self.snapshot.timings
        return self

    async def _read(self, source: TaskSource) -> TasksSnapshot:
        return await collect_tasks(
            source, self.timings, self.unknown, provisioning=NeverProvisioning(), workflows=self.workflows
        )

    @property
    def truncated(self) -> bool:
        """Whether the last poll may have missed something."""
        assert self.snapshot is not None
        return self.snapshot.coverage.truncated

    @property
    def finished(self) -> dict[str, int]:
        """The counters, without zeros."""
        return {status: count for status, count in self.timings.finished.items() if count}

    @property
    def waits(self) -> tuple[int, float]:
        """Number and sum of the waits."""
        return sum(self.timings.wait.counts), self.timings.wait.sum

    @property
    def runs(self) -> dict[str, tuple[int, float]]:
        """Number and sum of the runs by status, where there is one."""
        runs = {status: self.timings.run[status] for status in FINAL_TASK_STATUSES}
        return {status: (sum(run.counts), run.sum) for status, run in runs.items() if any(run.counts)}

    @property
    def final_requests(self) -> list[tuple[str, int]]:
        """The pages of final statuses that the last poll asked for."""
        return [(status, number) for status, number in self.lists.requests if status in FINAL_TASK_STATUSES]

    @property
    def samples(self) -> Samples:
        """The exposition after the last poll, parsed."""
        assert self.snapshot is not None
        rendered = RenderedSamples()
        families.add_tasks_snapshot(rendered, "render", self.snapshot)
        return parse_families(compress_families(rendered))


def done(task_id: str, created: float, completed: float, *, wait: float = 1.0, status: str = "completed") -> Item:
    """A finished task that started `wait` seconds after its creation."""
    return Item(task_id, status, created, created + wait, completed)


def history(count: int, *, start: float = 1000.0, prefix: str = "h", status: str = "completed") -> Iterable[Item]:
    """Finished tasks, one created every ten seconds. Their run times differ so much that they end in another order."""
    for number in range(count):
        created = start + 10 * number
        yield done(f"{prefix}{number:05d}", created, created + 6 + 40 * (number % 3), status=status)
