"""The rules without hold on VictoriaMetrics and vmalert, for which they are made.

`make compat` fetches both; where they are not on PATH these tests are skipped.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import pytest
import yaml

from exporter.demo import SimulatedPlatform
from integration.test_alerts import AGENT, Inbox, delivering, inbox, quick
from support import (
    AlertmanagerFactory,
    ExporterFactory,
    RunningExporter,
    RunningPrometheus,
    free_port,
    required,
    wait_until,
)
from support.programs import Program, content
from support.rules import ALERTS, WITHOUT_HOLD, timelines_without_hold

__all__ = ["inbox"]

pytestmark = pytest.mark.skipif(
    shutil.which("vmalert-tool") is None,
    reason="vmalert is not on PATH: the rules without hold are NOT tested on the ruler they are for",
)


async def test_timelines_on_vmalert(tmp_path: Path) -> None:
    """On every timeline of the unit tests, vmalert fires, resolves and stays quiet like Prometheus."""
    files = []
    for alert in ALERTS:
        document = timelines_without_hold(alert, tmp_path)
        for group in document["tests"]:
            if "promql_expr_test" in group:
                group["metricsql_expr_test"] = group.pop("promql_expr_test")
        path = tmp_path / f"{alert.name}_test.yml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        files.append(f"--files={path}")
    output = await content("vmalert-tool", "unittest", *files, "--disableAlertgroupLabel")
    assert output.count("SUCCESS") == len(ALERTS)


class RunningVmalert(Program):
    """`vmalert` on a free port."""

    ready_path = "/health"

    @classmethod
    def configured(cls, directory: Path, *arguments: str) -> Self:
        """With these flags; entering the result starts the program."""
        port = free_port()
        command = [required("vmalert"), f"-httpListenAddr=127.0.0.1:{port}", *arguments]
        return cls(command, directory=directory, port=port, environment={"PATH": os.environ["PATH"]})


Start = Callable[[RunningExporter], Awaitable[None]]


@pytest.fixture
def vmalert(programs: AsyncExitStack, alertmanager: AlertmanagerFactory, inbox: Inbox, tmp_path: Path) -> Start:
    """Starts a VictoriaMetrics that scrapes an exporter, and a vmalert with sped-up rules that notifies the inbox."""

    async def start(exporter: RunningExporter) -> None:
        address = exporter.url.removeprefix("http://")
        scrape = {"job_name": "cyberun", "static_configs": [{"targets": [address]}]}
        config = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": [scrape]}
        for path in WITHOUT_HOLD:
            (tmp_path / path.name).write_text(quick(path.read_text(encoding="utf-8")), encoding="utf-8")
        database = await programs.enter_async_context(
            RunningPrometheus.configured(tmp_path, config, server="victoria-metrics")
        )
        await database.wait_ready(within=30)

        async def scraped() -> bool:
            return [target["health"] for target in await database.targets()] == ["up"]

        await wait_until(scraped)
        # A query that comes too early finds no such name, and VictoriaMetrics remembers that for a while.
        await asyncio.sleep(2)
        mails = await alertmanager(delivering(inbox))
        ruler = await programs.enter_async_context(
            RunningVmalert.configured(
                tmp_path,
                *(f"-rule={tmp_path / path.name}" for path in WITHOUT_HOLD),
                f"-datasource.url={database.url}",
                f"-notifier.url={mails.url}",
                "-evaluationInterval=500ms",
                "-rule.evalDelay=0s",
            )
        )
        await ruler.wait_ready(within=30)

    return start


async def test_a_team_that_is_down_ends_its_alerts_on_vmalert(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, vmalert: Start, inbox: Inbox
) -> None:
    """An alert is delivered, ends when its data is withheld (which is reported too), and returns with the data."""
    team = platform.add_team("render")
    team.add_agent(AGENT, status="unhealthy")
    unhealthy, down = ("CyberunAgentUnhealthy", "render"), ("CyberunTeamDown", "render")
    collect = {"interval": "1s", "stale_after": "4s"}
    exporter = await exporter_factory({"collect": collect, "api": {"max_requests_per_second": 1000, "timeout": "1s"}})
    await exporter.wait_ready()
    await vmalert(exporter)
    await inbox.until("firing", unhealthy)
    platform.faults.set("status", team="render", path="/r/agents", value=503)
    await inbox.until("firing", down)
    await inbox.until("resolved", unhealthy)
    platform.faults.clear("status", team="render", path="/r/agents")
    await inbox.until("resolved", down)
    await inbox.until("firing", unhealthy)
    team.update_agent(AGENT, status="idle")
    await inbox.until("resolved", unhealthy)

    assert {name for (name, _), _ in inbox.history} <= {unhealthy[0], down[0], "CyberunDataStale"}
