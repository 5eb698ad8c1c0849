"""One list of one team: when it is polled, with what result, and which data may still be served."""

import pickle
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Generic

from exporter.catalog import UNSTARTED_TASK_STATUSES, Operation, Scope
from exporter.collect.agents import collect_agents
from exporter.collect.context import TeamContext
from exporter.collect.filtered_totals import FilteredTotals
from exporter.collect.history import History
from exporter.collect.offload import offload
from exporter.collect.provisioning import ProvisioningFilter
from exporter.collect.result import Implausible, PollResult, S, TaskSource, UnknownValues
from exporter.collect.tasks import collect_tasks
from exporter.collect.workflow_names import WorkflowNames
from exporter.errors import PlatformError
from exporter.expose import families
from exporter.expose.series_store import CompressedFamilies, compress_families
from exporter.expose.text import Samples
from exporter.fleet.presence import Presence
from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot
from exporter.fleet.timings import Timings
from exporter.fleet.workflows import WorkflowName
from exporter.status import CollectorStatus


class Collector(ABC, Generic[S]):
    """Polls one list. Mutable: it keeps the last snapshot and the results of the last polls."""

    scope: ClassVar[Scope]

    def __init__(self, team: TeamContext, random: Callable[[], float]) -> None:
        self._snapshot: bytes | None = None
        self._totals: Mapping[str, int | None] = {}
        self._team = team
        rules = team.rules
        self._history = History(self.scope.value, rules.interval, rules.stale_after, clock=team.clock, random=random)

    @property
    def fresh_until(self) -> float:
        """Until when what it read may be served, in monotonic seconds."""
        return self._history.fresh_until

    @property
    def due(self) -> bool:
        """Whether neither a back-off nor a wait that the platform asked for holds it back."""
        return self._team.hold.over and self._history.due

    @property
    def snapshot(self) -> S | None:
        """The snapshot of the last poll that succeeded.

        Between polls it is bytes: it is dozens of objects, and a garbage collection walks those of all teams at once.
        """
        snapshot: S | None = None if self._snapshot is None else pickle.loads(self._snapshot)  # noqa: S301  dumped here
        return snapshot

    @property
    def fresh_totals(self) -> Mapping[str, int | None]:
        """Its part of the team's `FleetStatus`, while that may be served."""
        return self._totals if self._team.clock.monotonic() < self.fresh_until else {}

    def reconfigure(self) -> None:
        """Apply the team's changed rules."""
        self._history.reconfigure(self._team.rules.interval, self._team.rules.stale_after)

    def status(self) -> CollectorStatus:
        """The current state of the polls."""
        return self._history.status(self._team.hold.until)

    async def poll(self, started: float) -> bool:
        """Poll and publish, record the result, and return whether it succeeded.

        Args:
            started: when the poll started, in monotonic seconds; it includes waiting for a permit.
        """
        unknown: UnknownValues = Counter()
        try:
            self._succeeded(started, await self._read(unknown))
        except PlatformError as error:
            self._failed(started, error)
        except Exception as error:  # noqa: BLE001  our own bug must not end other polls; it is logged and counted
            self._team.internal_error(Operation(self.scope.value), error)
            self._history.failed(started, error)
        else:
            return True
        finally:
            self._team.counters.unknown_values(unknown)
        return False

    def _succeeded(self, started: float, result: PollResult[S]) -> None:
        self._snapshot = pickle.dumps(result.snapshot)
        self._note(result.snapshot)
        self._history.succeeded(started, result.snapshot.coverage)
        self._team.publish(self.scope, result.families, self.fresh_until)

    def _failed(self, started: float, error: PlatformError) -> None:
        if isinstance(error, Implausible):
            self._team.client.count_contradiction(self.scope, error)
        self._history.failed(started, error)
        self._team.hold.extend(error.retry_after)

    @abstractmethod
    async def _read(self, unknown: UnknownValues) -> PollResult[S]: ...

    @abstractmethod
    def _note(self, snapshot: S) -> None: ...


class TasksCollector(Collector[TasksSnapshot]):
    """Polls the tasks."""

    scope = Scope.TASKS

    def __init__(self, team: TeamContext, random: Callable[[], float]) -> None:
        super().__init__(team, random)
        self.provisioning = ProvisioningFilter(team.clock)
        self.filtered_totals = FilteredTotals(team.rules.name)
        self.workflow_names = WorkflowNames(team)

    async def _read(self, unknown: UnknownValues) -> PollResult[TasksSnapshot]:
        before = self.snapshot

        def read(source: TaskSource) -> Awaitable[TasksSnapshot]:
            return collect_tasks(
                source,
                before.timings if before else Timings(),
                unknown,
                provisioning=self.provisioning,
                now=self._team.latest_now,
                workflows=self._team.rules.workflows,
            )

        snapshot = await self.filtered_totals.poll(self._team.client, read)
        workflows = len(snapshot.timings.workflows.shown)
        rendered = await offload(workflows, _rendered, self._team.rules.name, snapshot, self.workflow_names.names)
        return PollResult(snapshot=snapshot, families=rendered)

    def _note(self, snapshot: TasksSnapshot) -> None:
        waiting = sum(snapshot.counts.get(status, 0) for status in UNSTARTED_TASK_STATUSES)
        self._totals = {"tasks_waiting": waiting, "tasks_running": snapshot.counts.get("running")}


class AgentsCollector(Collector[AgentsSnapshot]):
    """Polls the agents. Mutable.

    Attributes:
        series_dropped: series left out for a limit at the last poll that succeeded.
    """

    scope = Scope.AGENTS

    def __init__(self, team: TeamContext, random: Callable[[], float]) -> None:
        super().__init__(team, random)
        self.series_dropped = 0

    async def _read(self, unknown: UnknownValues) -> PollResult[AgentsSnapshot]:
        before = self.snapshot
        presence = before.presence if before else Presence()
        now = self._team.clock.now()
        return await collect_agents(self._team.client.agents, self._team.rules.agents, presence, now, unknown)

    def _note(self, snapshot: AgentsSnapshot) -> None:
        self.series_dropped = snapshot.series_dropped
        self._totals = {
            "agents": sum(snapshot.counts.values()),
            "gpus_in_use": snapshot.running_tasks,
            "gpu_capacity": snapshot.gpu_capacity,
        }


def _rendered(team: str, snapshot: TasksSnapshot, names: Mapping[str, WorkflowName]) -> CompressedFamilies:
    samples = Samples()
    families.add_tasks_snapshot(samples, team, snapshot)
    families.add_workflow_names(samples, team, snapshot.timings.workflows, names)
    return compress_families(samples)
