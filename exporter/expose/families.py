"""Turns tasks, agents and teams into samples. The functions only change the `Samples` that they are given."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Final

from exporter import catalog
from exporter.catalog import AGENT_STATUSES, FINAL_TASK_STATUSES, OTHER
from exporter.expose.text import Samples, Subjects
from exporter.fleet.agents import Agent, Gpu
from exporter.fleet.assignment import Assignment
from exporter.fleet.presence import Presence
from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot
from exporter.fleet.timings import Timings
from exporter.fleet.workflows import WorkflowName, Workflows
from exporter.platform import wire

REPORTED_AGENT_STATUSES = (*AGENT_STATUSES, OTHER)
ALWAYS = 4
"""Series of every listed agent: its info, its failed tasks, whether it is connected and when it was last seen."""
AGENT_NUMBERS: Final = {
    catalog.AGENT_RUNNING_TASKS: "running_tasks",
    catalog.AGENT_GPU_CAPACITY: "gpu_capacity",
    catalog.AGENT_TASKS_COMPLETED: "tasks_completed",
    catalog.AGENT_LAST_HEARTBEAT: "last_heartbeat_at",
    catalog.AGENT_CONNECTED_SINCE: "connected_at",
}
"""The metrics that are one number of each agent, and the attribute of `Agent` that holds it."""
_numbers_of = attrgetter(*AGENT_NUMBERS.values())
_GPU_POSITIONS = [(str(position),) for position in range(wire.MAX_GPUS)]


def add_agents(samples: Samples, team: str, agents: Sequence[Agent], *, with_labels: bool) -> None:
    """Add the series of listed agents, except those about presence."""
    each = samples.subjects(team, names=[agent.agent_id for agent in agents])
    each.add_states(catalog.AGENT_STATUS, REPORTED_AGENT_STATUSES, [agent.status for agent in agents])
    for metric, attribute in AGENT_NUMBERS.items():
        each.add(metric, map(attrgetter(attribute), agents))
    each.add(catalog.AGENT_INFO, repeat(1, len(agents)), [agent.versions for agent in agents])
    for agent in agents:
        if agent.sync is not None:
            phase, ratio = agent.sync
            samples.add(catalog.AGENT_SYNC, ratio, team, agent.agent_id, phase)
    if with_labels:
        labels = [(label,) for agent in agents for label in sorted(agent.labels)]
        each_label = each.repeated(len(agent.labels) for agent in agents)
        each_label.add(catalog.AGENT_LABEL, repeat(1, len(labels)), labels)
    _add_gpus(each.repeated(len(agent.gpus) for agent in agents), [gpu for agent in agents for gpu in agent.gpus])


def _add_gpus(each: Subjects, gpus: Sequence[Gpu]) -> None:
    places = [_GPU_POSITIONS[gpu.position] for gpu in gpus]
    each.add(catalog.AGENT_GPU_VRAM_SIZE, [gpu.vram_size for gpu in gpus], places)
    each.add(catalog.AGENT_GPU_VRAM_FREE, [gpu.vram_free for gpu in gpus], places)
    devices = [(place, gpu.device_name, gpu.device_type) for (place,), gpu in zip(places, gpus, strict=True)]
    each.add(catalog.AGENT_GPU_INFO, repeat(1, len(gpus)), devices)


def series_of_agent(agent: Agent, *, with_labels: bool) -> int:
    """The number of series of a listed agent, including those of its presence, without rendering any."""
    numbers = sum(number is not None for number in _numbers_of(agent)) + (agent.sync is not None)
    statuses = 0 if agent.status is None else len(REPORTED_AGENT_STATUSES)
    gpus = sum(1 + (gpu.vram_size is not None) + (gpu.vram_free is not None) for gpu in agent.gpus)
    labels = len(agent.labels) if with_labels else 0
    return statuses + numbers + gpus + labels + ALWAYS


def add_agents_snapshot(samples: Samples, team: str, agents: AgentsSnapshot) -> None:
    """Add the totals over a team's agents; series of single agents are added page by page."""
    add_agent_counts(samples, team, agents.counts)
    add_presence(samples, team, agents.presence, agents.expected)


