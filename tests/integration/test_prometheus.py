import asyncio
import math
from typing import Any

import pytest

from exporter.demo import SimulatedPlatform
from support import (
    ExporterFactory,
    PrometheusFactory,
    RunningExporter,
    RunningPrometheus,
    parse_openmetrics,
    required,
    wait_until,
)

API = {"timeout": "2s", "max_requests_per_second": 1000}


@pytest.fixture
async def exporter(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> RunningExporter:
    """An exporter of three teams with 4, 5 and 6 agents, all of them up."""
    for number, kind in enumerate(("integration", "device", "jwt")):
        team = platform.add_team(f"team-{number}", kind=kind, quotas={"max_agents": 50})
        team.add_agents(4 + number, gpus=2, labels=['"gpu"', "a\\b\n"])
        for status in ("waiting", "running", "completed"):
            team.add_tasks(3, status=status)
    teams = [{"name": team.name, "team_id": team.team_id} for team in platform.teams.values()]
    exporter = await exporter_factory(
        {"api": API, "teams": teams, "collect": {"interval": "1s", "stale_after": "4s", "agent_labels": True}}
    )
    await exporter.wait_ready()
    return exporter


@pytest.fixture
async def server(exporter: RunningExporter, prometheus: PrometheusFactory) -> RunningPrometheus:
    """A Prometheus that scrapes it every second."""
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "cyberun", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]},
        ],
    }
    server = await prometheus(config)

    async def scraped() -> bool:
        return [series.value for series in await server.query("up")] == [1]

    await wait_until(scraped, within=20)
    return server


async def values(server: RunningPrometheus, expression: str) -> list[float]:
    return [series.value for series in await server.query(expression)]


async def test_prometheus_stores_what_is_served(
    platform: SimulatedPlatform, exporter: RunningExporter, server: RunningPrometheus
) -> None:
    """A Prometheus takes every sample, with types and units, and sees each team and agent."""
    assert [(target["health"], target["lastError"]) for target in await server.targets()] == [("up", "")]
    assert await values(server, "cyberun_up") == [1, 1, 1]
    agents = sum(team.agents().total for team in platform.teams.values())
    assert await values(server, "count(cyberun_agent_connected == 1)") == [agents]
    assert await values(server, 'cyberun_tasks{team_name="team-1", status="waiting"}') == [3]
    assert await values(server, 'count(cyberun_agent_label{label="a\\\\b\\n"})') == [agents]

    async def agreed() -> bool:
        served = len(parse_openmetrics(await exporter.scrape(openmetrics=True)).values)
        return await values(server, "scrape_samples_scraped") == [served]

    # The count of self metrics settles with the first polls; from then on the two agree.
    await wait_until(agreed)
    assert await values(server, "scrape_samples_post_metric_relabeling - scrape_samples_scraped") == [0]
    name = "cyberun_agent_gpu_vram_free_bytes"
    [metadata] = (await server.api("metadata", metric=name))[name]
    assert (metadata["type"], metadata["unit"]) == ("gauge", "bytes")


async def test_a_vanished_agent_ends_at_the_next_scrape(platform: SimulatedPlatform, server: RunningPrometheus) -> None:
    """The series of an agent that left end at once, except its presence, which is 0, and when it was last seen."""
    agent = '{team_name="team-0", agent_id="gpu-node-02"}'
    assert await values(server, f"cyberun_agent_connected{agent}") == [1]
    platform.teams["team-0"].remove_agent("gpu-node-02")

    async def left() -> bool:
        return await values(server, f"cyberun_agent_connected{agent}") == [0]

    await wait_until(left, within=20)

    async def ended() -> bool:
        names = {series.labels["__name__"] for series in await server.query(agent)}
        return names == {"cyberun_agent_connected", "cyberun_agent_last_seen_timestamp_seconds"}

    # What is made of both lists is published when a poll has read both.
    await wait_until(ended, within=20)
    assert await values(server, 'count(cyberun_agent_connected{team_name="team-0"} == 1)') == [3]


async def test_a_hanging_team_goes_down_and_its_series_end(
    platform: SimulatedPlatform, server: RunningPrometheus
) -> None:
    """A team whose platform hangs is down at once; its data ends after stale_after, that of other teams stays."""
    platform.faults.set("hang", team="team-1")
    platform.faults.set("hang", team="team-1", path="/users/me")

    async def down() -> bool:
        return await values(server, 'cyberun_up{team_name="team-1"}') == [0]

    async def ended() -> bool:
        return not await server.query('{__name__=~"cyberun_(task|agent|team).*", team_name="team-1"}')

    await wait_until(down, within=20)
    await wait_until(ended, within=20)
    assert await values(server, 'cyberun_up{team_name!="team-1"}') == [1, 1]
    assert await values(server, "count(cyberun_agent_connected == 1)") == [4 + 6]
    [series] = await values(server, 'cyberun_exporter_series{team_name="team-1"}')
    assert series == 0
    assert not any(map(math.isnan, await values(server, '{job="cyberun"}')))


async def test_promtool_finds_nothing_wrong(exporter: RunningExporter) -> None:
    """`promtool check metrics` has no complaint about the text format."""
    process = await asyncio.create_subprocess_exec(
        required("promtool"),
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate((await exporter.scrape()).encode())
    assert (process.returncode, output.decode()) == (0, "")
