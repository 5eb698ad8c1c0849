"""The tasks of a simulated team: how they arrive, wait, run and end."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from exporter.demo.fleet import SimulatedTeam
from exporter.demo.machines import Machine
from exporter.demo.timeline import Timeline
from exporter.demo.wire import rfc3339, uuid7

_AVERAGE_LOAD: Final = 0.55
"""Average share of the fitting GPUs in use; at the peak of a wave, demand exceeds supply."""
_WAVE_HEIGHT: Final = 0.7
"""How far the rate of arrivals rises above its average, and falls below it."""
_WAVE_SECONDS: Final = 480.0
_MIN_PER_SECOND: Final = 0.02
_MAX_PER_SECOND: Final = 4.0
_BATCH_SHARE: Final = 0.08
"""How many of the arrivals are batches of 2 to 8 tasks."""
_RETENTION: Final = 1800.0
"""Seconds that a finished task stays listed."""
_MAX_ATTEMPTS: Final = 3
_MACHINES_TRIED: Final = 64
"""In a larger fleet, only so many machines are considered for a task: enough, and cheaper."""
_IMPATIENT_SHARE: Final = 0.02
"""How many of the tasks are cancelled within a minute, the others after 15 to 25 minutes, unless they have ended."""
_RETRIED_SHARE: Final = 0.5
"""How many of the failures are retried."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A kind of task; `seconds` is the median duration, `share` its weight among the arrivals."""

    labels: frozenset[str]
    seconds: float
    share: float
    failing: float = 0.04


WORKFLOWS: Final = (
    Workflow(frozenset({"gpu", "comfyui"}), 12, 40),
    Workflow(frozenset({"gpu", "comfyui"}), 35, 30),
    Workflow(frozenset({"gpu", "video"}), 75, 12, 0.08),
    Workflow(frozenset({"gpu", "training"}), 150, 1.5, 0.1),
    Workflow(frozenset({"gpu", "mi300x"}), 60, 0.35),  # no agent has this card
)
_SHARES = [workflow.share for workflow in WORKFLOWS]


@dataclass(slots=True, eq=False)
class Job:
    """A task that has not ended. Mutable.

    Attributes:
        attempt: counts assignments, so that events of an earlier one can be ignored.
        retries: how often it was restarted.
        machine: the machine it is assigned to; None while it waits.
        slot: the GPU there.
    """

    task_id: str
    workflow: Workflow
    workflow_id: str
    attempt: int = 0
    retries: int = 0
    machine: Machine | None = None
    slot: int = 0
    waiting: bool = False
    running: bool = False
    over: bool = False


