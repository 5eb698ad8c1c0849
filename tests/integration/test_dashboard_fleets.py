"""What the dashboards show with two exporters of a fleet, two jobs, probes instead of scrapes, or nothing."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.demo import SimulatedPlatform
from grafana import reading
from support import ExporterFactory, PrometheusFactory, RunningExporter, RunningPrometheus, wait_until
from support.dashboards import VALUES, every_query
from support.prometheus import Series

PATIENCE = 60
AGENTS = 7
THRESHOLD = 3
"""Of the alert about stale data, in poll intervals."""
EXAMPLE = Path(__file__).parents[2] / "prometheus" / "prometheus-probe.yml"


def targets_of(uid: str, title: str) -> list[str]:
    """The expressions of a panel."""
    (panel,) = [each for each in reading.panels(reading.load()[uid]) if each["title"] == title]
    return [target["expr"] for target in panel["targets"]]


async def shown(server: RunningPrometheus, uid: str, title: str, query: int = 0) -> list[Series]:
    """The current result of a panel's query."""
    return await server.query(reading.filled(targets_of(uid, title)[query], VALUES))


async def number(server: RunningPrometheus, uid: str, title: str, **chosen: str) -> float | None:
    """The number that a panel shows now, if any, with these values of the variables instead of all."""
    (expression,) = targets_of(uid, title)
    series = await server.query(reading.filled(expression, VALUES | chosen))
    return series[0].value if series else None


async def rows(server: RunningPrometheus) -> list[float]:
    """The teams that report, from the Overview's table."""
    return sorted(row.value for row in await shown(server, "cyberun-overview", "Teams"))


def settle(read: Callable[[], Awaitable[Any]], wanted: Any) -> Awaitable[bool]:
    """Waits until a panel shows what it should."""

    async def there() -> bool:
        return bool(await read() == wanted)

    return wait_until(there, within=PATIENCE, every=0.3)


@pytest.fixture
def two_teams(platform: SimulatedPlatform) -> SimulatedPlatform:
    """A fleet that does not change: each team has agents, one of them busy, and tasks that wait and run."""
    for name in ("render", "batch"):
        team = platform.add_team(name)
        team.add_agents(AGENTS, prefix=f"{name}-")
        team.update_agent(f"{name}-01", status="busy", running_count=1)
        team.add_tasks(3, status="waiting")
        team.add_task(status="running", agent_id=f"{name}-01")
    return platform


@pytest.fixture
async def exporters(two_teams: SimulatedPlatform, exporter_factory: ExporterFactory) -> list[RunningExporter]:
    """Three exporters of this fleet."""
    assert two_teams.teams
    config = {"collect": {"interval": "1s", "stale_after": "20s"}}
    found = [await exporter_factory(config) for _ in range(3)]
    for each in found:
        await each.wait_ready(within=PATIENCE)
    return found


def job(name: str, *exporters: RunningExporter) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [address(each) for each in exporters]}]}


def address(exporter: RunningExporter) -> str:
    return f"127.0.0.1:{exporter.port}"


GLOBAL = {"scrape_interval": "1s", "scrape_timeout": "1s"}

COUNTS = [
    ("cyberun-agents", "Connected", 2 * AGENTS),
    ("cyberun-agents", "Disconnected", 0),
    ("cyberun-tasks", "Not started", 6),
    ("cyberun-tasks", "Running", 2),
    ("cyberun-overview", "Agents in service", 1),
]


async def test_a_second_exporter_of_a_fleet_counts_nothing_twice(
    exporters: list[RunningExporter], prometheus: PrometheusFactory
) -> None:
    """Sums, counts and rows are the same with one exporter and with two of one job."""
    server = await prometheus({"global": GLOBAL, "scrape_configs": [job("cyberun", *exporters[:2])]})
    for one in (address(exporters[0]), address(exporters[1]), ".+"):
        for uid, title, wanted in COUNTS:
            await settle(lambda: number(server, uid, title, instance=one), wanted)  # noqa: B023  awaited at once
    for query in every_query():
        if query.path == "query" and query.uid != "cyberun-exporter":
            alone, both = query.chosen(instance=address(exporters[0])), query.chosen()

            async def same() -> bool:
                return len(await server.query(alone)) == len(await server.query(both))  # noqa: B023  awaited at once

            # A growth needs two scrapes of an exporter.
            await wait_until(same, within=PATIENCE)


async def test_exporters_that_disagree_count_no_agent_twice(
    two_teams: SimulatedPlatform, exporter_factory: ExporterFactory, prometheus: PrometheusFactory
) -> None:
    """An agent that one exporter knows as idle and a later one as busy is one agent in service."""
    exporters = [
        await exporter_factory({"collect": {"interval": interval, "stale_after": "2h"}}) for interval in ("1s", "1h")
    ]
    for each in exporters:
        await each.wait_ready(within=PATIENCE)
    server = await prometheus({"global": GLOBAL, "scrape_configs": [job("cyberun", *exporters)]})
    for name in ("render", "batch"):
        for agent in range(1, AGENTS + 1):
            two_teams.teams[name].update_agent(f"{name}-{agent:02}", status="busy")

    async def in_service() -> tuple[float, ...]:
        busy = await server.query('sum(max by (team_name) (cyberun_agents{status="busy"}))')
        share = await number(server, "cyberun-overview", "Agents in service")
        return (*(series.value for series in busy), *([] if share is None else [share]))

    await settle(in_service, (2 * AGENTS, 1))


