"""A scripted history, polled by the installed program and scraped by a real Prometheus."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from exporter.demo import Assumptions, Order, SimulatedPlatform, SimulatedTeam
from support import ExporterFactory, PrometheusFactory, RunningExporter, RunningPrometheus, Samples, wait_until

pytestmark = pytest.mark.both_ways

FAST = {"api": {"max_requests_per_second": 1000, "max_concurrency": 64}, "collect": {"interval": "1s"}}
START = 1_800_000_000.0
"""The platform's clock; ours is far from it."""


@pytest.fixture
def platform(assumed: Assumptions) -> SimulatedPlatform:
    return SimulatedPlatform(seed=1, clock=lambda: START, assumed=assumed)


async def polled(exporter: RunningExporter, team: str = "render") -> Samples:
    """The exposition after a poll that began after this call and has ended."""
    now = time.time()

    async def ended() -> bool:
        teams = (await exporter.json("/api/v1/status"))["teams"]
        (found,) = (each for each in teams if each["name"] == team)
        # Both lists are published before what is derived from them; only then is the next poll due.
        return found["next_poll_at"] is not None and all(
            each["success"] and (each["last_attempt_at"] or 0.0) > now for each in found["collectors"]
        )

    await wait_until(ended, within=60)
    return await exporter.samples()


def script(team: SimulatedTeam) -> list[Callable[[], None]]:
    """The history, a step before each poll: three tasks before the first poll, then two starts, ends and retries."""
    old = team.add_task(status="completed", created_at=START - 500, started_at=START - 400, completed_at=START - 300)
    long = team.add_task(status="running", created_at=START - 90, started_at=START - 60)
    waiting = team.add_task(status="waiting", created_at=START - 50, labels=["gpu", "mi300x"])
    fails = team.add_task(status="pending", created_at=START - 20)
    # More than a page of later tasks, so that the long one ends pages away from them.
    team.add_tasks(150, status="completed", created_at=START - 10, started_at=START - 9, completed_at=START - 8)

    def start() -> None:
        team.move(waiting, status="running", started_at=START + 10, agent_id="a")  # waited 60
        team.move(fails, status="running", started_at=START, agent_id="a")  # waited 20

    def retry() -> None:
        team.move(fails, status="queued", retry_count=1)
        team.remove_task(old)

    def end() -> None:
        team.move(fails, status="running", started_at=START + 30, agent_id="a")
        team.move(waiting, status="completed", completed_at=START + 40)  # ran 30
        team.move(long, status="completed", completed_at=START + 40)  # waited before the exporter started, ran 100

    def more() -> None:
        team.move(fails, status="failed", completed_at=START + 36)  # ran 6
        team.add_task(status="cancelled", created_at=START + 41, started_at=None, completed_at=START + 42)
        times = {"created_at": START + 43, "started_at": START + 45, "completed_at": START + 48}
        team.add_tasks(120, status="completed", **times)  # each waited 2, ran 3

    return [start, retry, end, more]


TOTALS = {
    ("cyberun_tasks_finished_total", "completed"): 122,
    ("cyberun_tasks_finished_total", "failed"): 1,
    ("cyberun_tasks_finished_total", "cancelled"): 1,
    ("cyberun_task_run_seconds_count", "completed"): 122,
    ("cyberun_task_run_seconds_sum", "completed"): 30 + 100 + 120 * 3,
    ("cyberun_task_run_seconds_count", "failed"): 1,
    ("cyberun_task_run_seconds_sum", "failed"): 6,
    ("cyberun_task_run_seconds_count", "cancelled"): 0,
    ("cyberun_task_wait_seconds_count", ""): 2 + 120,
    ("cyberun_task_wait_seconds_sum", ""): 60 + 20 + 120 * 2,
    ("cyberun_task_retries_total", ""): 1,
}


def totals(samples: Samples) -> dict[tuple[str, str], float | None]:
    return {
        (name, status): samples.value(name, team_name="render", **({"status": status} if status else {}))
        for name, status in TOTALS
    }


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.assumes("stable_order")
async def test_totals_equal_the_script(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, order: Order
) -> None:
    """However the lists are sorted, counters and histograms show what the script did after the first poll."""
    team = platform.add_team("render")
    steps = script(team)
    team.order = order
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    first = await polled(exporter)
    assert set(totals(first).values()) == {0}
    for step in steps:
        step()
        last = await polled(exporter)
    assert totals(last) == TOTALS
    bucket = {"team_name": "render", "status": "completed"}
    assert last.value("cyberun_task_run_seconds_bucket", le="5.0", **bucket) == 120
    assert last.value("cyberun_task_run_seconds_bucket", le="30.0", **bucket) == 121
    assert last.value("cyberun_collector_truncated", team_name="render", collector="tasks") == 0
    assert last.value("cyberun_task_oldest_started_timestamp_seconds", team_name="render") is None


