"""What a configuration costs: requests to the platform, series in Prometheus."""

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES
from exporter.config.settings import Settings
from exporter.expose import families
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent, Gpu
from exporter.fleet.presence import Presence
from exporter.fleet.timings import Timings

LEAST_PER_POLL = len(FINAL_TASK_STATUSES) + len(ACTIVE_TASK_STATUSES) + 1
"""Requests of one poll of one team: a page per status and one of agents."""
MOST_PER_POLL = LEAST_PER_POLL + len(ACTIVE_TASK_STATUSES)
"""With more than a page of tasks in each active status; every further hundred agents costs one more."""


def requests_per_minute(settings: Settings) -> tuple[float, float]:
    """The least and the most, over all teams of at most a hundred agents each."""
    polls = sum(60 / settings.interval_of(team) for team in settings.teams)
    return polls * LEAST_PER_POLL, polls * MOST_PER_POLL


def warnings(settings: Settings) -> list[str]:
    """What is allowed but hardly meant, a line each."""
    least, _ = requests_per_minute(settings)
    allowed = 60 * settings.api.max_requests_per_second
    short = [
        (
            f"{least:.0f} requests a minute are needed at least, and api.max_requests_per_second allows {allowed:.0f}:"
            " polls take longer than their interval"
        )
    ]
    return [*(short if least > allowed else []), *settings.warnings()]


def series_per_team() -> int:
    """Domain series of a team without agents, with tasks in every status."""
    samples = Samples()
    families.add_task_counts(samples, "", dict.fromkeys((*ACTIVE_TASK_STATUSES, *FINAL_TASK_STATUSES), 0))
    families.add_oldest(samples, "", dict.fromkeys(ACTIVE_TASK_STATUSES[:-1], 1.0), 1.0)
    families.add_timings(samples, "", Timings())
    families.add_agent_counts(samples, "", {})
    families.add_eligibility(samples, "", 0)
    families.add_team(samples, "", None, "")
    return samples.count


def series_per_agent(gpus: int) -> int:
    """Domain series of a connected agent with so many GPUs, without those of its labels."""
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
    samples = Samples()
    families.add_agents(samples, "", [agent], with_labels=False)
    families.add_presence(samples, "", Presence({"a": 1.0}, frozenset({"a"})), frozenset())
    return samples.count
