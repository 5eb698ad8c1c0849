"""The domain metrics: from tasks and agents to samples. Pure but for the `Samples` they add to."""

from collections.abc import Mapping

from exporter import catalog
from exporter.catalog import AGENT_STATUSES, FINAL_TASK_STATUSES, OTHER
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent
from exporter.fleet.presence import Presence
from exporter.fleet.timings import Timings

REPORTED_AGENT_STATUSES = (*AGENT_STATUSES, OTHER)
_STATUS_ROWS = {
    status: tuple(((each,), int(each == status)) for each in REPORTED_AGENT_STATUSES)
    for status in REPORTED_AGENT_STATUSES
}


def add_agent(samples: Samples, team: str, agent: Agent, *, with_labels: bool) -> None:
    """Add the series of one listed agent, all but those of its presence."""
    subject = samples.subject(team, agent.agent_id)
    if agent.status is not None:
        subject.add_rows(catalog.AGENT_STATUS, _STATUS_ROWS[agent.status])
    for metric, value in (
        (catalog.AGENT_RUNNING_TASKS, agent.running_tasks),
        (catalog.AGENT_GPU_CAPACITY, agent.gpu_capacity),
        (catalog.AGENT_TASKS_COMPLETED, agent.tasks_completed),
        (catalog.AGENT_LAST_HEARTBEAT, agent.last_heartbeat_at),
        (catalog.AGENT_CONNECTED_SINCE, agent.connected_at),
    ):
        if value is not None:
            subject.add(metric, value)
    if agent.sync is not None:
        phase, ratio = agent.sync
        subject.add(catalog.AGENT_SYNC, ratio, phase)
    subject.add(catalog.AGENT_INFO, 1, *agent.versions)
    for label in sorted(agent.labels) if with_labels else ():
        subject.add(catalog.AGENT_LABEL, 1, label)
    for gpu in agent.gpus:
        if gpu.vram_size is not None:
            subject.add(catalog.AGENT_GPU_VRAM_SIZE, gpu.vram_size, str(gpu.position))
        if gpu.vram_free is not None:
            subject.add(catalog.AGENT_GPU_VRAM_FREE, gpu.vram_free, str(gpu.position))
    devices = tuple(((str(gpu.position), gpu.device_name, gpu.device_type), 1) for gpu in agent.gpus)
    if devices:
        subject.add_rows(catalog.AGENT_GPU_INFO, devices)


def add_agent_counts(samples: Samples, team: str, counts: Mapping[str, int]) -> None:
    """Add the number of agents in each status; those `counts` lacks are 0."""
    for status in REPORTED_AGENT_STATUSES:
        samples.add(catalog.AGENTS, counts.get(status, 0), team, status)


def add_presence(samples: Samples, team: str, presence: Presence, expected: frozenset[str]) -> None:
    """Add who is connected and who was, with those that are expected but were never seen."""
    for agent_id, seen in presence.last_seen.items():
        samples.add(catalog.AGENT_CONNECTED, int(agent_id in presence.connected), team, agent_id)
        samples.add(catalog.AGENT_LAST_SEEN, seen, team, agent_id)
    for agent_id in sorted(expected - presence.last_seen.keys()):
        samples.add(catalog.AGENT_CONNECTED, 0, team, agent_id)


def add_task_counts(samples: Samples, team: str, counts: Mapping[str, int]) -> None:
    """Add the number of tasks in each status."""
    for status, count in counts.items():
        samples.add(catalog.TASKS, count, team, status)


def add_oldest(samples: Samples, team: str, created: Mapping[str, float | None], started: float | None) -> None:
    """Add when the oldest tasks were created, by status, and when the one running longest started."""
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


def add_eligibility(samples: Samples, team: str, without_agent: int) -> None:
    """Add the number of waiting tasks that no connected agent can take."""
    samples.add(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT, without_agent, team)


def add_team(samples: Samples, team: str, team_id: str | None, credential_kind: str) -> None:
    """Add what is configured about the team."""
    samples.add(catalog.TEAM_INFO, 1, team, team_id or "", credential_kind)


def add_quotas(samples: Samples, team: str, quotas: Mapping[str, float]) -> None:
    """Add the team's limits."""
    for quota, limit in quotas.items():
        samples.add(catalog.TEAM_QUOTA, limit, team, quota)
