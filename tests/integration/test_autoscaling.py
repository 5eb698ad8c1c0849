"""The queries of the autoscaling page, exactly as written, on a real Prometheus that scrapes two exporters."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import pytest

from exporter.demo import SimulatedPlatform, SimulatedTeam
from support import ExporterFactory, PrometheusFactory, RunningPrometheus, wait_until
from support.documents import autoscalers, autoscaling_queries

pytestmark = pytest.mark.assumes("labels_before_assignment")

LABELS = ["gpu", "a100"]
AGENTS = 8


@pytest.fixture
def team(platform: SimulatedPlatform) -> SimulatedTeam:
    """The page's team with eight idle agents."""
    team = platform.add_team("render")
    team.add_agents(AGENTS, agent_labels=LABELS, status="idle")
    return team


@pytest.fixture
def scraped(
    exporter_factory: ExporterFactory, prometheus: PrometheusFactory
) -> Callable[[], Awaitable[RunningPrometheus]]:
    """Starts two exporters of the same team, and a Prometheus that scrapes both."""

    async def start() -> RunningPrometheus:
        config = {"collect": {"interval": "1s", "stale_after": "3s"}, "api": {"max_requests_per_second": 1000}}
        exporters = [await exporter_factory(config) for _ in range(2)]
        for exporter in exporters:
            await exporter.wait_ready()
        targets = [exporter.url.removeprefix("http://") for exporter in exporters]
        found = {"job_name": "cyberun", "static_configs": [{"targets": targets}]}
        quick = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
        return await prometheus({"global": quick, "scrape_configs": [found]})

    return start


def wait_in_queue(team: SimulatedTeam, count: int, *, age: float, labels: list[str]) -> None:
    """Adds waiting tasks that need these labels and were created so many seconds ago."""
    team.add_tasks(count, status="waiting", labels=labels, created_at=time.time() - age)


def busy(team: SimulatedTeam) -> None:
    """Gives each agent a task."""
    for listed in team.agents().cut(0, AGENTS):
        team.update_agent(listed["agent_id"], status="busy", running_count=1)
    team.add_tasks(AGENTS, status="running")


async def answers(server: RunningPrometheus) -> list[float | None]:
    """The results of KEDA's two queries, which the HPA has too; None if empty."""
    found = []
    for place, (query, _) in autoscaling_queries().items():
        values = [series.value for series in await server.query(query)]
        assert len(values) <= 1, f"{place}: {values}"
        found.append(values[0] if values else None)
    return found[:2]


async def becomes(server: RunningPrometheus, *wanted: float | None) -> None:
    """Waits until the queries return this, and checks that it stays so."""

    async def as_wanted() -> bool:
        return await answers(server) == list(wanted)

    try:
        await wait_until(as_wanted, within=20, every=0.2)
    except TimeoutError:
        raise AssertionError(f"{await answers(server)} instead of {wanted}") from None
    for _ in range(3):
        await asyncio.sleep(0.5)
        assert await answers(server) == list(wanted)


def agents_for(*values: float) -> int:
    """The number of agents for these results, by the page's thresholds and limits."""
    limits = autoscalers()["ScaledObject"]["spec"]
    thresholds = [threshold for _, threshold in autoscaling_queries().values()]
    wanted = max(math.ceil(value / threshold) for value, threshold in zip(values, thresholds, strict=False))
    return int(min(max(wanted, limits["minReplicaCount"]), limits["maxReplicaCount"]))


async def test_a_task_that_nobody_can_take_asks_for_no_agent(
    team: SimulatedTeam, scraped: Callable[[], Awaitable[RunningPrometheus]]
) -> None:
    """With eight idle agents and a task that has been waiting for other labels for hours, one agent is enough."""
    wait_in_queue(team, 1, age=18009, labels=["gpu", "b300"])
    server = await scraped()
    await becomes(server, 0, 0)
    assert agents_for(0, 0) == 1


async def test_a_queue_asks_for_agents(
    team: SimulatedTeam, scraped: Callable[[], Awaitable[RunningPrometheus]]
) -> None:
    """A busy fleet with a queue grows, and more so if the queue is old; a second exporter changes nothing."""
    busy(team)
    wait_in_queue(team, 6, age=60, labels=LABELS)
    server = await scraped()
    await becomes(server, AGENTS + 6, 0)
    assert agents_for(AGENTS + 6, 0) == 7
    wait_in_queue(team, 1, age=1200, labels=LABELS)
    await becomes(server, AGENTS + 7, AGENTS + 7)
    assert agents_for(AGENTS + 7, AGENTS + 7) == 15
    # Now also one that nobody can take: it neither counts nor makes the others urgent.
    wait_in_queue(team, 1, age=18009, labels=["gpu", "b300"])
    await becomes(server, AGENTS + 7, 0)
    # An agent is idle, so the queue does not wait for one more.
    team.update_agent(team.agents().cut(0, 1)[0]["agent_id"], status="idle", running_count=0)
    await becomes(server, AGENTS, 0)


async def test_without_work_and_without_data(
    platform: SimulatedPlatform, team: SimulatedTeam, scraped: Callable[[], Awaitable[RunningPrometheus]]
) -> None:
    """A quiet night gives zero; a failing platform, even if only one list fails, gives no result."""
    server = await scraped()
    await becomes(server, 0, 0)
    busy(team)
    await becomes(server, AGENTS, 0)
    platform.faults.set("status", team=team.name, path="/r/agents", value=503)
    await becomes(server, None, None)
    platform.faults.clear("status", team=team.name, path="/r/agents")
    await becomes(server, AGENTS, 0)
    platform.faults.set("status", team=team.name, path="/r/tasks", value=503)
    await becomes(server, None, None)
