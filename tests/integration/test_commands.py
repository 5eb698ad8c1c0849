import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from exporter.demo import SimulatedPlatform
from support import (
    IN_TIME,
    CommandFactory,
    ExporterFactory,
    RunningExporter,
    free_port,
    parse_text,
    run_exporter,
    wait_until,
)
from support.exporter import SCRIPT

QUICK = {"api": {"max_requests_per_second": 1000, "timeout": "1m"}, "collect": {"interval": "1s"}}


# Mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yaml", "flags", "lines"),
    [
        ("teams: [", [], ["config.yaml"]),
        ("teams: [{name: a, token_file: t}]\ncolect: {}", [], ["config.yaml", "colect", "collect"]),
        ("teams: [{name: a, token_file: t}]\nlog: {level: loud}", [], ["log.level", "loud", "debug"]),
        ("teams: [{name: a, token_file: t}]", ["--web.listen-address=nowhere"], ["--web.listen-address", "nowhere"]),
        ("teams: [{name: a, token_file: missing}]", [], ["team a: ", "missing", "no such file"]),
        ("teams: [{name: a, token_file: empty}]", [], ["team a: ", "empty", "is empty"]),
        ("teams: [{name: a, token_file: t}]\napi: {ca_file: t}", [], ["/t", "PEM"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_mistake_ends_it_before_the_port_opens(
    tmp_path: Path, yaml: str, flags: list[str], lines: list[str]
) -> None:
    """A wrong configuration gives exit code 2 and a line with place, value and what is allowed; no port is opened."""
    (tmp_path / "t").write_text("sk-some-key\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "config.yaml").write_text(yaml)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        # Somebody listens there: who tried the port would end with 1.
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await run_exporter(
            f"--config.file={tmp_path / 'config.yaml'}",
            *flags,
            directory=tmp_path,
            environment={"CYBERUN_EXPORTER_WEB__LISTEN_ADDRESS": address},
        )
    assert (done.code, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    mistake = done.stderr.splitlines()[-1]
    assert all(part in mistake for part in lines), done.stderr


@pytest.mark.parametrize("command", ["check", "once"])
async def test_other_commands_refuse_the_same(tmp_path: Path, command: str) -> None:
    """`check` and `once` refuse the same configurations as `serve`, with the same messages."""
    (tmp_path / "config.yaml").write_text("teams: [{name: a, token_file: missing}]")
    serve = await run_exporter("--config.file=config.yaml", directory=tmp_path)
    other = await run_exporter(command, "--config.file=config.yaml", directory=tmp_path)
    assert (other.code, other.stdout, other.stderr) == (2, "", serve.stderr)


async def test_every_mistake_has_a_line(tmp_path: Path) -> None:
    """Several mistakes are reported at once, a line for each."""
    (tmp_path / "config.yaml").write_text(
        "api: {timeout: never, base_url: ftp://x}\ncollect: {intervall: 5s}\nteams: [{name: '', token_file: t}]\n"
    )
    done = await run_exporter("--config.file=config.yaml", directory=tmp_path)
    assert done.code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    for line, key in zip(
        sorted(lines), ("api.base_url", "api.timeout", "collect.intervall", "teams[0].name"), strict=True
    ):
        assert f": {key}: " in line
        assert "; allowed: " in line


async def test_a_port_in_use_is_a_failure(tmp_path: Path) -> None:
    """A port in use gives exit code 1 and one line that names it."""
    (tmp_path / "t").touch(mode=0o600)
    (tmp_path / "t").write_text("sk-some-key\n")
    (tmp_path / "config.yaml").write_text("teams: [{name: a, token_file: t}]")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = await run_exporter(
            "--config.file=config.yaml", f"--web.listen-address=127.0.0.1:{port}", directory=tmp_path
        )
    assert done.code == 1
    assert len(done.stderr.splitlines()) == 1
    assert port in done.stderr


@pytest.mark.parametrize(
    "arguments", [["serv"], ["serve", "--help-me"], ["metrics", "--config.file=x"], ["demo", "--agents=x"]]
)
async def test_bad_usage_is_told(tmp_path: Path, arguments: list[str]) -> None:
    """An unknown command or flag gives exit code 2 and a message on standard error."""
    done = await run_exporter(*arguments, directory=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert arguments[-1].partition("=")[0] in done.stderr


# The end ------------------------------------------------------------------------------------------------------------


async def ended_in_time(exporter: RunningExporter, number: signal.Signals) -> None:
    """Sends the signal; the exporter ends with 0 in time."""
    exporter.send_signal(number)
    code = await exporter.wait()
    assert code == 0, exporter.logs
    assert "Traceback" not in exporter.logs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("platform_is", ["well", "hanging"])
async def test_a_signal_ends_it(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, number: signal.Signals, platform_is: str
) -> None:
    """SIGTERM and SIGINT end it with 0 in time, whatever the platform does."""
    platform.add_team("render")
    platform.add_team("research", kind="device")
    if platform_is == "hanging":
        platform.faults.set("hang")
    exporter = await exporter_factory(QUICK)
    await exporter.wait_listening()

    async def asked() -> bool:
        return platform.journal.count(team="render") > 0

    await wait_until(asked)
    await ended_in_time(exporter, number)


async def test_a_signal_before_the_first_poll_ends_it(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """Nothing needs to have been polled for it to end well."""
    platform.add_team("render")
    platform.faults.set("hang")
    exporter = await exporter_factory()
    await exporter.wait_listening()
    assert (await exporter.get("/-/ready")).status == 503
    await ended_in_time(exporter, signal.SIGTERM)


@pytest.fixture
async def long_exposition(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> RunningExporter:
    """An exporter whose exposition is longer than what the network holds."""
    platform.add_team("render").add_agents(4000, gpus=4)
    exporter = await exporter_factory({"api": {"max_requests_per_second": 1000}})
    await exporter.wait_ready(within=30)
    return exporter


async def slow_scrape(exporter: RunningExporter) -> tuple[socket.socket, bytes]:
    """A scrape of which only the first bytes are read."""
    loop = asyncio.get_running_loop()
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    reader.setblocking(False)
    await loop.sock_connect(reader, ("127.0.0.1", exporter.port))
    await loop.sock_sendall(reader, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return reader, await loop.sock_recv(reader, 2048)


async def test_an_answer_in_flight_is_finished(long_exposition: RunningExporter) -> None:
    """A response under way at shutdown is completed."""
    reader, received = await slow_scrape(long_exposition)
    with closing(reader):
        long_exposition.send_signal(signal.SIGTERM)

        async def stopping() -> bool:
            return "stopping" in long_exposition.logs

        await wait_until(stopping)
        loop = asyncio.get_running_loop()
        while more := await loop.sock_recv(reader, 1 << 20):
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert await long_exposition.wait() == 0


async def test_a_reader_that_stands_still_holds_nobody(long_exposition: RunningExporter) -> None:
    """A scrape whose response is never read does not delay the shutdown."""
    reader, _ = await slow_scrape(long_exposition)
    with closing(reader):
        await ended_in_time(long_exposition, signal.SIGTERM)


# The commands -------------------------------------------------------------------------------------------------------


async def test_once_prints_one_poll(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """`once` prints the result of one poll: exit code 0 if all collectors succeeded, else 1 and what could be read."""
    platform.add_team("render").add_agents(3)
    platform.add_team("research", kind="device").add_agents(2)
    good = await run_command("once")
    assert (good.code, good.stderr.count("\n")) == (0, good.stderr.count("level=info")), good.stderr
    samples = parse_text(good.stdout)
    assert [samples.value("cyberun_up", team_name=team) for team in platform.teams] == [1, 1]
    assert len(samples.series("cyberun_agent_connected")) == 5
    platform.faults.set("status", team="research", path="/r/tasks", value=500)
    bad = await run_command("once")
    assert bad.code == 1
    samples = parse_text(bad.stdout)
    assert [samples.value("cyberun_up", team_name=team) for team in platform.teams] == [1, 0]
    assert len(samples.series("cyberun_agent_connected")) == 5
    assert not samples.series("cyberun_tasks", team_name="research")


async def test_health_asks_the_running_exporter(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """`health` exits with 0 while the exporter answers, whatever the platform does, and with 1 when nothing answers."""
    platform.add_team("render")
    platform.faults.set("status", value=500)
    exporter = await exporter_factory()
    await exporter.wait_listening()
    address = f"--web.listen-address=127.0.0.1:{exporter.port}"
    by_file = f"--config.file={exporter.config_path}"
    for flags in ([by_file], [by_file, address]):
        done = await run_exporter("health", *flags, directory=exporter.directory)
        assert done.code == 0, done.stderr
    await exporter.stop()
    done = await run_exporter("health", by_file, directory=exporter.directory)
    assert (done.code, len(done.stderr.splitlines())) == (1, 1)


async def test_check_says_what_a_configuration_means(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """`check` prints each team, the requests per minute and the series, and sends no request to the platform."""
    platform.add_team("render")
    platform.add_team("research", kind="device")
    done = await run_command("check", {"collect": {"interval": "30s"}})
    assert done.code == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    assert rows["render"][0] == "integration"
    assert rows["research"][0] == "device"
    assert "32 to 56 a minute" in done.stdout  # two teams, two polls a minute, 8 to 14 requests
    assert len(platform.journal) == 0


@pytest.mark.parametrize("command", ["check", "once", "metrics", "simulate"])
async def test_a_closed_output_is_told(command: str) -> None:
    """`>&-` ends a command that prints with a line on standard error."""
    run = await asyncio.create_subprocess_exec(
        "sh", "-c", f'exec "$0" {command} >&-', str(SCRIPT), stderr=asyncio.subprocess.PIPE
    )
    _, said = await run.communicate()
    assert (run.returncode, said) == (1, b"cyberun-exporter: standard output is closed\n")


async def test_a_table_on_an_output_of_ascii(tmp_path: Path) -> None:
    """Characters that the output cannot encode are escaped, and the table is complete."""
    (tmp_path / "t").write_text("sk-some-key\n")
    (tmp_path / "config.yaml").write_text("teams: [{name: Jörg 漢, token_file: t}]", encoding="utf-8")
    done = await run_exporter(
        "check",
        f"--config.file={tmp_path / 'config.yaml'}",
        directory=tmp_path,
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert done.code == 0, done.stderr
    assert "J\\xf6rg \\u6f22" in done.stdout


async def test_metrics_prints_the_reference(tmp_path: Path) -> None:
    """`metrics` prints every metric of an exposition; `--version` prints the version."""
    done = await run_exporter("metrics", directory=tmp_path)
    assert done.code == 0
    assert "`cyberun_up`" in done.stdout
    version = await run_exporter("--version", directory=tmp_path)
    assert version.code == 0
    assert version.stdout.startswith("cyberun-exporter 1.")


# Simulations --------------------------------------------------------------------------------------------------------


async def test_simulate_serves_a_platform(
    tmp_path: Path, programs: AsyncExitStack, prepare: Callable[..., RunningExporter]
) -> None:
    """`simulate` prints its address and the teams' credentials, with which an exporter can poll it.

    It behaves the other way where it is told to.
    """
    port = free_port()
    command = [str(SCRIPT), "simulate", f"--web.listen-address=127.0.0.1:{port}", "--teams=2", "--agents=7"]
    command += ["--reverse-assumption=uuid_team_ids", "--reverse-assumption=filtered_total"]
    simulator = await programs.enter_async_context(
        RunningExporter(command, directory=tmp_path, port=port, environment={})
    )

    async def listed() -> list[list[str]]:
        lines = [line.split() for line in simulator.logs.splitlines()]
        return lines if len(lines) == 3 else []

    [base_url], *teams = await wait_until(listed)
    config = {
        "api": {"base_url": base_url, "max_requests_per_second": 1000},
        "teams": [{"name": name, "team_id": team_id} for name, _, team_id, _ in teams],
    }
    files = prepare(config, tokens={name: token for name, *_, token in teams})
    done = await run_exporter("once", f"--config.file={files.config_path}", directory=files.directory)
    assert done.code == 0, done.stderr
    samples = parse_text(done.stdout)
    assert len(samples.series("cyberun_agent_connected")) <= 7
    assert len(samples.series("cyberun_up")) == 2
    assert [team_id[:9] for _, _, team_id, _ in teams] == ["team_01HX"] * 2
    assert "totals ignore the status filter" in done.stderr
    assert await simulator.stop() == 0


async def demo(programs: AsyncExitStack, directory: Path, *flags: str) -> RunningExporter:
    port = free_port()
    command = [str(SCRIPT), "demo", f"--web.listen-address=127.0.0.1:{port}", *flags]
    exporter = RunningExporter(command, directory=directory, port=port, environment={})
    return await programs.enter_async_context(exporter)


async def test_the_demo_shows_a_living_fleet(tmp_path: Path, programs: AsyncExitStack) -> None:
    """`demo` needs no configuration: it has three teams and at least 30 agents, whose numbers change."""
    exporter = await demo(programs, tmp_path)
    await exporter.wait_ready(within=30)

    async def described() -> bool:
        # A team is described at the end of its poll, after its lists.
        samples = await exporter.samples(openmetrics=True)
        kinds = {labels["credential_kind"] for labels in samples.series("cyberun_team_info")}
        return kinds == {"integration", "device", "jwt"}

    await wait_until(described, within=30)
    first = await exporter.samples(openmetrics=True)
    ups = {labels["team_name"]: first.value("cyberun_up", **labels) for labels in first.series("cyberun_up")}
    assert list(ups.values()) == [1, 1, 1]
    assert len(first.series("cyberun_agent_connected")) >= 30

    def numbers(values: Mapping[Any, float]) -> dict[Any, float]:
        return {
            key: value for key, value in values.items() if key[0] in ("cyberun_tasks", "cyberun_agent_running_tasks")
        }

    async def moved() -> bool:
        return numbers((await exporter.samples()).values) != numbers(first.values)

    await wait_until(moved, within=30)
    assert str(exporter.port) in exporter.logs.splitlines()[0]
    assert await exporter.stop() == 0


async def test_the_demo_shows_faults(tmp_path: Path, programs: AsyncExitStack) -> None:
    """`demo --faults` shows an exporter of a failing platform."""
    exporter = await demo(programs, tmp_path, "--faults=render:/r/tasks:status=503", "--agents=10", "--seed=7")
    await exporter.wait_ready(within=30)
    samples = await exporter.samples()
    ups = {labels["team_name"]: samples.value("cyberun_up", **labels) for labels in samples.series("cyberun_up")}
    assert ups == {"render": 0, "research": 1, "batch": 1}
    labels = {"team_name": "render", "path": "/r/tasks", "reason": "http_5xx"}
    assert samples.value("cyberun_exporter_api_request_failures_total", **labels)
    done = await run_exporter("demo", "--faults=render:/r/tasks:boom", directory=tmp_path)
    assert (done.code, len(done.stderr.splitlines())) == (2, 1)
    assert "boom" in done.stderr


async def test_a_log_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    """With a full pipe on standard error, scrapes are answered, polls continue, and SIGTERM ends it in time."""
    (tmp_path / "t").write_text("sk-some-key\n")
    teams = "".join(f"- {{name: team-{number}, token_file: t}}\n" for number in range(60))
    api = "{base_url: 'http://127.0.0.1:9/api/v1', max_requests_per_second: 1000}"
    (tmp_path / "c.yaml").write_text(f"api: {api}\ncollect: {{interval: 1s}}\nteams:\n{teams}")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    address = f"127.0.0.1:{free_port()}"
    command = [str(SCRIPT), f"--config.file={tmp_path / 'c.yaml'}", f"--web.listen-address={address}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=writing)
    os.close(writing)
    async with ClientSession(f"http://{address}", timeout=ClientTimeout(5)) as client:

        async def polled() -> bool:
            try:
                async with client.get("/metrics") as answer:
                    samples = parse_text(await answer.text())
            except ClientError:
                return False
            name = "cyberun_exporter_api_requests_total"
            asked = [
                samples.value(name, **labels) or 0 for labels in samples.series(name) if labels["path"] == "/r/agents"
            ]
            return len(asked) == 60 and min(asked) >= 3

        await wait_until(polled, within=60)
        process.terminate()
        async with asyncio.timeout(IN_TIME):
            assert await process.wait() == 0
    os.close(reading)
