"""Every query of every dashboard, sent to a real Prometheus that scrapes an exporter of a simulated fleet."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from exporter.demo import SimulatedPlatform, demo_platform
from exporter.demo.fleet import SimulatedTeam
from grafana import reading
from support import RunningExporter, RunningPrometheus, promql, wait_until
from support.dashboards import VALUES, Query, every_query
from support.prometheus import SERVER

# VictoriaMetrics scrapes, and leaves rules to another program.
RULES = SERVER == "prometheus"
RATE_WINDOW = 5.0
"""Seconds, longer than the window of a rate in these tests: so long it has a value when the exporter is gone."""
QUERIES = [query for query in every_query() if RULES or "ALERTS" not in query.source]

# What is empty on a healthy fleet, by dashboard, panel and query, and why; each appears once something is wrong.
MAY_HAPPEN = "no agent leaves and no alert fires, though in a living fleet one may at any time"
RESTARTS = [f"{uid}: annotation Exporter restarts" for uid in reading.load()]
EMPTY_WHEN_HEALTHY = {
    **{query.name: MAY_HAPPEN for query in QUERIES if query.name.endswith("runbooks B")},
    "cyberun-exporter: Credentials D": "no session renews itself within the test",
    "cyberun-exporter: Polls I": "no team backs off",
    "cyberun-exporter: Series B": "no limit is reached",
    **{f"{uid}: annotation Agent disconnects": MAY_HAPPEN for uid in reading.load()},
    **dict.fromkeys(RESTARTS, "the first start is no restart"),
}
# What still has a value when the exporter is gone, and why.
KNOWN_WITHOUT_EXPORTER = {
    "cyberun-overview: Not reporting A": "it says that the exporter is gone",
    "cyberun-exporter: Not reporting A": "it says that the exporter is gone",
    "cyberun-overview: Teams A": "it says which teams do not report",
    "cyberun-overview: Firing alerts A": "Prometheus evaluates the rules",
    "cyberun-overview: Firing alerts and their runbooks A": "Prometheus evaluates the rules",
    "cyberun-overview: Firing alerts and their runbooks B": "Prometheus evaluates the rules",
}


@dataclass(slots=True)
class Rig:
    """A fleet that changes, one scripted team, an exporter and a Prometheus. Mutable."""

    platform: SimulatedPlatform
    team: SimulatedTeam
    exporter: RunningExporter
    prometheus: RunningPrometheus
    seen: set[str] = field(default_factory=set)
    """Queries that gave data, by name."""
    without_exporter: dict[str, list[float]] = field(default_factory=dict)
    """The results of panel queries while the exporter was gone, by name; empty results are left out."""
    marks: list[int] = field(default_factory=list)
    """How many points each annotation about restarts had after one restart."""

    def play(self) -> None:
        """One second of the script: a task of each kind ends."""
        now = time.time()
        for status in ("completed", "failed", "cancelled"):
            times = {"created_at": now - 9, "started_at": now - 6, "completed_at": now}
            self.team.add_task(status=status, agent_id="studio-1", retry_count=1, **times)
        for agent in ("studio-1", "studio-2"):
            self.team.update_agent(agent, last_heartbeat=now)
        completed = self.team.agent("studio-1")["tasks_completed"]
        self.team.update_agent("studio-1", tasks_completed=completed + 1)

    def renew_session(self, name: str) -> None:
        """Replaces a team's JWT by one that expires later."""
        team = self.platform.teams[name]
        self.platform.access.refresh(team.refresh_token)
        self.exporter.write_token(name, team.token)

    async def ask(self, query: Query) -> list[Any]:
        """The current result of the query: elements, or the values of a label."""
        data = await self.prometheus.api(query.path, **query.at(time.time()))
        return list(data if isinstance(data, list) else data["result"])

    async def until(self, wanted: set[str], *, within: float) -> None:
        """Continues until all these queries have returned data or time is up; the tests report what is missing."""
        deadline = time.monotonic() + within
        while wanted - self.seen and time.monotonic() < deadline:
            self.play()
            missing = [query for query in QUERIES if query.name not in self.seen]
            answers = await asyncio.gather(*(self.ask(query) for query in missing))
            self.seen |= {query.name for query, data in zip(missing, answers, strict=True) if data}
            await asyncio.sleep(1)

    async def miss_the_exporter(self) -> None:
        """Reads the current values of all panels after Prometheus noticed that the exporter is gone."""

        async def noticed() -> bool:
            return [series.value for series in await self.prometheus.query("up")] == [0]

        await wait_until(noticed)
        await asyncio.sleep(RATE_WINDOW)
        for query in QUERIES:
            if query.source and "annotation" not in query.name:
                series = await self.prometheus.query(query.chosen())
                if series:
                    self.without_exporter[query.name] = [each.value for each in series]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """Everything started; one Prometheus for all tests of this module."""
    platform = demo_platform(agents=18)
    team = platform.add_team("studio")
    team.add_agent("studio-1", gpus=2, status="busy")
    team.add_agent("studio-2", status="syncing", sync_phase="downloading", sync_percent=40)
    for status in ("pending", "waiting", "queued"):
        team.add_task(status=status, created_at=time.time() - 60)
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(platform.serve())
        exporter = await stack.enter_async_context(_exporter(tmp_path_factory.mktemp("exporter"), platform, base_url))
        await exporter.wait_ready()
        target = {"targets": [f"127.0.0.1:{exporter.port}"]}
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "cyberun-exporter", "static_configs": [target]}],
        }
        if RULES:
            config["global"]["evaluation_interval"] = "1s"
            config["rule_files"] = _rules(tmp_path_factory.mktemp("rules"))
        server = RunningPrometheus.configured(tmp_path_factory.mktemp("prometheus"), config)
        prometheus = await stack.enter_async_context(server)
        await prometheus.wait_ready(within=30)
        yield Rig(platform, team, exporter, prometheus)


