"""How much a dashboard loads from Prometheus into a browser for a large fleet."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from exporter.demo import demo_platform
from grafana import reading
from support import CommandFactory, RunningPrometheus, required

TEAMS, AGENTS = 30, 600
SPAN = 3 * 3600.0
"""The time range when a dashboard is opened."""
SCRAPE = 30.0
WIDTH = 1600
GAP = 290.0
"""Seconds between two samples; Prometheus considers a sample current for 300 s."""
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def history(exposition: str, drawn: set[str], now: float) -> Iterator[str]:
    """All samples as scraped now, and those that graphs use also over the time range, as OpenMetrics."""
    target = 'job="cyberun",instance="exporter:10042"'
    before = [now - SPAN + GAP * number for number in range(int(SPAN / GAP))]
    for line in exposition.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found and found[1].startswith("cyberun_"):
            times = [*(before if found[1] in drawn else ()), now - 1]
            labels = f"{target},{found[2]}" if found[2] else target
            yield from (f"{found[1]}{{{labels}}} {found[3]} {moment:.3f}\n" for moment in times)
    yield "# EOF\n"


def asked(board: dict[str, Any], now: float) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Grafana's requests for each panel: title, path and parameters."""
    for panel in reading.panels(board):
        pixels = (WIDTH - 32) * panel["gridPos"]["w"] / 24
        step = max(SCRAPE, {"1m": 60.0}.get(panel.get("interval", ""), SCRAPE), SPAN / pixels)
        values = reading.EVERYTHING | reading.intervals(step=step, scrape=SCRAPE, span=SPAN)
        for target in panel["targets"]:
            query = {"query": reading.filled(target["expr"], values)}
            if target["instant"]:
                yield panel["title"], "query", query | {"time": f"{now}"}
            else:
                times = {"start": f"{now - SPAN}", "end": f"{now}", "step": f"{step}"}
                yield panel["title"], "query_range", query | times


async def test_a_load_of_agents_stays_small(run_command: CommandFactory, tmp_path: Path) -> None:
    """Opening Agents loads less than 500 KB for 600 agents in 30 teams with three hours of history."""
    platform = demo_platform(teams=TEAMS, agents=AGENTS)
    async with platform.serve() as base_url:
        config = {
            "api": {"base_url": base_url, "max_requests_per_second": 1000, "timeout": "60s"},
            "teams": [{"name": team.name, "team_id": team.team_id} for team in platform.teams.values()],
        }
        tokens = {team.name: team.token for team in platform.teams.values()}
        once = await run_command("once", config, tokens=tokens)
    assert once.code == 0, once.stderr
    now = time.time()
    questions = list(asked(reading.load()["cyberun-agents"], now))
    drawn = {
        name
        for _, path, query in questions
        for name in re.findall(r"cyberun_\w+", query["query"])
        if path == "query_range" or name.endswith("_total")
    }
    (tmp_path / "history.txt").write_text("".join(history(once.stdout, drawn, now)), encoding="utf-8")
    backfill = ("tsdb", "create-blocks-from", "openmetrics", str(tmp_path / "history.txt"), str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(required("promtool"), *backfill, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0

    sizes = dict.fromkeys((title for title, _, _ in questions), 0)
    async with RunningPrometheus.configured(tmp_path, {}) as server:
        await server.wait_ready(within=60)
        for title, path, query in questions:
            answer = await server.get(f"/api/v1/{path}?{urlencode(query)}")
            assert answer.status == 200, answer.text
            sizes[title] += len(answer.text.encode())
    assert sizes["Status of the agents longest out of service"] > 50_000, "there is nothing to be asked for"
    assert sum(sizes.values()) < 500_000, sizes
