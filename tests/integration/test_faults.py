"""Every fault at once, each on a team of its own: one platform, one exporter."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from exporter.demo import SimulatedPlatform, SimulatedTeam
from exporter.errors import REASONS
from support import ExporterFactory, RunningExporter, Samples, parse_openmetrics, parse_text, wait_out

pytestmark = pytest.mark.both_ways

TASKS: Final = "/r/tasks"
AGENTS: Final = "/r/agents"
COLLECTORS: Final = {TASKS: "tasks", AGENTS: "agents"}
HEALTHY: Final = "healthy"
AGENT_COUNT: Final = 5
STATUSES: Final = ("pending", "waiting", "queued", "running", "completed", "failed", "cancelled")

API: Final = {
    "timeout": "6s",
    "max_requests_per_second": 1000,
    "max_concurrency": 128,
    "max_response_bytes": 11 * 1024 * 1024,  # room for the long text
}
RESIDENT: Final = 256 * 1024 * 1024
"""Bytes the exporter may hold after all of this; the bodies thrown at it amount to several times as much."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault on one path of one team, and its expected effect."""

    kind: str
    path: str
    reason: str
    value: Any = None

    @property
    def name(self) -> str:
        value = "" if self.value is None else f"-{self.value!s:.24}"
        safe = "".join(char if char.isalnum() or char in ".-_" else "_" for char in f"{self.kind}{value}")
        return f"{safe}-{COLLECTORS[self.path]}"

    @property
    def collector(self) -> str:
        return COLLECTORS[self.path]


FAILING: Final = (
    Case("hang", TASKS, "timeout"),
    Case("hang_body", AGENTS, "timeout"),
    Case("latency", AGENTS, "timeout", "1h"),
    Case("drip", TASKS, "timeout", "1s"),
    Case("reset", AGENTS, "connect"),
    Case("reset_body", TASKS, "connect"),
    Case("redirect", TASKS, "redirect"),
    Case("redirect", AGENTS, "redirect", "http://127.0.0.1:1/"),
    Case("status", TASKS, "redirect", 304),
    Case("status", AGENTS, "auth", 401),
    Case("status", TASKS, "forbidden", 403),
    Case("status", AGENTS, "not_found", 404),
    Case("status", TASKS, "rate_limited", "429/1"),
    Case("status", AGENTS, "rate_limited", "429/soon"),
    Case("status", AGENTS, "http_4xx", 418),
    Case("status", TASKS, "http_5xx", "503/@2"),
    Case("status", AGENTS, "http_5xx", 500),
    Case("status", TASKS, "decode", 204),
    Case("status", AGENTS, "http_5xx", 999),
    Case("endless", TASKS, "too_large"),
    Case("gzip_bomb", AGENTS, "too_large"),
    Case("gzip_bomb", TASKS, "too_large", "1GiB"),
    Case("empty", TASKS, "decode"),
    Case("html", AGENTS, "decode"),
    Case("truncated", TASKS, "decode"),
    Case("encoding", AGENTS, "decode", "gzip"),
    Case("encoding", TASKS, "decode", "br"),
    Case("body", AGENTS, "decode", '{"agent_list": [NaN'),
    Case("body", AGENTS, "decode", "\x00\x01\x02"),
    Case("hostile", AGENTS, "schema", "nesting"),
    Case("body", TASKS, "schema", "[]"),
    Case("body", AGENTS, "schema", "null"),
    Case("body", TASKS, "schema", '{"task_list": {}, "page_meta": {"total_count": 0}}'),
    Case("body", AGENTS, "schema", '{"agent_list": []}'),
    Case("body", TASKS, "schema", '{"page_meta": 5}'),
    Case("total", TASKS, "schema", "float"),
    Case("total", AGENTS, "schema", "string"),
    Case("total", TASKS, "schema", "null"),
    Case("total", AGENTS, "schema", "negative"),
    Case("total", TASKS, "schema", "missing"),
    Case("total", AGENTS, "schema", "huge"),
    Case("total", AGENTS, "schema", "-2"),
    Case("duplicate", AGENTS, "schema", 2),
    Case("ignore_filter", TASKS, "schema"),
    Case("no_id", AGENTS, "schema", "all"),
    Case("no_id", TASKS, "schema", "all"),
    Case("items", AGENTS, "schema", [None, 5, "text", [], True]),
)
"""Faults that end the poll of one list."""

