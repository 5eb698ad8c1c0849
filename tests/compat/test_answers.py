"""From the same samples, newer servers answer the dashboards' queries like the installed Prometheus.

`make compat` runs this: it needs the programs that `tools/get-prometheus --newest` fetches, and those of the system.
"""

import asyncio
import json
import math
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from exporter.demo import SimulatedPlatform, demo_platform
from support import RunningExporter, RunningPrometheus, required, wait_until
from support.dashboards import Query, every_query

NEWEST: Final = Path(__file__).parents[2] / ".tools" / "compat" / "bin"
QUERIES: Final = every_query()
TARGET: Final = {"job": "cyberun-exporter", "instance": "localhost:10042"}
# VictoriaMetrics counts from the last sample before a range and does not extrapolate: what it says of growth are
# other numbers, of which the highest may be another's.
GROWTH: Final = re.compile(r"\b(rate|increase|delta|changes)\(")
Labels = tuple[tuple[str, str], ...]
Recording = Mapping[Labels, list[tuple[float, float]]]
"""Seconds and values of each series; its name is the label `__name__`."""


async def record(exporter: RunningExporter, *, scrapes: int) -> Recording:
    """What a server that scrapes the exporter once a second would store."""
    series: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    # No sample falls on the edge of a range, which Prometheus 2 takes in and 3 leaves out.
    start = math.floor(time.time()) + 0.25
    for moment in (start + second for second in range(scrapes)):
        await asyncio.sleep(max(0.0, moment - time.time()))
        samples = {("up", frozenset[tuple[str, str]]()): 1.0, **(await exporter.samples()).values}
        for (name, labels), value in samples.items():
            series[tuple(sorted({"__name__": name, **TARGET, **dict(labels)}.items()))].append((moment, value))
    # A file has no words for a series that ends, which each server would have learnt from its scrapes.
    return {labels: points for labels, points in series.items() if len(points) == scrapes}


def as_openmetrics(recording: Recording) -> str:
    """For `promtool tsdb create-blocks-from openmetrics`."""
    lines = []
    for labels, points in recording.items():
        texts = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels if name != "__name__")
        series = f"{dict(labels)['__name__']}{{{','.join(texts)}}}"
        lines += [f"{series} {value!r} {moment}" for moment, value in points]
    return "\n".join([*lines, "# EOF", ""])


def as_json_lines(recording: Recording) -> str:
    """For VictoriaMetrics' /api/v1/import."""
    return "\n".join(
        json.dumps(
            {
                "metric": dict(labels),
                "values": [value for _, value in points],
                "timestamps": [round(moment * 1000) for moment, _ in points],
            }
        )
        for labels, points in recording.items()
    )


def prometheus(directory: Path, recording: Recording, *, beside: Path | None) -> RunningPrometheus:
    """A Prometheus that holds the recording: the system's own, or the one that lies in a folder."""
    text = directory / "recording.txt"
    text.write_text(as_openmetrics(recording), encoding="utf-8")
    promtool = beside / "promtool" if beside else required("promtool")
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", text, directory / "data"]
    subprocess.run(command, check=True, capture_output=True)
    return RunningPrometheus.configured(directory, {}, program=beside / "prometheus" if beside else None)


async def victoria_metrics(server: RunningPrometheus, recording: Recording) -> None:
    """Lets a running VictoriaMetrics read the recording."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        await session.post(f"{server.url}/api/v1/import", data=as_json_lines(recording))

    async def searchable() -> bool:
        return bool(await server.api("series", **{"match[]": "up"}))

    await wait_until(searchable, within=30)


@dataclass(frozen=True, slots=True)
class Servers:
    """All of them hold the same recording, which ends at `now`, in seconds."""

    own: RunningPrometheus
    newest: Mapping[str, RunningPrometheus]
    now: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Half a minute of a fleet that changes, on every server."""
    async with AsyncExitStack() as stack:
        platform = demo_platform(agents=18)
        base_url = await stack.enter_async_context(platform.serve())
        exporter = await stack.enter_async_context(_exporter(tmp_path_factory.mktemp("exporter"), platform, base_url))
        await exporter.wait_ready()
        # Versions of Prometheus differ in what they make of counters that were 0 a moment ago.
        await asyncio.sleep(8)
        recording = await record(exporter, scrapes=30)
        now = math.floor(max(moment for points in recording.values() for moment, _ in points)) + 1.0
        own = prometheus(tmp_path_factory.mktemp("own"), recording, beside=None)
        newer = prometheus(tmp_path_factory.mktemp("newest"), recording, beside=NEWEST)
        other = RunningPrometheus.configured(
            tmp_path_factory.mktemp("victoria"), {}, server="victoria-metrics", program=NEWEST / "victoria-metrics"
        )
        for server in (own, newer, other):
            await stack.enter_async_context(server)
            await server.wait_ready(within=30)
        await victoria_metrics(other, recording)
        yield Servers(own, {"prometheus": newer, "victoria-metrics": other}, now)


def _exporter(directory: Path, platform: SimulatedPlatform, base_url: str) -> RunningExporter:
    config = {
        "api": {"base_url": base_url, "max_requests_per_second": 1000},
        "collect": {"interval": "1s", "agent_labels": True},
        "teams": [{"name": team.name, "team_id": team.team_id} for team in platform.teams.values()],
    }
    tokens = {team.name: team.token for team in platform.teams.values()}
    return RunningExporter.configured(directory, config, tokens=tokens)


async def ask(server: RunningPrometheus, query: Query, now: float) -> Any:
    """The values of a label, or each series with its values by second."""
    data = await server.api(query.path, **query.at(now))
    if isinstance(data, list):
        return sorted(data)
    return {
        tuple(sorted(each["metric"].items())): {
            float(moment): float(value) for moment, value in each.get("values") or [each["value"]]
        }
        for each in data["result"]
    }


def _last(points: Mapping[float, float]) -> float:
    return points[max(points)]


@pytest.mark.parametrize("server", ["prometheus", "victoria-metrics"])
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_answers_are_the_same(servers: Servers, query: Query, server: str) -> None:
    """From the same samples every server returns the same series and values.

    Growth alone may differ: by up to a tenth between versions of Prometheus, freely in VictoriaMetrics.
    """
    expected, found = [await ask(each, query, servers.now) for each in (servers.own, servers.newest[server])]
    if server == "victoria-metrics" and GROWTH.search(query.parameters.get("query", "")):
        assert bool(found) == bool(expected)
        return
    if isinstance(expected, list):
        assert found == expected
        return
    # Prometheus 3 extrapolates a counter that was near 0 at the start of the range less far than Prometheus 2.
    near = 0.1 if GROWTH.search(query.parameters["query"]) else 1e-9
    if "topk" in query.parameters.get("query", ""):
        # Of equals at the end of the list, each server may show another one.
        last = [sorted(map(_last, each.values())) for each in (found, expected)]
        assert last[0] == pytest.approx(last[1], rel=near, abs=1e-5)
        return
    assert found.keys() == expected.keys()
    for labels, points in expected.items():
        # VictoriaMetrics keeps fifteen digits: of a time in seconds, microseconds.
        assert found[labels] == pytest.approx(points, rel=near, abs=1e-5, nan_ok=True), labels


async def test_most_questions_have_an_answer(servers: Servers) -> None:
    """The comparison is not between empty results."""
    answered = [query.name for query in QUERIES if await ask(servers.own, query, servers.now)]
    assert len(answered) > 0.8 * len(QUERIES)
