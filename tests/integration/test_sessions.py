import asyncio
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.demo import SimulatedPlatform
from support import CommandFactory, ExporterFactory, RunningExporter, wait_until
from support.sessions import SignedIn, secrets

API: dict[str, Any] = {"max_requests_per_second": 1000, "timeout": "5s"}
EXPIRY = "cyberun_exporter_credential_expiry_timestamp_seconds"
LOADED = "cyberun_exporter_credential_last_load_timestamp_seconds"
REQUESTS = "cyberun_exporter_api_requests_total"
FAILURES = "cyberun_exporter_api_request_failures_total"


@pytest.fixture
def operator(platform: SimulatedPlatform, tmp_path: Path) -> SignedIn:
    """A user in the teams render and film."""
    for name in ("render", "film"):
        platform.add_team(name, kind="jwt").add_agents(1)
    return SignedIn(platform, tmp_path / "operator", "render", "film")


def config(operator: SignedIn, *names: str, **api: Any) -> dict[str, Any]:
    """Teams of the session, polled every second."""
    teams = operator.platform.teams
    return {
        "api": {**API, **api},
        "collect": {"interval": "1s", "stale_after": "5m"},
        "teams": [
            {"name": name, "team_id": teams[name].team_id, "refresh_token_file": str(operator.path)}
            for name in names or ("render", "film")
        ],
        "web": {"enable_lifecycle": True},
    }


async def up(exporter: RunningExporter, *names: str) -> None:
    """Waits until these teams are up."""

    async def are_up() -> bool:
        samples = await exporter.samples()
        return all(samples.value("cyberun_up", team_name=name) == 1 for name in names)

    await wait_until(are_up, within=20)


