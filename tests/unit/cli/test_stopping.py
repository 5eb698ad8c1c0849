"""How long `serve` may wait at its end, counted rather than measured: a busy machine does not change it."""

import asyncio
import gc
import os
import selectors
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.cli.running import Loop
from exporter.cli.serve import serve
from exporter.config.load import load
from exporter.demo import SimulatedPlatform
from exporter.service.service import STOP_TIMEOUT
from exporter.service.shard import Shard
from exporter.web.serve import SHUTDOWN_PHASE
from support import free_port, wait_until

pytestmark = [
    pytest.mark.loopback,
    # A sign-in that hangs is given up, and its connection ends with the process.
    pytest.mark.filterwarnings("ignore:Unclosed client session:ResourceWarning"),
]

PROMISED: Final = 5.0
"""Seconds from SIGTERM to the end, as docs/image.md says."""
AGENTS: Final = 2500
HELD: Final = 6_000_000
"""An exposition with so many agents is longer than so many bytes, which the buffers of a connection do not hold."""


class _CountingSelector(selectors.DefaultSelector):
    """Waits for what happens; once it counts, it adds up the seconds that it would wait. Mutable."""

    counted: float | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        if self.counted is None or timeout is None:
            return super().select(timeout)
        ready = super().select(0)
        self.counted += 0 if ready else timeout
        return ready


class CountingLoop(Loop):
    """A loop whose time, from a moment on, is only the time that its timers let it wait."""

    def __init__(self) -> None:
        self._counting = _CountingSelector()
        self._begun = time.monotonic()
        super().__init__(self._counting)

    def time(self) -> float:
        if self._counting.counted is None:
            return time.monotonic()
        return self._begun + self._counting.counted

    def count(self) -> None:
        """Count from now on."""
        self._begun, self._counting.counted = time.monotonic(), 0.0

    @property
    def waited(self) -> float:
        """Seconds counted."""
        return self._counting.counted or 0.0


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    yield
    gc.unfreeze()  # what `serve` has frozen
    gc.collect()


async def unread(port: int) -> asyncio.StreamWriter:
    """A scrape of which only the first bytes are read, as soon as it is longer than what the network holds."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if int(head.partition("Content-Length: ")[2].split()[0]) > HELD:
            return writer
        writer.transport.abort()
        await asyncio.sleep(0.1)


async def stopped(faults: str, folder: Path, *, reads: bool) -> tuple[int, float]:
    """The exit code of an exporter with requests and a sign-in under way, and the seconds that it waited at its end."""
    loop, platform = asyncio.get_running_loop(), SimulatedPlatform()
    assert isinstance(loop, CountingLoop)
    render, batch = platform.add_team("render"), platform.add_team("batch", kind="jwt")
    if not reads:
        render.add_agents(AGENTS, gpus=4)
    (folder / "batch").touch(mode=0o600)
    (folder / "batch").write_text(str(batch.refresh_token), encoding="utf-8")
    platform.faults.parse(faults)
    async with platform.serve() as base_url:
        sections = {
            "api": {"base_url": base_url, "timeout": "1m", "max_requests_per_second": 1000},
            "collect": {"interval": "1s"},
            "web": {"listen_address": f"127.0.0.1:{(port := free_port())}"},
            "teams": [
                {"name": "render", "token_env": "RENDER"},
                {"name": "batch", "team_id": batch.team_id, "refresh_token_file": str(folder / "batch")},
            ],
        }
        serving = asyncio.Event()
        task = asyncio.create_task(
            serve(load(None, {}, sections), {"RENDER": render.token}, Shard(), ready=serving.set)
        )
        await serving.wait()

        async def asked() -> bool:
            return platform.journal.count(path="/auth/refresh") > 0 and platform.journal.count(team="render") > 0

        await wait_until(asked, within=60)
        reader = None if reads else await asyncio.wait_for(unread(port), 60)
        loop.count()
        os.kill(os.getpid(), signal.SIGTERM)
        code = await task
        waited = loop.waited
        if reader is not None:
            reader.transport.abort()
    return code, waited


@pytest.mark.parametrize(
    ("faults", "reads", "least"),
    [
        ("", True, 0.0),
        ("*:/r/tasks:hang", True, 0.0),
        ("*:/auth/refresh:hang", True, STOP_TIMEOUT),
        ("", False, SHUTDOWN_PHASE),
        ("*:/auth/refresh:hang", False, STOP_TIMEOUT),
    ],
    ids=["all is well", "a list hangs", "a sign-in hangs", "a scrape hangs", "a sign-in and a scrape hang"],
)
def test_a_stop_waits_for_less_than_is_promised(tmp_path: Path, faults: str, reads: bool, least: float) -> None:  # noqa: FBT001  a parameter of the test
    """All that the exporter waits for at its end, one after the other or at once, takes less than five seconds."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        code, waited = runner.run(stopped(faults, tmp_path, reads=reads))
    assert code == 0
    assert least <= waited < PROMISED