class Workload:
    """The tasks of one team and their assignment to machines. Mutable.

    Attributes:
        changed: called with each machine whose jobs changed; set by the owner before the simulation starts.
    """

    def __init__(self, team: SimulatedTeam, timeline: Timeline, random: Random, machines: Sequence[Machine]) -> None:
        self.changed: Callable[[Machine], None] = lambda _: None
        self._team = team
        self._timeline = timeline
        self._random = random
        self._machines = machines
        self._queues: dict[frozenset[str], deque[Job]] = {workflow.labels: deque() for workflow in WORKFLOWS}
        self._workflow_ids = [uuid7(random, timeline.now) for _ in WORKFLOWS]
        self._gateway = f"gw-{random.getrandbits(32):08x}"
        self._phase = random.uniform(0, _WAVE_SECONDS)
        self._rate = _rate(machines)

    def begin(self) -> None:
        """Schedule the first arrival of a task."""
        self._timeline.after(self._random.expovariate(self._rate * (1 + _WAVE_HEIGHT)), self._arrive)

    def dispatch(self, machine: Machine) -> None:
        """Give waiting tasks to a machine's free GPUs, the longest waiting first."""
        while machine.takes_tasks and machine.busy < len(machine.jobs):
            queues = [queue for labels, queue in self._queues.items() if queue and labels.issubset(machine.labels)]
            if not queues:
                return
            job = min((queue[0] for queue in queues), key=lambda job: job.task_id)
            self._queues[job.workflow.labels].popleft()
            self._assign(job, machine)

    def evict(self, machine: Machine) -> None:
        """Remove all jobs from a lost machine; those that were retried too often fail."""
        for job in list(machine.jobs):
            if job is not None:
                self._release(job)
                self._retry(job)

    # --- From arrival to assignment ---

    def _arrive(self) -> None:
        self.begin()
        wave = 1 + _WAVE_HEIGHT * math.sin(2 * math.pi * (self._timeline.now + self._phase) / _WAVE_SECONDS)
        if self._random.random() >= wave / (1 + _WAVE_HEIGHT):
            return  # thinning: rejects arrivals at random, so that the rate follows the wave
        index = self._random.choices(range(len(WORKFLOWS)), _SHARES)[0]
        for _ in range(self._random.randint(2, 8) if self._random.random() < _BATCH_SHARE else 1):
            self._create(index)

    def _create(self, index: int) -> None:
        now = self._timeline.now
        job = Job(uuid7(self._random, now), WORKFLOWS[index], self._workflow_ids[index])
        self._team.put_task(
            {
                "id": job.task_id,
                "workflow_id": job.workflow_id,
                "task_status": "pending",
                "created_at": rfc3339(now),
                "retry_count": 0,
                "agent_labels": sorted(job.workflow.labels),
                "gateway_id": self._gateway,
                "dispatch_target": "agent",
                "target_pool": "team",
                "tool_type": "comfyui",
            }
        )
        self._soon(job, self._schedule, 0.3, 2.5)
        impatient = self._random.random() < _IMPATIENT_SHARE
        patience = self._random.uniform(5, 60) if impatient else self._random.uniform(900, 1500)
        self._timeline.after(patience, partial(self._cancel, job))

    def _schedule(self, job: Job) -> None:
        looks = (
            self._random.sample(self._machines, _MACHINES_TRIED)
            if len(self._machines) > _MACHINES_TRIED
            else self._machines
        )
        free = [machine for machine in looks if machine.takes_tasks and machine.busy < len(machine.jobs)]
        fitting = [machine for machine in free if job.workflow.labels.issubset(machine.labels)]
        if fitting:
            # The least specialised machine first: the others are kept for the tasks that need them.
            self._assign(job, min(fitting, key=lambda machine: (len(machine.labels), machine.busy, machine.agent_id)))
            return
        job.waiting = True
        self._queues[job.workflow.labels].append(job)
        self._team.move(job.task_id, status="waiting")

    def _assign(self, job: Job, machine: Machine) -> None:
        job.waiting = False
        job.machine, job.slot = machine, machine.jobs.index(None)
        machine.jobs[job.slot] = job
        self._team.move(
            job.task_id,
            status="queued",
            agent_id=machine.agent_id,
            labels=list(machine.labels),
            gpu_type=machine.card.name,
        )
        self.changed(machine)
        self._soon(job, self._start, 0.2, 2)

    # --- From start to end ---

    def _start(self, job: Job) -> None:
        job.running = True
        if job.machine is not None:
            job.machine.use[job.slot] = self._random.uniform(0.45, 0.97)
            self.changed(job.machine)
        self._team.move(job.task_id, status="running", started_at=self._timeline.now)
        seconds = self._random.lognormvariate(math.log(job.workflow.seconds), 0.5)
        self._soon(job, self._finish, seconds, seconds)

    def _finish(self, job: Job) -> None:
        failed = self._random.random() < job.workflow.failing
        if not failed and job.machine is not None:
            job.machine.completed += 1
        self._release(job)
        if not failed:
            self._end(job, "completed")
        elif self._random.random() < _RETRIED_SHARE:
            self._retry(job)
        else:
            self._end(job, "failed")

    def _cancel(self, job: Job) -> None:
        if job.over:
            return
        if job.waiting:
            self._queues[job.workflow.labels].remove(job)
        self._release(job)
        self._end(job, "cancelled")

    def _retry(self, job: Job) -> None:
        job.retries += 1
        if job.retries >= _MAX_ATTEMPTS:
            self._end(job, "failed")
            return
        fields = {"agent_id": None, "gpu_type": None, "started_at": None, "labels": sorted(job.workflow.labels)}
        self._team.move(job.task_id, status="pending", retry_count=job.retries, **fields)
        self._soon(job, self._schedule, 1, 5)

    def _end(self, job: Job, status: str) -> None:
        job.over = True
        self._team.move(job.task_id, status=status, completed_at=self._timeline.now)
        self._timeline.after(_RETENTION, partial(self._team.remove_task, job.task_id))

    def _release(self, job: Job) -> None:
        """Free the GPU a job has, if it has one, and give it to the next."""
        job.attempt += 1
        job.running = False
        machine, job.machine = job.machine, None
        if machine is None:
            return
        machine.jobs[job.slot] = None
        machine.use[job.slot] = self._random.uniform(0.02, 0.06)
        self.dispatch(machine)
        self.changed(machine)

    def _soon(self, job: Job, step: Callable[[Job], None], least: float, most: float) -> None:
        attempt = job.attempt

        def happen() -> None:
            if job.attempt == attempt and not job.over:
                step(job)

        self._timeline.after(self._random.uniform(least, most), happen)


def _rate(machines: Sequence[Machine]) -> float:
    """Arrivals per second that the machines can handle, for the workflow that fits the fewest of them."""
    rates = []
    for workflow in WORKFLOWS:
        fitting = sum(len(machine.jobs) for machine in machines if workflow.labels.issubset(machine.labels))
        rivals = [other for other in WORKFLOWS if workflow.labels <= other.labels | {"comfyui"}]
        work = sum(rival.share * rival.seconds for rival in rivals) / sum(_SHARES)
        if fitting:
            rates.append(_AVERAGE_LOAD * fitting / work)
    per_task = 1 + _BATCH_SHARE * 4  # a batch has five tasks on average
    return min(max(min(rates, default=0), _MIN_PER_SECOND), _MAX_PER_SECOND) / per_task
