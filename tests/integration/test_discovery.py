import signal
from pathlib import Path
from typing import Any

import pytest

from exporter.demo import SimulatedPlatform
from support import CommandFactory, ExporterFactory, RunningExporter, parse_text, wait_until
from support.sessions import SignedIn

pytestmark = [pytest.mark.both_ways, pytest.mark.assumes("users_me")]

API: dict[str, Any] = {"max_requests_per_second": 1000, "timeout": "5s"}
COLLECT = {"interval": "1s", "stale_after": "5m"}
REQUESTS = "cyberun_exporter_api_requests_total"
FAILURES = "cyberun_exporter_api_request_failures_total"


@pytest.fixture
def operator(platform: SimulatedPlatform, tmp_path: Path) -> SignedIn:
    """A user in three teams; a fourth team, with its own key, is not the user's."""
    for name in ("render", "film", "film-test", "other"):
        platform.add_team(name, quotas={"concurrent_tasks": 16, "gpus": -1}).add_agents(2)
    return SignedIn(platform, tmp_path / "operator", "render", "film", "film-test")


def config(operator: SignedIn, *teams: dict[str, Any], **discover: Any) -> dict[str, Any]:
    """Teams, and what the user sees."""
    return {
        "api": API,
        "collect": COLLECT,
        "teams": list(teams),
        "discover": [{"refresh_token_file": str(operator.path), **discover}],
    }


async def up(exporter: RunningExporter, *names: str) -> None:
    """Waits until exactly these teams are polled, and up."""

    async def are_up() -> bool:
        samples = await exporter.samples()
        there = {labels["team_name"] for labels in samples.series("cyberun_up")}
        return there == set(names) and all(samples.value("cyberun_up", team_name=name) == 1 for name in names)

    await wait_until(are_up, within=60)


