import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web

from exporter.demo import SimulatedPlatform
from support import CommandFactory, ExporterFactory, RunningExporter, parse_text, run_exporter, wait_until
from support.scripted import serving

pytestmark = pytest.mark.both_ways

MARKER = "MARKERmarkerMARKER"
API = {"max_requests_per_second": 1000, "timeout": "2s"}
QUICK = {"interval": "1s", "stale_after": "1h"}


@pytest.fixture
def headers_seen(platform: SimulatedPlatform, monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """The headers of every request that reaches the platform."""
    seen: list[Mapping[str, str]] = []
    identify = platform.access.identify

    def remember(headers: Mapping[str, str]) -> Any:
        seen.append(headers)
        return identify(headers)

    monkeypatch.setattr(platform.access, "identify", remember)
    return seen


async def up(exporter: RunningExporter, team: str = "render") -> bool:
    return (await exporter.samples()).value("cyberun_up", team_name=team) == 1


async def failures(exporter: RunningExporter, path: str, reason: str) -> float:
    labels = {"team_name": "render", "path": path, "reason": reason}
    return (await exporter.samples()).value("cyberun_exporter_api_request_failures_total", **labels) or 0


@pytest.mark.assumes("users_me")
async def test_each_kind_has_its_paths_and_headers(
    platform: SimulatedPlatform, run_command: CommandFactory, headers_seen: list[Mapping[str, str]]
) -> None:
    """Integration keys are only used on runtime paths; the team's id is only sent with a user session."""
    teams = [platform.add_team(kind, kind=kind) for kind in ("integration", "device", "jwt")]
    config = [{"name": team.name, "team_id": team.team_id} for team in teams]
    done = await run_command("once", {"api": API, "teams": config})
    assert done.code == 0, done.stderr
    paths = {team.name: {call.path for call in platform.journal.select(team=team.name)} for team in teams}
    assert paths["integration"] == {"/r/tasks", "/r/agents"}
    # /users/me needs no team: a session's request for it is for nobody or for that team.
    assert paths["device"] - {"/users/me"} == paths["jwt"] - {"/users/me"} == {"/r/tasks", "/agents"}
    assert {call.method for call in platform.journal} == {"GET"}
    assert all(call.status == 200 for call in platform.journal if call.query.get("status") != "provisioning")
    by_kind = {team.token: team for team in teams}
    assert len(headers_seen) == len(platform.journal)
    for headers in headers_seen:
        team = by_kind[headers["Authorization"].removeprefix("Bearer ")]
        assert headers.get("X-Team-ID") == (team.team_id if team.kind == "jwt" else None)
        assert "Cookie" not in headers
    infos = parse_text(done.stdout).series("cyberun_team_info")
    assert {info["team_name"]: info["credential_kind"] for info in infos} == {team.name: team.kind for team in teams}


async def test_an_agent_key_is_refused_with_the_reason(tmp_path: Path) -> None:
    """An ak- key is a mistake; the message says why and does not repeat the key."""
    (tmp_path / "key").write_text(f"ak-{MARKER}\n")
    (tmp_path / "config.yaml").write_text("teams: [{name: render, token_file: key}]")
    for command in ("serve", "check", "once"):
        done = await run_exporter(command, "--config.file=config.yaml", directory=tmp_path)
        assert (done.code, done.stdout) == (2, "")
        assert "agent key" in done.stderr
        assert MARKER not in done.stderr


async def test_a_credential_where_none_belongs_is_not_repeated(tmp_path: Path) -> None:
    """A key that was pasted into the configuration or the command line is a mistake that does not show it."""
    mistakes = ({"token": f"sk-{MARKER}"}, {"token_env": f"sk-{MARKER}"}, {"token_file": f"sk-{MARKER}"})
    for number, mistake in enumerate(mistakes):
        path = tmp_path / f"{number}.yaml"
        path.write_text(json.dumps({"teams": [{"name": "render", **mistake}]}))
        done = await run_exporter("check", f"--config.file={path}", directory=tmp_path)
        assert done.code == 2
        assert MARKER not in done.stdout + done.stderr


async def test_a_rotated_file_is_read_again(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """A new key in the file is used without a restart or a failed request."""
    team = platform.add_team("render")
    exporter = await exporter_factory({"api": API, "collect": QUICK})
    await exporter.wait_ready()
    loaded = (await exporter.samples()).value(
        "cyberun_exporter_credential_last_load_timestamp_seconds", team_name="render"
    )
    old, new = team.token, platform.access.add_key(team, "device")
    exporter.write_token("render", new)

    async def on_the_new_one() -> bool:  # and no request with the old one is under way
        return {call.credential_kind for call in platform.journal[-20:]} == {"device"}

    await wait_until(on_the_new_one)
    platform.access.revoke(old)
    polls = platform.journal.count()

    async def polled_again() -> bool:
        return platform.journal.count() > polls + 10

    await wait_until(polled_again)
    assert await up(exporter)
    assert not any(call.status == 401 for call in platform.journal)
    samples = await exporter.samples()
    again = samples.value("cyberun_exporter_credential_last_load_timestamp_seconds", team_name="render")
    assert again is not None
    assert loaded is not None
    assert again > loaded
    assert new not in exporter.logs


async def test_a_refused_credential_is_read_again_once(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """After a 401 the file is read before giving up; a gone or empty file is an `auth` failure, and it recovers."""
    team = platform.add_team("render")
    exporter = await exporter_factory({"api": API, "collect": QUICK})
    await exporter.wait_ready()
    assert await up(exporter)
    path = exporter.token_path("render")

    # The same size and time: only reading shows the change.
    before = path.stat()
    new = platform.access.add_key(team, "integration")
    assert len(new) == len(team.token)
    platform.access.revoke(team.token)
    with path.open("r+") as file:  # in one piece: a file that is emptied first may be read empty
        file.write(new + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    async def refused() -> bool:
        return any(call.status == 401 for call in platform.journal)

    await wait_until(refused)
    counted = platform.journal.count()

    async def polled_on() -> bool:
        return platform.journal.count() > counted + 16

    await wait_until(polled_on)
    assert await up(exporter)
    assert await failures(exporter, "/r/tasks", "auth") == await failures(exporter, "/r/agents", "auth") == 0

    path.unlink()

    async def down() -> bool:
        samples = await exporter.samples()
        return not any(
            samples.value("cyberun_collector_success", team_name="render", collector=each)
            for each in ("tasks", "agents")
        )

    await wait_until(down)
    asked = platform.journal.count()
    assert await failures(exporter, "/r/tasks", "auth") >= 1
    assert await failures(exporter, "/r/agents", "auth") >= 1
    exporter.write_token("render", "")
    missing = await failures(exporter, "/r/tasks", "auth")

    async def failed_again() -> bool:
        return await failures(exporter, "/r/tasks", "auth") > missing

    await wait_until(failed_again, within=20)
    assert platform.journal.count() == asked  # without a credential nothing is sent
    exporter.write_token("render", new)

    async def recovered() -> bool:
        return await up(exporter)

    await wait_until(recovered, within=60)
    assert (await exporter.get("/-/healthy")).status == 200
    assert new not in exporter.logs


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o644, True)])
async def test_a_credential_that_others_can_read_is_warned_of(
    platform: SimulatedPlatform,
    prepare: Callable[..., RunningExporter],
    programs: AsyncExitStack,
    mode: int,
    *,
    warned: bool,
) -> None:
    """A file that every user can read is used, with a warning that names it."""
    platform.add_team("render")
    exporter = prepare({"api": API})
    exporter.token_path("render").chmod(mode)
    await programs.enter_async_context(exporter)
    await exporter.wait_ready()
    lines = [line for line in exporter.logs.splitlines() if "level=warn " in line and "secrets/render" in line]
    assert len(lines) == warned
    assert await up(exporter)


def echo(token: str) -> web.Response:
    """An answer that repeats the credential, with the status that rejects it."""
    words = json.dumps({"error_message": f"no such key: {token}, only {token[:12]}… Bearer {token}"})
    item = {"id": "a", "agent_id": "a", "task_status": token, "agent_status": token}
    page = {"task_list": [item], "agent_list": [item, item], "page_meta": {"total_count": 1, token: token}}
    bare, coded = token.removeprefix("sk-"), "".join(f"%{ord(char):02x}" for char in token)
    broken = " ".join(token[i : i + 5] for i in range(0, len(token), 5))
    answers: dict[str, dict[str, Any]] = {
        "bare": {"status": 403, "text": json.dumps({"error_message": f"{bare} or {bare.lower()} is unknown"})},
        "coded": {"status": 403, "text": json.dumps({"error_message": f"no ?key={coded}, {quote(coded)}"})},
        "broken": {"status": 403, "text": json.dumps({"error_message": f"no {broken}, {'-'.join(bare)}"})},
        "message": {"status": 400, "text": words},
        "auth": {"status": 401, "text": words},
        "reason": {"status": 500, "reason": token, "text": token},
        "location": {"status": 302, "headers": {"Location": f"http://127.0.0.1:1/{token}"}},
        "header": {"status": 429, "headers": {"Retry-After": token, "Date": token, "Set-Cookie": token}},
        "encoding": {"body": b"{}", "headers": {"Content-Encoding": token}},
        "html": {"text": f"<h1>{token}</h1>", "content_type": "text/html"},
        "total": {"text": json.dumps({**page, "page_meta": {"total_count": token}})},
        "list": {"text": json.dumps({**page, "task_list": token, "agent_list": token})},
        "item": {"text": json.dumps(page)},
    }
    return web.Response(**answers[token.rpartition("-")[2]])


ECHOES = (
    "bare",
    "coded",
    "broken",
    "message",
    "auth",
    "reason",
    "location",
    "header",
    "encoding",
    "html",
    "total",
    "list",
    "item",
)


async def test_a_credential_that_is_thrown_back_is_not_shown(
    prepare: Callable[..., RunningExporter], programs: AsyncExitStack
) -> None:
    """No log line, page, metric or output holds a credential, also when the platform repeats it in its answers."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        return echo(request.headers["Authorization"].removeprefix("Bearer "))

    tokens = {way: f"sk-{MARKER}-{way}" for way in ECHOES}
    server = await programs.enter_async_context(serving(script))
    config = {
        "api": {**API, "base_url": server.base_url},
        "collect": {"interval": "1s"},
        "teams": [{"name": way} for way in ECHOES],
        "log": {"level": "debug"},
    }
    exporter = await programs.enter_async_context(prepare(config, tokens=tokens))
    await exporter.wait_ready()

    async def down_often() -> bool:
        teams = (await exporter.json("/api/v1/status"))["teams"]
        return all(len(team["collectors"][0]["attempts"]) >= 2 for team in teams)

    await wait_until(down_often, within=20)
    shown = [await exporter.scrape(), await exporter.scrape(openmetrics=True)]
    paths = ["/", "/api/v1/status", "/-/healthy", "/-/ready", *(f"/?team={way}" for way in ECHOES)]
    shown += [(await exporter.get(path)).text for path in paths]
    for command in ("once", "check"):
        done = await run_exporter(command, f"--config.file={exporter.config_path}", directory=exporter.directory)
        assert done.code == int(command == "once")
        shown += [done.stdout, done.stderr]
    assert await exporter.stop() == 0
    shown.append(exporter.logs)
    assert all(f"team_name={way} " in exporter.logs for way in ECHOES)
    for text in shown:
        plain = re.sub(r"[^a-z0-9]", "", unquote(unquote(text)).lower())
        assert MARKER[:7].lower() not in plain, text


LEAK = "ask https://bob:hunter2@vault.internal/ for it, or send Bearer rt-0123456789abcdef; not sk-proj-AbCd-0123456789"
LEAKED = ("bob", "hunter2", "rt-0123", "AbCd", "0123456789")


async def test_other_peoples_credentials_in_an_error_are_shown_nowhere(
    prepare: Callable[..., RunningExporter], programs: AsyncExitStack
) -> None:
    """The platform's messages are masked in the same way on the page, in its JSON, in the log and by every command."""

    async def script(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"error_message": LEAK}, status=400)

    server = await programs.enter_async_context(serving(script))
    config = {
        "api": {**API, "base_url": server.base_url},
        "collect": {"interval": "1s"},
        "teams": [{"name": "render"}],
        "log": {"level": "debug"},
    }
    exporter = await programs.enter_async_context(prepare(config, tokens={"render": "dk-some-other-key"}))
    await exporter.wait_ready()
    shown = {path: (await exporter.get(path)).text for path in ("/", "/?team=render", "/api/v1/status", "/metrics")}
    for command in (["once"], ["check", "--online"]):
        done = await run_exporter(*command, f"--config.file={exporter.config_path}", directory=exporter.directory)
        assert done.code == 1
        shown[command[0]] = done.stdout + done.stderr
    assert await exporter.stop() == 0
    shown["log"] = exporter.logs
    for name in ("/", "/api/v1/status", "once", "check", "log"):
        assert "https://***@vault.internal/ for it, or send Bearer ***; not sk-***" in shown[name], shown[name]
    for name, text in shown.items():
        assert not any(part in text for part in LEAKED), (name, text)
