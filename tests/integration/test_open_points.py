"""Each point that the documentation leaves open, in both variants, from the platform to the exposition."""

import re
import time

import pytest

from exporter.demo import SimulatedPlatform, reverse
from support import CommandFactory, ExporterFactory, Samples, parse_text, wait_until

API = {"max_requests_per_second": 1000}
FAST = {"api": API, "collect": {"interval": "1s"}}


async def once(run_command: CommandFactory) -> Samples:
    """One poll of every team, which must succeed."""
    done = await run_command("once", {"api": API})
    assert done.code == 0, done.stderr
    return parse_text(done.stdout)


async def test_provisioning_that_can_be_asked_for(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """Tasks that hang in provisioning are counted as a status where the platform filters by it."""
    platform.assumed = reverse("provisioning_filter")
    platform.add_team("render").add_tasks(2, status="provisioning")
    found = await once(run_command)
    assert found.value("cyberun_tasks", team_name="render", status="provisioning") == 2
    assert found.value("cyberun_tasks", team_name="render", status="other") is None


@pytest.mark.assumes("provisioning_filter")
async def test_provisioning_that_cannot_be_asked_for(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """If it does not, they are counted as `other` and as unknown values; no request counts as failed."""
    team = platform.add_team("render")
    team.add_tasks(2, status="provisioning")
    team.add_tasks(3, status="running")
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()

    async def counted() -> bool:
        return (await exporter.samples()).value("cyberun_tasks", team_name="render", status="other") == 2

    await wait_until(counted, within=20)
    found = await exporter.samples()
    assert found.value("cyberun_tasks", team_name="render", status="provisioning") is None
    assert (found.value("cyberun_exporter_unknown_values_total", field="task_status") or 0) >= 2
    assert found.value("cyberun_up", team_name="render") == 1
    name, path = "cyberun_exporter_api_request_failures_total", "/r/tasks"
    assert not any(found.value(name, **labels) for labels in found.series(name, team_name="render", path=path))


@pytest.mark.parametrize(
    ("reversed_", "words"),
    [
        (["provisioning_filter"], "provisioning is counted as a status"),
        ([], "the platform does not filter by provisioning, so such tasks are counted as other"),
    ],
)
async def test_check_says_what_becomes_of_provisioning(
    platform: SimulatedPlatform, run_command: CommandFactory, reversed_: list[str], words: str
) -> None:
    """`check --online` says which of the two it is."""
    platform.assumed = reverse(*reversed_)
    platform.add_team("render")
    done = await run_command("check", {"api": API}, arguments=["--online"])
    assert (done.code, words in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("reversed_", [[], ["nested_team_quotas"]])
async def test_quotas(platform: SimulatedPlatform, run_command: CommandFactory, reversed_: list[str]) -> None:
    """The documented limits appear with their namespace, however a team's own ones are given."""
    platform.assumed = reverse(*reversed_)
    team = platform.add_team("film", kind="device", quotas={"max_agents": 20, "max_workflows": -1})
    teams = [{"name": "film", "team_id": team.team_id}]
    done = await run_command("once", {"api": API, "teams": teams})
    found = parse_text(done.stdout)
    limits = {each["quota"]: found.value("cyberun_team_quota", **each) for each in found.series("cyberun_team_quota")}
    assert limits == {"account.max_owned_teams": 3, "teams.max_agents": 20}
    done = await run_command("check", {"api": API, "teams": teams}, arguments=["--online"])
    assert re.search(r"^film +/users/me +ok +2 limits found$", done.stdout, re.MULTILINE), done.stdout


async def test_no_account(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """A platform that does not serve /users/me costs a warning in `check --online`, and is no failure anywhere."""
    platform.assumed = reverse("users_me")
    platform.add_team("film", kind="device")
    found = await once(run_command)
    assert found.value("cyberun_up", team_name="film") == 1
    name = "cyberun_exporter_api_request_failures_total"
    assert found.value(name, team_name="film", path="/users/me", reason="not_found") == 0
    done = await run_command("check", {"api": API}, arguments=["--online"])
    line = next(line for line in done.stdout.splitlines() if "/users/me" in line)
    assert (done.code, "warning" in line, "optional" in line, "base_url" in line) == (0, True, True, False)


async def test_two_machines_with_one_id(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """Of two agents with one id, on two pages, one is shown and the other counted; who leaves is still noticed."""
    platform.assumed = reverse("unique_agent_ids")
    team = platform.add_team("render")
    team.add_agents(120)
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    found = await exporter.samples()
    assert found.value("cyberun_collector_truncated", team_name="render", collector="agents") == 0
    assert len(found.series("cyberun_agent_info", team_name="render")) == 120
    assert (found.value("cyberun_exporter_unknown_values_total", field="agent_id") or 0) >= 1
    team.remove_agent("gpu-node-120")

    async def gone() -> bool:
        samples = await exporter.samples()
        return samples.value("cyberun_agent_connected", team_name="render", agent_id="gpu-node-120") == 0

    await wait_until(gone, within=20)


@pytest.mark.parametrize(("reversed_", "eligible"), [([], 1), (["labels_before_assignment"], None)])
async def test_labels_of_waiting_tasks(
    platform: SimulatedPlatform, run_command: CommandFactory, reversed_: list[str], eligible: float | None
) -> None:
    """Where waiting tasks do not say which labels they require, nothing is claimed about who can take them."""
    platform.assumed = reverse(*reversed_)
    team = platform.add_team("render")
    team.add_agents(1)
    team.add_task(status="waiting", labels=["h100"])
    found = await once(run_command)
    assert found.value("cyberun_tasks_without_eligible_agent", team_name="render") == eligible


async def test_a_restart_counts_no_wait_again(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """A task that was running when the exporter started counts when it ends; its wait and older tasks do not."""
    team = platform.add_team("render")
    team.add_agents(1)
    task = team.add_task(status="running", agent_id="gpu-node-01")
    exporter = await exporter_factory(FAST)
    await exporter.wait_ready()
    team.move(task, status="failed", completed_at=time.time())

    async def counted() -> bool:
        samples = await exporter.samples()
        return samples.value("cyberun_tasks_finished_total", team_name="render", status="failed") == 1

    await wait_until(counted, within=20)
    found = await exporter.samples()
    assert found.value("cyberun_task_wait_seconds_count", team_name="render") == 0
    assert found.value("cyberun_task_run_seconds_count", team_name="render", status="failed") == 1
    assert found.value("cyberun_agent_tasks_failed_total", team_name="render", agent_id="gpu-node-01") == 1


@pytest.mark.assumes("stable_order")
async def test_workflows(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """With collect.workflows the busiest workflows have names and counters that start at 0; others share `other`."""
    team = platform.add_team("render")
    running = [team.add_task(status="running", workflow_id=workflow) for workflow in ("flow-a", "flow-b", "flow-c")]
    exporter = await exporter_factory({"api": API, "collect": {"interval": "1s", "workflows": 2}})
    await exporter.wait_ready()
    name = "cyberun_workflow_tasks_finished_total"
    first = await exporter.samples()
    shown = sorted({labels["workflow_id"] for labels in first.series(name, status="completed")})
    assert len(shown) == 3
    assert shown[-1] == "other"
    assert {first.value(name, **labels) for labels in first.series(name)} == {0}
    for task in running:
        team.move(task, status="completed", completed_at=time.time())

    async def counted() -> bool:
        samples = await exporter.samples()
        found = [samples.value(name, **labels) for labels in samples.series(name, status="completed")]
        return found == [1, 1, 1] and len(samples.series("cyberun_workflow_info")) == 2

    await wait_until(counted, within=20)
    assert platform.journal.count(path="/r/workflows") == 1
