"""The program stops in time whatever its threads wait for, and SIGHUP never kills it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.demo import SimulatedPlatform
from support import IN_TIME, ExporterFactory, RunningExporter, wait_until
from support.exporter import SCRIPT
from support.sessions import SignedIn

UNRESOLVABLE = """
import socket, sys, time
from exporter.cli import main

def resolve(host, *args, **kwargs):
    if host != "{host}":
        return true(host, *args, **kwargs)
    print("resolving", file=sys.stderr, flush=True)
    time.sleep(60)

true, socket.getaddrinfo = socket.getaddrinfo, resolve
sys.exit(main({argv}))
"""


async def terminated(process: asyncio.subprocess.Process) -> int:
    """The exit code after SIGTERM."""
    process.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(process.wait(), IN_TIME)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("argv", "host", "code"),
    [
        (["serve", "--web.listen-address=127.0.0.1:0"], "platform.example", 0),
        (["serve", "--web.listen-address=listen.example:0"], "listen.example", 0),
        (["once"], "platform.example", 1),
    ],
    ids=("serve", "start", "once"),
)
async def test_a_name_that_is_being_resolved_is_not_waited_for(
    tmp_path: Path, argv: list[str], host: str, code: int
) -> None:
    """A thread that waits for a name server does not delay the end of the process, even during startup."""
    environment = {"CYBERUN_EXPORTER_TOKEN": "sk-made-up", "CYBERUN_EXPORTER_API__BASE_URL": "http://platform.example"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", UNRESOLVABLE.format(argv=argv, host=host)),
        cwd=tmp_path,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    while b"resolving" not in (line := await asyncio.wait_for(process.stderr.readline(), 60)):
        assert line, "it ended before"
    assert await terminated(process) == code


async def test_a_file_without_an_end_is_not_waited_for(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """A configuration that has become a named pipe blocks the reload, and nothing else."""
    platform.add_team("render", token="sk-render")
    exporter = await exporter_factory()
    await exporter.wait_ready()
    exporter.config_path.unlink()
    os.mkfifo(exporter.config_path)
    exporter.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.5)
    assert (await exporter.get("/-/healthy")).status == 200
    assert await exporter.stop() == 0


async def test_a_hangup_is_harmless_at_every_moment(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """SIGHUP at any moment, from the start to the end, is harmless: the exporter serves, and exits with 0."""
    platform.add_team("render", token="sk-render")
    exporter = await exporter_factory()

    async def ignores_hangups() -> bool:  # Python itself takes a moment to start
        status = await asyncio.to_thread(Path(f"/proc/{exporter.pid}/status").read_text, encoding="utf-8")
        ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
        return bool(int(ignored, 16) >> (signal.SIGHUP - 1) & 1)

    await wait_until(ignores_hangups, every=0.001)

    async def keep_hanging_up() -> None:
        while True:
            exporter.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)

    hanging_up = asyncio.create_task(keep_hanging_up())
    await exporter.wait_ready()
    exporter.send_signal(signal.SIGTERM)
    code = await exporter.wait()
    hanging_up.cancel()
    assert code == 0


@pytest.mark.parametrize("command", [("once",), ("check", "--online")], ids=" ".join)
async def test_a_rotated_token_is_kept(
    platform: SimulatedPlatform,
    prepare: Callable[..., RunningExporter],
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    """A command that is stopped during a token exchange ends once the new refresh token is in its file."""
    team = platform.add_team("render", kind="jwt")
    operator = SignedIn(platform, tmp_path / "operator", "render")
    before = operator.saved
    platform.faults.parse("*:/auth/refresh:latency=1s")
    files = prepare(
        {"teams": [{"name": "render", "team_id": team.team_id, "refresh_token_file": str(operator.path)}]}, tokens={}
    )
    process = await asyncio.create_subprocess_exec(
        *(str(SCRIPT), *command, f"--config.file={files.config_path}"), stdout=asyncio.subprocess.DEVNULL
    )

    async def trading() -> bool:
        return operator.renewals == 1

    await wait_until(trading)
    assert await terminated(process) == 1
    assert operator.saved != before
    assert operator.alive
