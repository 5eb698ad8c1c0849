"""The commands that poll and serve, in the test's own event loop, on a simulated platform."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter import log
from exporter.cli import demo, simulate
from exporter.cli.arguments import parse
from exporter.cli.once import once
from exporter.cli.online import online
from exporter.cli.serve import serve
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.demo import SimulatedPlatform
from exporter.errors import ADVICE, ConfigError
from exporter.service.credentials import open_credential
from exporter.service.service import Service
from exporter.service.shard import Shard
from support import free_port, wait_until

pytestmark = pytest.mark.loopback


@pytest.fixture
def platform() -> SimulatedPlatform:
    """Two teams, each with an agent and a task."""
    platform = SimulatedPlatform()
    for name in ("film", "render"):
        team = platform.add_team(name)
        team.add_agent("gpu-1")
        team.add_task(status="running")
    return platform


@pytest.fixture
async def base_url(platform: SimulatedPlatform) -> AsyncIterator[str]:
    async with platform.serve() as url:
        yield url


def settings_of(base_url: str, *teams: Mapping[str, Any], **sections: Any) -> Settings:
    api = {"base_url": base_url, "max_requests_per_second": 1000}
    collect = {"interval": "1s"}  # the first polls are spread over an interval
    return load(None, {}, {"api": api, "collect": collect, "teams": list(teams), **sections})


def keys(platform: SimulatedPlatform) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The configuration of the teams, and the environment with their keys."""
    teams = [{"name": name, "token_env": name.upper()} for name in platform.teams]
    return teams, {name.upper(): team.token for name, team in platform.teams.items()}


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Restores what commands change in their process."""
    logger, before = logging.getLogger("exporter"), signal.getsignal(signal.SIGHUP)
    level = logger.level
    yield
    logger.setLevel(level)
    signal.signal(signal.SIGHUP, before)
    gc.unfreeze()


# --- check --online -------------------------------------------------------------------------------------------------


async def test_online_says_what_works(
    platform: SimulatedPlatform, base_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each endpoint of each team has a line, and if all are ok the exit code is 0."""
    teams, environ = keys(platform)
    assert await online(settings_of(base_url, *teams), environ, Shard()) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for name in platform.teams:
        for path in ("/r/tasks", "/r/agents"):
            assert [name, path, "ok"] in [line[:3] for line in lines]