async def test_a_restart_starts_at_zero(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """A second exporter that is started afterwards counts nothing."""
    for step in script(platform.add_team("render")):
        step()
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    await polled(exporter)
    assert set(totals(await polled(exporter)).values()) == {0}


@pytest.mark.assumes("labels_before_assignment")
async def test_waiting_work_is_dated_and_matched(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """The oldest tasks have their times; a waiting task has no eligible agent until an agent has its labels."""
    team = platform.add_team("render")
    team.add_agent("a", labels=["gpu"], status="busy")
    team.add_task(status="waiting", created_at=START - 100, labels=["gpu"])
    team.add_task(status="waiting", created_at=START - 300, labels=["gpu", "mi300x"])
    team.add_task(status="running", created_at=START - 900, started_at=START - 800)
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    samples = await polled(exporter)
    labels = {"team_name": "render"}
    created = "cyberun_task_oldest_created_timestamp_seconds"
    assert samples.value(created, status="waiting", **labels) == START - 300
    assert [found["status"] for found in samples.series(created)] == ["waiting"]
    assert samples.value("cyberun_task_oldest_started_timestamp_seconds", **labels) == START - 800
    assert samples.value("cyberun_tasks_without_eligible_agent", **labels) == 1
    team.add_agent("b", labels=["gpu", "mi300x", "rack-7"])
    assert (await polled(exporter)).value("cyberun_tasks_without_eligible_agent", **labels) == 0
    team.remove_agent("b")
    assert (await polled(exporter)).value("cyberun_tasks_without_eligible_agent", **labels) == 1


async def test_presence(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """Expected agents are disconnected from the start; a vanished one is remembered for `agent_memory`."""
    team = platform.add_team("render")
    team.add_agent("a", labels=["gpu", 'say "cheese"'])
    team.add_agent("b")
    config = {
        **FAST,
        "collect": {"interval": "1s", "agent_memory": "3s", "agent_labels": True},
        "teams": [{"name": "render", "expected_agents": ["b", "never-seen"]}],
    }
    exporter = await exporter_factory(config)
    await exporter.wait_ready()
    samples = await polled(exporter)

    def connected(samples: Samples) -> dict[str, float | None]:
        return {
            found["agent_id"]: samples.value("cyberun_agent_connected", **found)
            for found in samples.series("cyberun_agent_connected")
        }

    assert connected(samples) == {"a": 1, "b": 1, "never-seen": 0}
    seen = "cyberun_agent_last_seen_timestamp_seconds"
    assert {found["agent_id"] for found in samples.series(seen)} == {"a", "b"}
    assert {found["label"] for found in samples.series("cyberun_agent_label", agent_id="a")} == {"gpu", 'say "cheese"'}

    team.remove_agent("a")
    team.remove_agent("b")
    gone = await polled(exporter)
    assert connected(gone) == {"a": 0, "b": 0, "never-seen": 0}
    agent_series = {name for name in gone.names() for found in gone.series(name, agent_id="a")}
    assert agent_series == {"cyberun_agent_connected", seen}

    async def forgotten() -> bool:
        return connected(await exporter.samples()) == {"b": 0, "never-seen": 0}

    await wait_until(forgotten, within=60)
    last = await polled(exporter)
    assert last.value(seen, team_name="render", agent_id="b") == pytest.approx(time.time(), abs=60)
    assert last.series(seen, agent_id="never-seen") == []
    team.add_agent("a")
    assert connected(await polled(exporter)) == {"a": 1, "b": 0, "never-seen": 0}


@pytest.mark.assumes("stable_order")
async def test_prometheus_sees_the_script(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, prometheus: PrometheusFactory
) -> None:
    """A vanished agent's series go stale at once, and the counters' growth over the test is what the script did."""
    team = platform.add_team("render")
    steps = script(team)
    team.add_agent("a")
    team.add_agent("b")
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    await polled(exporter)
    server = await prometheus(
        {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": "cyberun", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}
            ],
        }
    )

    async def value(expression: str) -> float | None:
        found = await server.query(expression)
        return found[0].value if found else None

    def settled(expression: str, expected: float | None) -> Callable[[], Awaitable[bool]]:
        async def is_so() -> bool:
            return await value(expression) == expected

        return is_so

    await wait_until(settled('cyberun_agent_connected{agent_id="a"}', 1), within=60)
    await wait_until(settled("cyberun_task_retries_total", 0), within=60)
    for step in steps:
        step()
        await polled(exporter)
    team.remove_agent("a")
    await wait_until(settled('cyberun_agent_connected{agent_id="a"}', 0), within=60)
    # Not after the five minutes that Prometheus looks back: the series ended with the scrape that lacked them.
    for metric in ("cyberun_agent_gpu_capacity", "cyberun_agent_status", "cyberun_agent_info"):
        assert await server.query(f'{metric}{{agent_id="a"}}') == []
        assert await server.query(f'{metric}{{agent_id="b"}}')
    assert await value('time() - cyberun_agent_last_seen_timestamp_seconds{agent_id="a"}') == pytest.approx(0, abs=60)
    await _compare_growth(server)


async def _compare_growth(server: RunningPrometheus) -> None:
    """The last value less the first one, without the estimate beyond both that increase() adds."""
    for (name, status), expected in TOTALS.items():
        labels = f'{{status="{status}"}}' if status else ""
        (first,) = await server.query(f"min_over_time({name}{labels}[10m])")
        (last,) = await server.query(f"{name}{labels}")
        assert last.value - first.value == expected, (name, status)
        (resets,) = await server.query(f"resets({name}{labels}[10m])")
        assert resets.value == 0
    # increase() extends what it saw by at most one scrape interval at either end: ten scrapes bound that to a fifth.
    await asyncio.sleep(1)
    (increase,) = await server.query('increase(cyberun_tasks_finished_total{status="completed"}[10m])')
    (count,) = await server.query('count_over_time(cyberun_tasks_finished_total{status="completed"}[10m])')
    assert 122 <= increase.value <= 122 * (1 + 2 / (count.value - 1))
    (rate,) = await server.query('rate(cyberun_tasks_finished_total{status="completed"}[10m])')
    assert rate.value * 600 == pytest.approx(increase.value, rel=0.05)
    (quantile,) = await server.query(
        "histogram_quantile(0.5, sum by (le) (rate(cyberun_task_run_seconds_bucket[10m])))"
    )
    assert 1 < quantile.value <= 5
