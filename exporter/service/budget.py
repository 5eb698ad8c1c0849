"""What a configuration costs: requests to the platform, series in Prometheus."""

from collections import Counter

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES, OTHER, UNSTARTED_TASK_STATUSES
from exporter.config.settings import Settings
from exporter.expose import families
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent, Gpu
from exporter.fleet.assignment import Assignment
from exporter.fleet.snapshots import Coverage, TasksSnapshot
from exporter.fleet.tallies import Combination, Tallies
from exporter.fleet.tasks import NO_KIND
from exporter.fleet.timings import Timings

MIN_REQUESTS_PER_POLL = len(FINAL_TASK_STATUSES) + len(ACTIVE_TASK_STATUSES) + 1
"""Requests of one poll of one team: one page per task status, and one page of agents."""
MAX_REQUESTS_PER_POLL = MIN_REQUESTS_PER_POLL + len(ACTIVE_TASK_STATUSES) + 2
"""The same with two pages for each active status, on a platform that also filters by `provisioning`. Every further
hundred agents cost one more."""


def requests_per_minute(settings: Settings) -> tuple[float, float]:
    """The least and the most requests per minute, over all configured teams, if each has at most a hundred agents."""
    polls = sum(60 / settings.interval_of(team) for team in settings.teams)
    return polls * MIN_REQUESTS_PER_POLL, polls * MAX_REQUESTS_PER_POLL


def requests_per_discovered_team(settings: Settings) -> tuple[float, float]:
    """The same for one discovered team; zeros without discovery."""
    polls = [60 / (found.interval or settings.collect.interval) for _, found in settings.discoveries()]
    return min(polls, default=0) * MIN_REQUESTS_PER_POLL, max(polls, default=0) * MAX_REQUESTS_PER_POLL


def warnings(settings: Settings) -> list[str]:
    """Settings that are valid but probably not intended, a line for each."""
    least, _ = requests_per_minute(settings)
    allowed = 60 * settings.api.max_requests_per_second
    short = [
        (
            f"at least {least:.0f} requests a minute are needed, but api.max_requests_per_second allows {allowed:.0f}:"
            " polls will take longer than their interval"
        )
    ]
    return [*(short if least > allowed else []), *settings.warnings()]


def series_per_team() -> int:
    """Domain series of a team without agents that has tasks of one kind in every status."""
    samples = Samples()
    families.add_tasks_snapshot(samples, "", _tasks())
    families.add_agent_counts(samples, "", {})
    families.add_assignment(samples, "", Assignment(without_eligible_agent=0, on_absent_agents=0, failed={}))
    families.add_team(samples, "", None, "")
    return samples.count


def _tasks() -> TasksSnapshot:
    return TasksSnapshot(
        coverage=Coverage(pages=0, items=0, reported=0, truncated=False),
        counts=dict.fromkeys((*ACTIVE_TASK_STATUSES, *FINAL_TASK_STATUSES, OTHER), 0),
        oldest_created=dict.fromkeys(UNSTARTED_TASK_STATUSES, 1.0),
        oldest_started=1.0,
        required_labels={},
        retrying=0,
        running_on={},
        timings=Timings(
            tallies=Tallies(execution={Combination(status, NO_KIND): 0.0 for status in FINAL_TASK_STATUSES})
        ),
        unknown=Counter(),
    )


def series_per_agent(gpus: int) -> int:
    """Domain series of a connected agent with this many GPUs, not counting those of its labels."""
    devices = tuple(Gpu(position=position, vram_size=1, vram_free=1) for position in range(gpus))
    agent = Agent(
        agent_id="a",
        status="idle",
        running_tasks=0,
        gpu_capacity=1,
        tasks_completed=0,
        last_heartbeat_at=1.0,
        connected_at=1.0,
        gpus=devices,
    )
    return families.series_of_agent(agent, with_labels=False)