BEARABLE: Final = (
    *(
        Case("hostile", path, "", variety)
        for path in (TASKS, AGENTS)
        for variety in ("types", "nulls", "text", "surrogates", "numbers", "times", "fields", "mixed")
    ),
    Case("hostile", AGENTS, "", "enums"),
    Case("hostile", AGENTS, "", "long_text"),
    Case("hostile", TASKS, "", "long_text"),
    Case("total", AGENTS, "", "+7"),
    Case("no_id", AGENTS, "", 1),
    Case("per_page", AGENTS, "", 2),
    Case("per_page_cap", TASKS, "", 1),
    Case("shift", AGENTS, "", 1),
    Case("date", TASKS, "", "-1h"),
)
"""Faults that cost some fields or items at most: the poll succeeds."""


def populate(team: SimulatedTeam) -> None:
    for status in STATUSES:
        team.add_tasks(2, status=status)
    team.add_agents(AGENT_COUNT)


def switch_on(platform: SimulatedPlatform, cases: tuple[Case, ...]) -> None:
    for case in cases:
        platform.faults.set(case.kind, team=case.name, path=case.path, value=case.value)
        if case.kind == "shift":  # between pages, of which there must be some
            platform.faults.set("per_page", team=case.name, path=case.path, value=2)


async def both_formats(exporter: RunningExporter) -> Samples:
    """A scrape; the other format parses strictly as well."""
    text, openmetrics = await asyncio.gather(exporter.scrape(), exporter.scrape(openmetrics=True))
    # In a thread, that the simulator in this loop goes on answering.
    await asyncio.to_thread(parse_openmetrics, openmetrics)
    return await asyncio.to_thread(parse_text, text)


def domain(samples: Samples, team: str) -> Mapping[Any, float]:
    """The values of a team's domain series, less the one that every poll changes."""
    return {
        key: value
        for key, value in samples.values.items()
        if ("team_name", team) in key[1]
        and key[0].startswith(("cyberun_task", "cyberun_agent", "cyberun_team_"))
        and key[0] != "cyberun_agent_last_seen_timestamp_seconds"
    }


def failures(samples: Samples, team: str) -> Mapping[tuple[str, str], float]:
    """The failures of a team that were counted, by path and reason."""
    return {
        (labels["path"], labels["reason"]): value
        for labels in samples.series("cyberun_exporter_api_request_failures_total", team_name=team)
        if (value := samples.value("cyberun_exporter_api_request_failures_total", **labels))
    }


async def polls(exporter: RunningExporter) -> dict[str, dict[str, Any]]:
    """The status of each collector, by team. Parsing only this leaves time for the simulator."""
    status = await exporter.json("/api/v1/status")
    return {team["name"]: {each["name"]: each for each in team["collectors"]} for team in status["teams"]}


async def down(exporter: RunningExporter) -> list[str]:
    """The teams that are not up."""
    return [team["name"] for team in (await exporter.json("/api/v1/status"))["teams"] if not team["up"]]


@pytest.fixture
async def exporter(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, cases: tuple[Case, ...]
) -> RunningExporter:
    """Polls a team for each case and a healthy one; all of them are up."""
    for name in (HEALTHY, *(case.name for case in cases)):
        populate(platform.add_team(name))
    exporter = await exporter_factory(
        {"api": API, "collect": {"interval": "2s", "stale_after": "1h"}, "log": {"level": "debug"}}
    )
    await exporter.wait_ready(within=120)
    await wait_out(lambda: down(exporter), within=120)
    return exporter