async def test_teams_come_and_go_without_a_restart(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """Discovery adds new teams and removes others; the rest keep data and counters, even if an attempt fails."""
    exporter = await exporter_factory(config(operator, exclude=[".*-Test"]), tokens={})
    await exporter.wait_ready()
    await up(exporter, "Render", "Film")
    platform.teams["render"].add_task(status="completed")
    finished = {"team_name": "Render", "status": "completed"}

    async def counted() -> bool:
        return (await exporter.samples()).value("cyberun_tasks_finished_total", **finished) == 1

    await wait_until(counted)
    before = await exporter.samples()
    info = before.series("cyberun_team_info", team_name="Render")
    assert info == [{"team_name": "Render", "team_id": platform.teams["render"].team_id, "credential_kind": "jwt"}]
    assert before.value("cyberun_team_quota", team_name="Film", quota="teams.concurrent_tasks") == 16
    quotas = {each["quota"] for each in before.series("cyberun_team_quota", team_name="Film")}
    assert "teams.gpus" not in quotas  # unlimited
    polled = before.value(REQUESTS, team_name="Render", path="/agents")
    assert before.value(REQUESTS, team_name="discover[0]", path="/users/me") == 1
    assert before.value(REQUESTS, team_name="discover[0]", path="/auth/refresh") == 1
    assert before.value(FAILURES, team_name="discover[0]", path="/users/me", reason="auth") == 0

    operator.user.teams = [platform.teams["render"], platform.add_team("audio")]
    exporter.send_signal(signal.SIGHUP)  # looks at once
    await up(exporter, "Render", "Audio")
    after = await exporter.samples()
    assert not any(("team_name", "Film") in key[1] for key in after.values)
    assert (after.value(REQUESTS, team_name="Render", path="/agents") or 0) >= (polled or 0) > 1
    assert after.value("cyberun_tasks_finished_total", **finished) == 1

    platform.faults.parse("*:/users/me:status=500")
    exporter.send_signal(signal.SIGHUP)

    async def failed() -> bool:
        samples = await exporter.samples()
        return bool(samples.value(FAILURES, team_name="discover[0]", path="/users/me", reason="http_5xx"))

    await wait_until(failed)
    await up(exporter, "Render", "Audio")
    assert (await exporter.samples()).value("cyberun_tasks_finished_total", **finished) == 1
    assert (await exporter.get("/-/ready")).status == 200


async def test_readiness_waits_for_the_first_look(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """An exporter that does not know its teams yet is healthy but not ready, and no scrape fails."""
    platform.faults.parse("*:/users/me:latency=2s")
    exporter = await exporter_factory(config(operator), tokens={})
    await exporter.wait_listening()
    assert (await exporter.get("/-/ready")).status == 503
    assert (await exporter.get("/-/healthy")).status == 200
    assert not (await exporter.samples()).series("cyberun_up")
    await exporter.wait_ready()
    await up(exporter, "Render", "Film", "Film-Test")


async def test_a_reload_changes_who_is_wanted(
    operator: SignedIn, exporter_factory: ExporterFactory, base_url: str
) -> None:
    """Changed patterns and a newly configured name take effect at once; the other teams keep their counters."""
    exporter = await exporter_factory(config(operator, include=["Film.*"]), tokens={})
    await exporter.wait_ready()
    await up(exporter, "Film", "Film-Test")
    polled = (await exporter.samples()).value(REQUESTS, team_name="Film", path="/agents") or 0
    exporter.write_token("Render", operator.platform.teams["other"].token)
    wanted = config(operator, {"name": "Render"}, exclude=[".*-Test"], interval="2s")
    wanted["api"] = {**API, "base_url": base_url}
    exporter.write_config(wanted)
    exporter.send_signal(signal.SIGHUP)
    await up(exporter, "Film", "Render")
    samples = await exporter.samples()
    assert (samples.value(REQUESTS, team_name="Film", path="/agents") or 0) >= polled
    assert samples.value("cyberun_collector_interval_seconds", team_name="Film", collector="tasks") == 2
    (render,) = samples.series("cyberun_team_info", team_name="Render")
    assert render["credential_kind"] == "integration"
    assert "its name is already used by a configured team" in exporter.logs
    assert operator.alive


async def test_shards_share_the_found_teams(operator: SignedIn, run_command: CommandFactory) -> None:
    """Each discovered team is polled by one shard, which has its own session."""
    found: list[str] = []
    for shard in range(2):
        operator.again()
        done = await run_command(
            "once", config(operator), tokens={}, arguments=[f"--shard={shard}", "--total-shards=2"]
        )
        assert done.code == 0, done.stderr
        found += [labels["team_name"] for labels in parse_text(done.stdout).series("cyberun_up")]
    assert sorted(found) == ["Film", "Film-Test", "Render"]


async def test_once_fails_when_teams_cannot_be_found(
    platform: SimulatedPlatform, operator: SignedIn, run_command: CommandFactory
) -> None:
    """If discovery fails, `once` fails too, although there is no team."""
    platform.faults.parse("*:/users/me:status=403")
    done = await run_command("once", config(operator), tokens={})
    assert done.code == 1
    assert "teams not discovered" in done.stderr


async def test_a_device_key_finds_its_team(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory, tmp_path: Path
) -> None:
    """A device key reads the one team that it is bound to; if its user has several, that one must be named."""
    key = platform.access.add_key(platform.teams["film"], "device", user=operator.user)
    path = tmp_path / "device"
    path.write_text(key)
    discover = {"token_file": str(path)}
    exporter = await exporter_factory({"api": API, "collect": COLLECT, "teams": [], "discover": [discover]}, tokens={})
    await exporter.wait_ready()
    assert "a device key reads only one team, so include only that one" in exporter.logs
    await up(exporter)
    narrowed = await exporter_factory(
        {"api": API, "collect": COLLECT, "teams": [], "discover": [{**discover, "include": ["Film"]}]}, tokens={}
    )
    await narrowed.wait_ready()
    await up(narrowed, "Film")
    assert (await narrowed.samples()).value("cyberun_agents", team_name="Film", status="idle") == 2