@pytest.mark.assumes("users_me")
async def test_a_session_lives_for_many_jwts(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """Short-lived JWTs are renewed before they expire, with one exchange for all teams; no poll fails."""
    platform.access._token_lifetime = 5  # the simulator cuts the second that has begun
    exporter = await exporter_factory(config(operator), tokens={})
    await exporter.wait_ready()
    await up(exporter, "render", "film")

    async def renewed_often() -> bool:
        samples = await exporter.samples()
        assert samples.value("cyberun_up", team_name="render") == 1
        assert samples.value("cyberun_up", team_name="film") == 1
        return operator.renewals >= 3

    began = time.monotonic()
    await wait_until(renewed_often, within=30)
    assert time.monotonic() - began > 5  # 4 s each: not one with every poll
    assert {call.status for call in platform.journal if call.query.get("status") != "provisioning"} == {200}
    samples = await exporter.samples()
    expiry, loaded = (samples.value(name, team_name="film") for name in (EXPIRY, LOADED))
    assert expiry is not None
    assert loaded is not None
    assert expiry - loaded == pytest.approx(5, abs=0.01)
    assert abs(loaded - time.time()) < 5
    renewed = [samples.value(REQUESTS, team_name=name, path="/auth/refresh") or 0 for name in ("render", "film")]
    assert sum(renewed) == operator.renewals
    assert 'credential_kind="jwt"' in await exporter.scrape()
    page = (await exporter.get("/")).text + (await exporter.get("/api/v1/status")).text + await exporter.scrape()
    assert await exporter.stop() == 0
    assert operator.alive
    assert not any(secret in page + exporter.logs for secret in secrets(platform))


async def test_a_401_renews_the_session(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """A JWT that the platform revoked is replaced at the next request, unless it is brand-new."""
    exporter = await exporter_factory(config(operator, "render"), tokens={})
    await exporter.wait_ready()
    await up(exporter, "render")
    await asyncio.sleep(10)
    platform.access.revoke(operator.user.access_token)
    before = platform.journal.count()

    async def renewed() -> bool:
        return operator.renewals == 2

    await wait_until(renewed)
    await up(exporter, "render")
    assert operator.alive
    calls = [(call.path, call.status) for call in platform.journal[before:]]
    assert ("/auth/refresh", 200) in calls
    assert {path for path, status in calls if status == 401} <= {"/r/tasks", "/agents"}
    assert (await exporter.samples()).value(FAILURES, team_name="render", path="/r/tasks", reason="auth") == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_an_end_during_a_renewal_loses_nothing(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory, how: signal.Signals
) -> None:
    """An exporter that is stopped during a token exchange waits for the answer, saves it and ends in time."""
    platform.faults.parse("*:/auth/refresh:drip=40ms")  # 50 parts: two seconds
    exporter = await exporter_factory(config(operator), tokens={})
    before = operator.saved

    async def trading() -> bool:
        return operator.renewals == 1

    await wait_until(trading)
    assert operator.saved == before
    assert not operator.alive
    began = time.monotonic()
    exporter.send_signal(how)
    assert await exporter.wait() == 0
    assert time.monotonic() - began > 0.5
    assert operator.alive


async def test_a_renewal_that_hangs_does_not_keep_the_process(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """It still ends in time, and the log says what may be lost."""
    platform.faults.parse("*:/auth/refresh:hang")
    exporter = await exporter_factory(config(operator, timeout="1m"), tokens={})

    async def trading() -> bool:
        return operator.renewals == 1

    await wait_until(trading)
    exporter.send_signal(signal.SIGTERM)
    assert await exporter.wait() == 0
    assert "may be lost; sign in again" in exporter.logs


@pytest.mark.parametrize("change", ["platform", "removed"])
async def test_a_reload_during_a_renewal_loses_nothing(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory, change: str
) -> None:
    """Changed connections and removed teams do not interrupt an exchange under way."""
    platform.faults.parse("*:/auth/refresh:drip=40ms")
    platform.add_team("other", token="sk-other")
    base_url = None
    exporter = await exporter_factory(config(operator), tokens={})
    base_url = (await asyncio.to_thread(exporter.config_path.read_text)).split("base_url: ")[1].split()[0]

    async def trading() -> bool:
        return operator.renewals == 1

    await wait_until(trading)
    exporter.write_token("other", "sk-other")
    wanted = config(operator, base_url=base_url)
    wanted["teams"] = [{"name": "other"}] if change == "removed" else wanted["teams"]
    wanted["api"]["max_concurrency"] = 9
    exporter.write_config(wanted)
    assert (await exporter.get("/-/reload", method="POST")).status == 200

    async def saved() -> bool:
        return operator.alive

    await wait_until(saved)
    await up(exporter, *(["other"] if change == "removed" else ["render", "film"]))
    assert operator.renewals == 1


async def test_a_full_disk_is_outlived(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """While the rotated token cannot be written, the JWT is used; then polls fail, until there is space again."""
    platform.access._token_lifetime = 8
    exporter = await exporter_factory(config(operator, "render"), tokens={})
    await exporter.wait_ready()
    await up(exporter, "render")
    assert operator.renewals == 1
    soft, hard = resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, (0, hard))

    async def renewed() -> bool:
        return operator.renewals == 2

    await wait_until(renewed)
    assert not operator.alive
    assert (await exporter.samples()).value("cyberun_up", team_name="render") == 1

    async def down() -> bool:
        team = (await exporter.json("/api/v1/status"))["teams"][0]
        error = team["collectors"][0]["attempts"][0]["error"] or ""
        return "the new refresh token will not be used until it can be written (File too large)" in error

    await wait_until(down, within=20)
    assert operator.renewals == 2
    resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def healed() -> bool:
        return operator.alive and operator.renewals >= 3

    await wait_until(healed, within=90)
    await up(exporter, "render")
    assert {path.name for path in await asyncio.to_thread(lambda: list(operator.path.parent.glob("*operator*")))} == {
        "operator",
        ".operator.lock",
    }


async def test_a_dead_token_is_asked_for_once_and_replaced_by_a_person(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory
) -> None:
    """After a kill between the answer and the write, the next start says what to do, and works once that is done."""
    platform.access.refresh(operator.saved)  # the answer that nobody kept
    exporter = await exporter_factory(config(operator), tokens={})
    await exporter.wait_ready()
    await asyncio.sleep(3)
    assert operator.renewals == 1
    team = (await exporter.json("/api/v1/status"))["teams"][0]
    assert (
        f"sign in again and put a new refresh token into {operator.path}"
        in team["collectors"][0]["attempts"][0]["error"]
    )
    assert (await exporter.samples()).value(FAILURES, team_name="render", path="/agents", reason="auth")
    assert exporter.logs.count("session not renewed") == 1
    operator.again()
    await up(exporter, "render", "film")
    assert operator.alive


async def test_one_file_has_one_exporter(
    operator: SignedIn, exporter_factory: ExporterFactory, run_command: CommandFactory
) -> None:
    """A second process with the same refresh token is refused with exit code 2; `check` may read it."""
    exporter = await exporter_factory(config(operator), tokens={})
    await exporter.wait_ready()
    second = await run_command("once", config(operator), tokens={})
    assert second.code == 2
    assert [line.partition(".yaml: ")[2] for line in second.stderr.splitlines()] == [
        (
            f"teams[{index}].refresh_token_file: team {name}: {operator.path}: this refresh token is already in use;"
            " two exporters sharing one would sign each other out"
        )
        for index, name in enumerate(("render", "film"))
    ]
    assert (await run_command("check", config(operator), tokens={})).code == 0
    await exporter.stop()
    assert (await run_command("once", config(operator), tokens={})).code == 0
    assert operator.alive


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file"), ("", "is empty"), ("two words", "contains no token"), ("sk-key", "contains an API key")],
)
async def test_a_file_that_cannot_be_used_ends_the_start(
    operator: SignedIn, run_command: CommandFactory, content: str | None, problem: str
) -> None:
    """Exit code 2, and one line that names the place in the configuration, team, file and mistake."""
    if content is None:
        await asyncio.to_thread(operator.path.unlink)
    else:
        operator.write(content)
    for command in ("serve", "check"):
        done = await run_command(command, config(operator, "render"), tokens={})
        assert done.code == 2
        (line,) = done.stderr.splitlines()
        assert f".yaml: teams[0].refresh_token_file: team render: {operator.path}: {problem}" in line


async def test_a_refused_reload_lets_go_of_new_sessions(
    platform: SimulatedPlatform, operator: SignedIn, exporter_factory: ExporterFactory, tmp_path: Path
) -> None:
    """A reload that fails releases a session that it had opened, so that the next reload can use it."""
    another = SignedIn(platform, tmp_path / "another", "film")
    exporter = await exporter_factory(config(operator, "render"), tokens={})
    await exporter.wait_ready()
    base_url = (await asyncio.to_thread(exporter.config_path.read_text)).split("base_url: ")[1].split()[0]
    wanted = config(operator, "render", base_url=base_url)
    film = {"name": "film", "team_id": platform.teams["film"].team_id, "refresh_token_file": str(another.path)}
    broken = {"name": "broken", "token_file": "missing"}
    exporter.write_config({**wanted, "teams": [*wanted["teams"], film, broken]})
    answer = await exporter.get("/-/reload", method="POST")
    assert (answer.status, "missing: no such file" in answer.text) == (500, True)
    exporter.write_config({**wanted, "teams": [*wanted["teams"], film]})
    assert (await exporter.get("/-/reload", method="POST")).status == 200
    await up(exporter, "render", "film")
    assert another.alive