async def test_equal_names_under_two_jobs_stay_two_rows(
    exporters: list[RunningExporter], prometheus: PrometheusFactory
) -> None:
    """Two jobs are two fleets: each of their teams has its own row, and all of their agents count."""
    jobs = [job("cyberun", *exporters[:2]), job("staging", exporters[2])]
    server = await prometheus({"global": GLOBAL, "scrape_configs": jobs})
    await settle(lambda: number(server, "cyberun-agents", "Connected"), 4 * AGENTS)
    for position in range(len(targets_of("cyberun-overview", "Teams"))):
        rows = await shown(server, "cyberun-overview", "Teams", position)
        teams = Counter((row.labels["job"], row.labels["team_name"]) for row in rows)
        wanted = [(each, team) for each in ("cyberun", "staging") for team in ("render", "batch")]
        assert set(teams) <= set(wanted), position
        assert position or teams == Counter(wanted)
        assert set(teams.values()) <= {1}


async def test_a_list_that_was_never_read_is_drawn_as_the_oldest(
    two_teams: SimulatedPlatform, exporter_factory: ExporterFactory, prometheus: PrometheusFactory
) -> None:
    """A team of which a list could not be read since the start is above all others, and above the alert's threshold."""
    two_teams.faults.parse("batch:/r/tasks:status=500")
    exporter = await exporter_factory({"collect": {"interval": "1s", "stale_after": "20s"}})
    server = await prometheus({"global": GLOBAL, "scrape_configs": [job("cyberun", exporter)]})

    async def oldest_first() -> list[str]:
        drawn = await shown(server, "cyberun-overview", "Data age in poll intervals")
        fresh = [series for series in drawn if series.labels["team_name"] == "render" and series.value < THRESHOLD]
        late = [series for series in drawn if series.labels["team_name"] == "batch" and series.value > THRESHOLD]
        return [series.labels["team_name"] for series in (*late, *fresh)]

    await settle(oldest_first, ["batch", "render"])


async def test_probes_fill_the_variables_and_every_choice_shows_something(
    exporters: list[RunningExporter], prometheus: PrometheusFactory
) -> None:
    """With the example for probes, no panel is empty for any job, instance or team that can be selected."""
    config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8").replace("localhost:10042", address(exporters[0])))
    config = {"global": GLOBAL, "scrape_configs": config["scrape_configs"]}
    server = await prometheus(config)
    await settle(lambda: number(server, "cyberun-agents", "Connected"), 2 * AGENTS)
    await asyncio.sleep(3)  # two scrapes, for the rates
    offered = {}
    for query in every_query():
        if query.name.startswith("cyberun-overview: variable"):
            name = query.name.rpartition(" ")[2]
            offered[name] = await server.api(query.path, **query.at(time.time()))
    assert offered == {"job": ["cyberun"], "instance": [address(exporters[0])], "team_name": ["batch", "render"]}
    panels = [query for query in every_query() if query.path != "series" and "variable" not in query.name]
    full = {query.name for query in panels if await server.query(query.chosen())}
    chosen = {name: values[0] for name, values in offered.items()}
    assert {query.name for query in panels if await server.query(query.chosen(**chosen))} == full


async def test_what_does_not_report_is_never_overlooked(
    exporters: list[RunningExporter], prometheus: PrometheusFactory, tmp_path: Path
) -> None:
    """An exporter that is down for longer than the time range counts as down; so do teams without a target."""
    found = tmp_path / "targets.json"
    found.write_text("[]")

    def discover(*exporters_: RunningExporter) -> None:
        groups = [
            {"targets": [address(each)], "labels": {"job": f"cyberun-{position}"}}
            for position, each in enumerate(exporters_)
        ]
        found.write_text(json.dumps(groups))

    service = {"files": [str(found)], "refresh_interval": "1s"}
    config = {"global": GLOBAL, "scrape_configs": [{"job_name": "cyberun", "file_sd_configs": [service]}]}
    server = await prometheus(config)

    async def not_reporting() -> float | None:
        values = [
            await number(server, uid, "Not reporting", __range="1s") for uid in ("cyberun-overview", "cyberun-exporter")
        ]
        return values[0] if values[0] == values[1] else None  # something changed between the two questions

    assert await not_reporting() == 1, "nothing is known"
    discover(*exporters[:2])
    await settle(not_reporting, 0)
    await settle(lambda: rows(server), [1, 1, 1, 1])
    await exporters[0].stop()
    await settle(not_reporting, 1)
    await asyncio.sleep(3)
    assert await not_reporting() == 1, "down for longer than the time shown"
    assert await rows(server) == [0, 0, 1, 1]
    discover(exporters[1])
    await settle(not_reporting, 2)
    discover()
    await settle(not_reporting, 4)
    await exporters[1].stop()
    assert await number(server, "cyberun-overview", "Agents in service") is None
