"""A pair of vmagents, configured as on the page about collectors, writing to a real VictoriaMetrics.

`make compat` fetches both; where vmagent is not on PATH this is skipped.
"""

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from exporter.demo import SimulatedPlatform
from support import ExporterFactory, RunningPrometheus, free_port, wait_until
from support.documents import DOCS, blocks
from support.programs import Program

pytestmark = pytest.mark.skipif(
    shutil.which("vmagent") is None,
    reason="vmagent is not on PATH: the page about collectors is NOT tested with it",
)

INTERVAL = 1
TARGET = {"__name__", "job", "instance"}
MOVING = ("cyberun_collector_", "cyberun_exporter_", "cyberun_agent_last_seen")
"""What is another number at each scrape or poll."""


class RunningVmagent(Program):
    """`vmagent` on a free port."""

    ready_path = "/health"


async def test_every_series_arrives_once(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, programs: AsyncExitStack, tmp_path: Path
) -> None:
    """With two vmagents and the page's file, names, labels, buckets and values are the exporter's, each sample once."""
    team = platform.add_team("render")
    team.add_agents(2)
    exporter = await exporter_factory({"collect": {"interval": "1s"}})
    await exporter.wait_ready()
    team.add_tasks(3, status="completed")
    (text,) = [block for block in blocks(DOCS / "collectors.md", "yaml") if block.startswith("# prometheus.yml")]
    config = yaml.safe_load(text.replace("localhost:10042", exporter.url.removeprefix("http://")))
    config["global"]["scrape_interval"] = f"{INTERVAL}s"
    (tmp_path / "scrape.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    server = RunningPrometheus.configured(tmp_path, {}, server="victoria-metrics")
    server.command.append(f"-dedup.minScrapeInterval={INTERVAL}s")
    await programs.enter_async_context(server)
    await server.wait_ready(within=30)
    for number in (1, 2):
        port = free_port()
        directory = tmp_path / f"vmagent-{number}"
        directory.mkdir()
        command = [
            str(shutil.which("vmagent")),
            f"-promscrape.config={tmp_path / 'scrape.yml'}",
            f"-remoteWrite.url={server.url}/api/v1/write",
            f"-remoteWrite.tmpDataPath={directory}",
            f"-httpListenAddr=127.0.0.1:{port}",
        ]
        agent = RunningVmagent(command, directory=directory, port=port, environment={"PATH": os.environ["PATH"]})
        await programs.enter_async_context(agent)
        await agent.wait_ready(within=30)
    await asyncio.sleep(12 * INTERVAL)  # before anything is asked for, and so remembered as missing

    async def same() -> bool:
        # An empty label is none to every server of this kind.
        exposed = {
            (name, frozenset(item for item in labels if item[1])): value
            for (name, labels), value in (await exporter.samples()).values.items()
            if name.startswith("cyberun_")
        }
        stored = {
            (
                each.labels["__name__"],
                frozenset(item for item in each.labels.items() if item[0] not in TARGET),
            ): each.value
            for each in await server.query('{__name__=~"cyberun_.+"}')
        }
        assert stored.keys() <= exposed.keys()
        still = {key for key in exposed if not key[0].startswith(MOVING)}
        return stored.keys() == exposed.keys() and all(stored[key] == exposed[key] for key in still)

    await wait_until(same, within=20, every=0.5)
    assert await server.query('cyberun_task_run_seconds_bucket{le="+Inf", status="completed"} == 3')
    (samples,) = await server.query("count_over_time(up[8s])")
    assert samples.value <= 8 / INTERVAL + 1