def _rules(directory: Path) -> list[str]:
    """The alert rules, without waiting times."""
    for path in promql.RULES.glob("*.yml"):
        text = re.sub(
            r"^( +(?:keep_firing_)?for:) \w+$", r"\1 0s", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        (directory / path.name).write_text(text, encoding="utf-8")
    return [str(directory / "*.yml")]


def _exporter(directory: Path, platform: SimulatedPlatform, base_url: str) -> RunningExporter:
    config = {
        "api": {"base_url": base_url, "max_requests_per_second": 1000, "timeout": "5s"},
        "collect": {"interval": "1s", "stale_after": "30s", "max_agents": 10, "agent_labels": True, "workflows": 5},
        "discover": [{"token_file": "secrets/batch", "exclude": [".*"]}],
        "teams": [{"name": team.name, "team_id": team.team_id} for team in platform.teams.values()],
    }
    return RunningExporter.configured(
        directory, config, tokens={team.name: team.token for team in platform.teams.values()}
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def healthy(rig: Rig) -> set[str]:
    """Queries that return data on a healthy fleet."""
    await rig.until({query.name for query in QUERIES} - set(EMPTY_WHEN_HEALTHY), within=40)
    return set(rig.seen)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def troubled(rig: Rig, healthy: set[str]) -> set[str]:
    """Queries that then return data during faults: a failing platform, agents that leave, an exporter that is gone."""
    disconnects = {name for name in EMPTY_WHEN_HEALTHY if name.endswith("disconnects")}
    rig.platform.faults.parse("render:/r/tasks:status=429/60, research:/agents:hostile=types")
    rig.team.add_agents(20, prefix="too-many-")
    rig.renew_session("batch")
    await rig.until(set(EMPTY_WHEN_HEALTHY) - disconnects - set(RESTARTS), within=60)
    rig.team.clear_agents()
    rig.team.add_agent("studio-1", status="busy")
    rig.team.add_agent("studio-2", status="syncing")
    await rig.until(disconnects, within=60)
    await rig.exporter.stop()
    await rig.miss_the_exporter()
    async with rig.exporter:
        await rig.exporter.wait_ready()
        await rig.until(set(RESTARTS), within=60)
        await asyncio.sleep(3)
        marks = [await rig.ask(query) for query in QUERIES if query.name in RESTARTS]
        rig.marks = [len(series["values"]) for found in marks for series in found]
    return healthy | rig.seen


@pytest.mark.parametrize("name", [query.name for query in QUERIES if query.name not in EMPTY_WHEN_HEALTHY])
def test_a_healthy_fleet_shows_data(healthy: set[str], name: str) -> None:
    """Every query of every panel and variable returns data on a healthy fleet."""
    assert name in healthy


@pytest.mark.parametrize("name", EMPTY_WHEN_HEALTHY)
def test_trouble_fills_what_was_empty(healthy: set[str], troubled: set[str], name: str) -> None:
    """Panels that are empty on a healthy fleet show data once there is something to show."""
    assert name not in healthy or EMPTY_WHEN_HEALTHY[name] == MAY_HAPPEN
    assert name in troubled


@pytest.mark.usefixtures("troubled")
def test_an_exporter_that_is_gone_is_noticed(rig: Rig) -> None:
    """When the exporter is gone, the first number says so, and its alert fires."""
    assert rig.without_exporter["cyberun-overview: Not reporting A"] == [1]
    assert rig.without_exporter["cyberun-exporter: Not reporting A"] == [1]
    assert set(rig.without_exporter["cyberun-overview: Teams A"]) == {0}
    assert rig.without_exporter.get("cyberun-overview: Firing alerts A", [0]) > [0] or not RULES


@pytest.mark.usefixtures("troubled")
def test_no_number_outlives_the_exporter(rig: Rig) -> None:
    """When the exporter is gone, every panel is empty except those that say so: no number, no row, no "none"."""
    assert set(rig.without_exporter) <= set(KNOWN_WITHOUT_EXPORTER)


@pytest.mark.usefixtures("troubled")
def test_a_restart_is_one_line(rig: Rig) -> None:
    """A restart is marked once: two points next to each other would be drawn as a region."""
    assert rig.marks == [1] * len(RESTARTS)


@pytest.mark.usefixtures("healthy")
@pytest.mark.asyncio(loop_scope="module")
async def test_rows_of_tables_are_named_by_what_is_shown(rig: Rig) -> None:
    """The labels of a table's queries are columns; otherwise one row would become several."""
    for uid, board in reading.load().items():
        for panel in reading.panels(board):
            if panel["type"] == "table":
                shown = panel["transformations"][-1]["options"]["renameByName"]
                for target in panel["targets"]:
                    found = await rig.prometheus.query(reading.filled(target["expr"], VALUES))
                    labels = {label for series in found for label in series.labels}
                    assert labels <= set(shown), f"{uid}: {panel['title']} {target['refId']}"


def test_the_exceptions_exist() -> None:
    """Every exception names an existing query."""
    assert set(EMPTY_WHEN_HEALTHY) <= {query.name for query in QUERIES}
    assert set(KNOWN_WITHOUT_EXPORTER) <= {query.name for query in every_query()}