def test_every_reason_has_a_case() -> None:
    """The table has every reason except `tls`, which needs another server and has its own test."""
    assert {case.reason for case in FAILING} == set(REASONS) - {"tls"}
    names = [case.name for case in FAILING + BEARABLE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("cases", [FAILING], ids=["failing"])
@pytest.mark.assumes("unique_agent_ids")
async def test_a_fault_costs_one_list_of_one_team(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """Every failure is counted under its reason and affects only the list that it concerns."""
    before = await both_formats(exporter)
    switch_on(platform, FAILING)

    async def not_failed() -> list[str]:
        seen = await polls(exporter)
        left = [] if all(each["success"] for each in seen[HEALTHY].values()) else [HEALTHY]
        return left + [
            case.name
            for case in FAILING
            if not any(each["reason"] == case.reason for each in seen[case.name][case.collector]["attempts"])
        ]

    await wait_out(not_failed, within=120, every=0.3)
    samples = await both_formats(exporter)
    assert {reason for _, reason in failures(samples, HEALTHY)} <= {"timeout"}, "the machine is busy, nothing else"
    for case in FAILING:
        counted = failures(samples, case.name)
        # A busy machine may be too slow for some answers at times.
        assert counted.keys() | {(case.path, "timeout")} == {(case.path, case.reason), (case.path, "timeout")}, case
        assert samples.value("cyberun_up", team_name=case.name) == 0, case
        assert [
            samples.value("cyberun_collector_success", team_name=case.name, collector=collector)
            for collector in ("tasks", "agents")
        ] == [int(case.collector != collector) for collector in ("tasks", "agents")], case
        # What was known is served on: it is not stale yet. A look at the unfiltered list may have come in between.
        assert domain(before, case.name).items() <= domain(samples, case.name).items(), case
    assert samples.value("cyberun_up", team_name=HEALTHY) == 1
    assert domain(before, HEALTHY).items() <= domain(samples, HEALTHY).items()
    assert platform.journal.count(path="/_simulate/elsewhere") == 0
    assert (await exporter.get("/-/healthy")).status == 200
    assert (await exporter.get("/-/ready")).status == 200
    assert (samples.value("process_resident_memory_bytes") or 0) < RESIDENT

    platform.faults.clear()
    await wait_out(lambda: down(exporter), within=120, every=0.3)
    await both_formats(exporter)
    assert "Traceback" not in exporter.logs
    assert await exporter.stop() == 0


@pytest.mark.assumes("provisioning_filter", "stable_order", "unique_agent_ids")
@pytest.mark.parametrize("cases", [BEARABLE], ids=["bearable"])
async def test_odd_items_cost_no_more_than_themselves(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """A team with wrong values in some items, or a list that changes or is slightly inconsistent, stays up."""
    switch_on(platform, BEARABLE)
    began = time.time()

    async def not_polled() -> list[str]:
        seen = await polls(exporter)
        assert not await down(exporter)
        return [case.name for case in BEARABLE if seen[case.name][case.collector]["last_attempt_at"] < began]

    # Each team's next poll but one has begun after the faults did, so the one before has seen them and is over.
    await wait_out(not_polled, within=120, every=0.3)
    began = time.time()
    await wait_out(not_polled, within=120, every=0.3)
    samples = await both_formats(exporter)
    for case in BEARABLE:
        assert not failures(samples, case.name), case
        shown = {labels["status"] for labels in samples.series("cyberun_tasks", team_name=case.name)}
        assert shown == {*STATUSES, "other"}, case
        assert samples.value("cyberun_agents", team_name=case.name, status="idle") is not None, case
        connected = samples.series("cyberun_agent_connected", team_name=case.name)
        values = [samples.value("cyberun_agent_connected", **labels) for labels in connected]
        assert (len(values), values.count(1)) == (AGENT_COUNT, AGENT_COUNT - (case.kind == "no_id")), case
    truncated = {
        case.kind
        for case in BEARABLE
        if samples.value("cyberun_collector_truncated", team_name=case.name, collector=case.collector)
    }
    assert truncated == {"total"}
    for field in ("agent_status", "gpu_capacity", "running_count", "tasks_completed", "created_at", "vram_free"):
        assert samples.value("cyberun_exporter_unknown_values_total", field=field), field
    assert not any(len(value) > 128 for _, labels in samples.values for _, value in labels)
    assert (samples.value("process_resident_memory_bytes") or 0) < RESIDENT
    assert "Traceback" not in exporter.logs