def add_agent_counts(samples: Samples, team: str, counts: Mapping[str, int]) -> None:
    """Add the number of agents in each status; 0 for each status that `counts` lacks."""
    for status in REPORTED_AGENT_STATUSES:
        samples.add(catalog.AGENTS, counts.get(status, 0), team, status)


def add_presence(samples: Samples, team: str, presence: Presence, expected: frozenset[str]) -> None:
    """Add which agents are connected and which were, and the expected ones that were never seen."""
    each = samples.subjects(team, names=presence.last_seen)
    each.add(catalog.AGENT_CONNECTED, [int(agent_id in presence.connected) for agent_id in presence.last_seen])
    each.add(catalog.AGENT_LAST_SEEN, presence.last_seen.values())
    missing = sorted(expected - presence.last_seen.keys())
    samples.subjects(team, names=missing).add(catalog.AGENT_CONNECTED, repeat(0, len(missing)))


def add_tasks_snapshot(samples: Samples, team: str, tasks: TasksSnapshot) -> None:
    """Add all series that only depend on a team's tasks."""
    add_task_counts(samples, team, tasks.counts)
    add_oldest(samples, team, tasks.oldest_created, tasks.oldest_started)
    samples.add(catalog.TASKS_RETRYING, tasks.retrying, team)
    add_timings(samples, team, tasks.timings)


def add_workflow_names(samples: Samples, team: str, workflows: Workflows, names: Mapping[str, WorkflowName]) -> None:
    """Add the names of the shown workflows, as far as they are known."""
    for workflow_id in workflows.shown:
        if name := names.get(workflow_id):
            samples.add(catalog.WORKFLOW_INFO, 1, team, workflow_id, name.slug, name.display_name)


def add_task_counts(samples: Samples, team: str, counts: Mapping[str, int]) -> None:
    """Add the number of tasks in each status."""
    for status, count in counts.items():
        samples.add(catalog.TASKS, count, team, status)


def add_oldest(samples: Samples, team: str, created: Mapping[str, float | None], started: float | None) -> None:
    """Add when the oldest task of each status was created, and when the longest-running one started."""
    for status, time in created.items():
        if time is not None:
            samples.add(catalog.TASK_OLDEST_CREATED, time, team, status)
    if started is not None:
        samples.add(catalog.TASK_OLDEST_STARTED, started, team)


def add_timings(samples: Samples, team: str, timings: Timings) -> None:
    """Add the counters and histograms over tasks."""
    samples.add_histogram(catalog.TASK_WAIT, timings.wait.counts, timings.wait.sum, team)
    for status in FINAL_TASK_STATUSES:
        run = timings.run[status]
        samples.add_histogram(catalog.TASK_RUN, run.counts, run.sum, team, status)
        samples.add(catalog.TASKS_FINISHED, timings.finished[status], team, status)
    samples.add(catalog.TASK_RETRIES, timings.retries, team)
    for combination, seconds in timings.tallies.execution.items():
        samples.add(catalog.TASK_EXECUTION, seconds, team, combination.status, *combination.kind)
    for workflow_id, totals in timings.workflows.shown.items():
        for status in FINAL_TASK_STATUSES:
            samples.add(catalog.WORKFLOW_TASKS_FINISHED, totals.finished[status], team, workflow_id, status)
            samples.add(catalog.WORKFLOW_EXECUTION, totals.execution[status], team, workflow_id, status)


def add_assignment(samples: Samples, team: str, assignment: Assignment) -> None:
    """Add what is computed from a team's tasks and agents together."""
    if assignment.without_eligible_agent is not None:
        samples.add(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT, assignment.without_eligible_agent, team)
    if assignment.on_absent_agents is not None:
        samples.add(catalog.TASKS_ON_ABSENT_AGENTS, assignment.on_absent_agents, team)
    samples.subjects(team, names=assignment.failed).add(catalog.AGENT_TASKS_FAILED, assignment.failed.values())


def add_team(samples: Samples, team: str, team_id: str | None, credential_kind: str) -> None:
    """Add what is configured about the team."""
    samples.add(catalog.TEAM_INFO, 1, team, team_id or "", credential_kind)


def add_quotas(samples: Samples, team: str, quotas: Mapping[str, float]) -> None:
    """Add the team's limits."""
    for quota, limit in quotas.items():
        samples.add(catalog.TEAM_QUOTA, limit, team, quota)