async def test_online_says_what_fails(
    platform: SimulatedPlatform, base_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure has a line with advice and gives exit code 1; it does not affect other lines."""
    teams, environ = keys(platform)
    platform.access.revoke(platform.teams["film"].token)
    assert await online(settings_of(base_url, *teams), environ, Shard()) == 1
    out = capsys.readouterr().out
    failed = [line for line in out.splitlines() if "FAILED" in line]
    assert failed
    assert all(line.startswith("film ") and ADVICE["auth"] in line for line in failed)
    assert platform.teams["film"].token not in out


async def test_online_leaves_a_session_in_use_alone(
    base_url: str, platform: SimulatedPlatform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session that an exporter uses would be lost to it: its team is listed as skipped, and not requested."""
    team = platform.add_team("batch", kind="jwt")
    (tmp_path / "batch").write_text(str(team.refresh_token), encoding="utf-8")
    session = {"name": "batch", "team_id": team.team_id, "refresh_token_file": str(tmp_path / "batch")}
    settings = settings_of(base_url, session, web={"listen_address": f"127.0.0.1:{free_port()}"})
    stop = await running(settings, {})
    assert await online(settings, {}, Shard()) == 0
    assert "skipped: " in capsys.readouterr().out
    assert await stop() == 0
    assert await online(settings, {}, Shard()) == 0
    assert "session renewed" in capsys.readouterr().out


async def test_online_says_which_teams_are_found(
    base_url: str, platform: SimulatedPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    """A discovery has a line with the teams' names; if it is refused, the line fails."""
    user = platform.access.add_user("ada", list(platform.teams.values()))
    settings = settings_of(base_url, discover=[{"token_env": "ADA", "include": ["Fi.*"]}])
    assert await online(settings, {"ADA": user.access_token}, Shard()) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "/users/me" in line and "wanted" in line]
    assert "Film" in line
    platform.faults.set("status", path="/users/me", value=403)
    assert await online(settings, {"ADA": user.access_token}, Shard()) == 1
    assert ADVICE["forbidden"] in capsys.readouterr().out


async def test_online_says_which_teams_are_left_out(
    base_url: str, platform: SimulatedPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    """A team that is wanted and cannot be polled has a line of its own that says why, and fails; others do not."""
    user = platform.access.add_user("ada", list(platform.teams.values()))
    team = {"name": "Film", "token_env": "FILM"}  # a key does not tell its team's id, so the names collide
    settings = settings_of(base_url, team, discover=[{"token_env": "ADA"}])
    environ = {"ADA": user.access_token, "FILM": platform.teams["film"].token}
    assert await online(settings, environ, Shard()) == 1
    (failed,) = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    reason = "is wanted but left out: its name is already used by a configured team"
    assert failed.endswith(f'team "Film" {reason}')


async def test_online_asks_for_the_teams_of_its_shard(
    base_url: str, platform: SimulatedPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    """A team that is configured for another shard is not discovered here, although its found name belongs here."""
    film = platform.teams["film"]
    user = platform.access.add_user("ada", list(platform.teams.values()))
    shard = next(Shard(number, 9) for number in range(9) if Shard(number, 9).holds("Film"))
    name = next(name for name in map(str, range(99)) if not shard.holds(name))
    team = {"name": name, "token_env": "FILM", "team_id": film.team_id}
    settings = settings_of(base_url, team, discover=[{"token_env": "ADA", "include": ["Film"]}])
    assert await online(settings, {"ADA": user.access_token}, shard) == 0
    out = capsys.readouterr().out
    assert f"polled by one of the shards: {name};" in out
    assert "for one poll of 0 teams" in out


# --- once -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("faults", "code"), [("", 0), ("film:/r/agents:status=500", 1)])
async def test_once(
    platform: SimulatedPlatform, base_url: str, capfdbinary: pytest.CaptureFixture[bytes], faults: str, code: int
) -> None:
    """The exposition is printed; the exit code says whether every team is up."""
    teams, environ = keys(platform)
    platform.faults.parse(faults)
    assert await once(settings_of(base_url, *teams), environ, Shard()) == code
    out = capfdbinary.readouterr().out.decode()
    assert 'cyberun_up{team_name="render"} 1' in out.splitlines()
    assert f'cyberun_up{{team_name="film"}} {1 - code}' in out.splitlines()


# --- serve, demo, simulate ------------------------------------------------------------------------------------------


async def answers(url: str) -> str:
    """The body of a page, as soon as something listens there."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    return await response.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def shows(port: int, text: str) -> None:
    """Waits until the metrics have it."""

    async def found() -> bool:
        return text in await answers(f"http://127.0.0.1:{port}/metrics")

    await wait_until(found, within=60)


async def running(settings: Settings, environ: Mapping[str, str], shard: Shard | None = None, **more: Any) -> Any:
    """Starts serving; gives a function that stops it by SIGTERM and gives the exit code."""
    task = asyncio.create_task(serve(settings, environ, shard or Shard(), **more))
    url = f"http://127.0.0.1:{settings.web.listen_address[0].port}"
    page = asyncio.create_task(answers(f"{url}/metrics"))
    await asyncio.wait({task, page}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task

    async def stop() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return await task

    return stop


async def test_serve(platform: SimulatedPlatform, base_url: str) -> None:
    """It polls and serves until SIGTERM, then exits with 0, and its port is free."""
    teams, environ = keys(platform)
    port = free_port()
    stop = await running(settings_of(base_url, *teams, web={"listen_address": f"127.0.0.1:{port}"}), environ)
    await shows(port, 'cyberun_up{team_name="render"} 1')
    assert await stop() == 0
    with pytest.raises(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://127.0.0.1:{port}/metrics")


async def test_serve_with_a_web_configuration_file(
    platform: SimulatedPlatform, base_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file's rules apply from the first request on, and its doubtful settings are logged."""
    teams, environ = keys(platform)
    (tmp_path / "web.yaml").write_text("http_server_config: {http2: true, headers: {X-Frame-Options: deny}}\n")
    web = {"listen_address": f"127.0.0.1:{(port := free_port())}", "config_file": str(tmp_path / "web.yaml")}
    with caplog.at_level(logging.WARNING):
        stop = await running(settings_of(base_url, *teams, web=web), environ)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/-/healthy") as response:
        assert response.headers["X-Frame-Options"] == "deny"
    assert await stop() == 0
    assert "web configuration: http2 is enabled, but only HTTP/1.1 is served" in caplog.messages


async def test_serve_reloads_at_sighup(platform: SimulatedPlatform, base_url: str) -> None:
    """SIGHUP reads the configuration again; new teams are there at once."""
    teams, environ = keys(platform)
    web = {"listen_address": f"127.0.0.1:{free_port()}"}
    after = settings_of(base_url, *teams, web=web)
    stop = await running(settings_of(base_url, teams[0], web=web), environ, load=lambda: after)
    os.kill(os.getpid(), signal.SIGHUP)
    await shows(after.web.listen_address[0].port, 'cyberun_up{team_name="render"}')
    assert await stop() == 0


async def test_a_shard_logs_its_own_part(
    platform: SimulatedPlatform, base_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A shard logs the number of its own teams, at the start and after a reload."""
    monkeypatch.setattr(log, "configure", lambda *_: None)  # it would take the log away from here
    caplog.set_level(logging.INFO)
    teams, environ = keys(platform)
    settings = settings_of(base_url, *teams, web={"listen_address": f"127.0.0.1:{free_port()}"})
    shard = next(Shard(number, 9) for number in range(9) if Shard(number, 9).holds("film"))
    assert not shard.holds("render")
    stop = await running(settings, environ, shard, load=lambda: settings)
    os.kill(os.getpid(), signal.SIGHUP)

    async def reloaded() -> bool:
        return "configuration reloaded" in caplog.messages

    await wait_until(reloaded, within=60)
    assert await stop() == 0
    fields = {record.getMessage(): record.__dict__.get("fields", {}) for record in caplog.records}
    assert [fields[message]["teams"] for message in ("listening", "configuration reloaded")] == [1, 1]


async def test_serve_ends_when_polling_does(
    platform: SimulatedPlatform, base_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug that ends polling is logged and ends the process with 1, so nothing is served without polling."""

    async def fail(_: Service) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Service, "run", fail)
    teams, environ = keys(platform)
    settings = settings_of(base_url, *teams, web={"listen_address": f"127.0.0.1:{free_port()}"})
    assert await serve(settings, environ, Shard()) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_start_that_takes_long_can_be_stopped(
    platform: SimulatedPlatform, base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM ends it with 0 before a file is read that takes for ever, and gives back the sessions it had opened."""
    reading, released = threading.Event(), threading.Event()

    def read(_: Path) -> None:
        reading.set()
        released.wait()

    monkeypatch.setattr("exporter.cli.serve._access_control", read)
    team = platform.add_team("batch", kind="jwt")
    (tmp_path / "batch").write_text(str(team.refresh_token), encoding="utf-8")
    session = {"name": "batch", "team_id": team.team_id, "refresh_token_file": str(tmp_path / "batch")}
    web = {"listen_address": f"127.0.0.1:{free_port()}", "config_file": "web.yaml"}
    settings = settings_of(base_url, session, web=web)
    try:
        task = asyncio.create_task(serve(settings, {}, Shard()))
        await asyncio.to_thread(reading.wait)
        with pytest.raises(ConfigError, match="in use"):
            open_credential(settings.teams[0], {}, lock=True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(task, 60) == 0
        open_credential(settings.teams[0], {}, lock=True).release()
    finally:
        released.set()


async def test_demo_and_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    """`demo` serves metrics of its own fleet, `simulate` only the platform; both print where, and end on SIGTERM."""
    for command, start in (("demo", demo._demo), ("simulate", simulate._simulate)):
        port = free_port()
        given = parse([command, f"--web.listen-address=127.0.0.1:{port}", "--agents=4", "--teams=1"])
        task = asyncio.create_task(start(given))
        found = await answers(f"http://127.0.0.1:{port}/{'metrics' if command == 'demo' else '_simulate/faults'}")
        assert ("cyberun_exporter_build_info" in found) == (command == "demo")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0
        assert f"http://127.0.0.1:{port}/" in capsys.readouterr().out
