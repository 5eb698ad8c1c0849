from typing import Any

import pytest

from exporter.demo import SimulatedPlatform
from support import ExporterFactory, Samples, parse_text, wait_out, wait_until

pytestmark = pytest.mark.both_ways

API = {"timeout": "1s", "max_requests_per_second": 1000}
STALE_AFTER = 5.0
OF_BOTH = {
    "cyberun_tasks_without_eligible_agent",
    "cyberun_tasks_on_absent_agents",
    "cyberun_agent_tasks_failed_total",
}
"""What is made of tasks and agents together, and so is absent without either."""


def domain_names(samples: Samples, team: str) -> set[str]:
    """Names of the team's domain series."""
    return {
        name
        for name, labels in samples.values
        if ("team_name", team) in labels
        and not name.startswith(("cyberun_up", "cyberun_collector", "cyberun_exporter"))
    }


@pytest.mark.assumes("labels_before_assignment")
async def test_old_data_is_withheld_list_by_list(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """Data older than stale_after is absent, never 0 or NaN, and returns; the other list and teams are unaffected.

    The age counts from the last success, whatever fails afterwards.
    """
    for name in ("hangs", "lost-tasks", "lost-agents", "healthy"):
        team = platform.add_team(name)
        team.add_tasks(2, status="waiting")
        team.add_agents(2)
    exporter = await exporter_factory({"api": API, "collect": {"interval": "1s", "stale_after": f"{STALE_AFTER:g}s"}})
    await exporter.wait_ready()

    async def incomplete() -> list[str]:
        samples = await exporter.samples()
        up = {name for name in platform.teams if samples.value("cyberun_up", team_name=name) == 1}
        # What is made of both lists comes a moment after a team is up.
        return [name for name in platform.teams if name not in up or not domain_names(samples, name) >= OF_BOTH]

    await wait_out(incomplete)
    whole = domain_names(await exporter.samples(), "healthy")
    platform.faults.parse("hangs:*:hang, lost-tasks:/r/tasks:status=500, lost-agents:/r/agents:html")

    async def withheld() -> Samples | None:
        began = (await exporter.json("/api/v1/status"))["now"]
        samples = parse_text(await exporter.scrape())
        ended = (await exporter.json("/api/v1/status"))["now"]
        assert samples.value("cyberun_up", team_name="healthy") == 1
        assert domain_names(samples, "healthy") == whole
        for name, collector, prefix in (
            ("hangs", "tasks", "cyberun_tasks"),
            ("hangs", "agents", "cyberun_agents"),
            ("lost-tasks", "tasks", "cyberun_tasks"),
            ("lost-agents", "agents", "cyberun_agents"),
        ):
            success = samples.value(
                "cyberun_collector_last_success_timestamp_seconds", team_name=name, collector=collector
            )
            assert success is not None
            served = bool(samples.series(prefix, team_name=name))
            if ended - success < STALE_AFTER - 0.5:
                assert served, f"{name}: withheld after {ended - success} s"
            elif began - success > STALE_AFTER + 0.5:
                assert not served, f"{name}: served after {began - success} s"
        gone = [
            not domain_names(samples, "hangs"),
            samples.value("cyberun_exporter_series", team_name="hangs") == 0,
            not samples.series("cyberun_tasks", team_name="lost-tasks"),
            not samples.series("cyberun_agents", team_name="lost-agents"),
        ]
        return samples if all(gone) else None

    samples = await wait_until(withheld, within=30)
    assert samples is not None
    of_agents = {name for name in whole - OF_BOTH if name.startswith("cyberun_agent")}
    assert of_agents <= domain_names(samples, "lost-tasks")
    assert not any(name.startswith("cyberun_task") for name in domain_names(samples, "lost-tasks"))
    assert {name for name in whole if name.startswith("cyberun_tasks_finished")} <= domain_names(samples, "lost-agents")
    assert not any(name.startswith("cyberun_agent") for name in domain_names(samples, "lost-agents"))
    # Who needs both lists is absent without either.
    assert whole >= OF_BOTH
    assert not OF_BOTH & (domain_names(samples, "lost-tasks") | domain_names(samples, "lost-agents"))
    about: dict[str, Any] = {name: samples.value("cyberun_up", team_name=name) for name in platform.teams}
    assert about == {"hangs": 0, "lost-tasks": 0, "lost-agents": 0, "healthy": 1}

    platform.faults.clear()
    await wait_out(incomplete, within=60)
    again = await exporter.samples()
    assert all(domain_names(again, name) == whole for name in platform.teams)


async def test_a_platform_that_is_gone_is_no_end(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """A refused connection is counted as `connect`; the process is ready and keeps trying."""
    platform.add_team("render").add_agents(1)
    exporter = await exporter_factory({"api": {**API, "base_url": "http://127.0.0.1:1/api/v1"}})
    await exporter.wait_ready()
    samples = await exporter.samples()
    assert samples.value("cyberun_up", team_name="render") == 0
    assert (
        samples.value(
            "cyberun_exporter_api_request_failures_total", team_name="render", path="/r/agents", reason="connect"
        )
        == 1
    )
    assert not domain_names(samples, "render")
    assert (await exporter.get("/-/healthy")).status == 200
    assert await exporter.stop() == 0
