import asyncio
import resource
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from exporter.demo import SimulatedPlatform
from exporter.errors import ConnectFailed
from exporter.platform import watched
from support import ExporterFactory, RunningExporter, wait_until
from support.raw import healthy, raw_platform
from support.scripted import Wiring, credential

API: dict[str, Any] = {"max_requests_per_second": 1000, "timeout": "2s"}
COLLECT = {"interval": "1s", "stale_after": "2m"}


async def is_up(exporter: RunningExporter, value: int = 1) -> None:
    """Waits until the team is up, or down."""

    async def reached() -> bool:
        return (await exporter.samples()).value("cyberun_up", team_name="render") == value

    await wait_until(reached, within=40)


async def test_a_platform_that_restarts_is_found_again(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """Connections end with the platform, and are opened again when it is back on its port."""
    platform.add_team("render").add_agents(1)
    async with platform.serve() as base_url:
        exporter = await exporter_factory({"api": {**API, "base_url": base_url}, "collect": COLLECT})
        await is_up(exporter)
    await is_up(exporter, 0)
    async with platform.serve(port=urlsplit(base_url).port or 0):
        await is_up(exporter)


async def test_a_name_that_moves_to_another_address_is_followed(
    platform: SimulatedPlatform, programs: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the old address is gone, the name is resolved again within the seconds that a result is cached."""
    address, real = ["127.0.0.1"], socket.getaddrinfo

    def lookup(host: Any, *arguments: Any, **named: Any) -> Any:
        return real(address[0] if host == "platform.test" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    key = platform.add_team("render").token
    query = {"status": "running"}
    async with platform.serve() as base_url:
        named, port = base_url.replace("127.0.0.1", "platform.test"), urlsplit(base_url).port or 0
        client = await programs.enter_async_context(Wiring(credential(key)).client(named))
        await client.get("/r/tasks", query)
    address[0] = "127.0.0.2"
    async with platform.serve(host="127.0.0.2", port=port):

        async def found() -> bool:
            try:
                return bool(await client.get("/r/tasks", query))
            except ConnectFailed:
                return False

        await wait_until(found, within=20, every=0.5)


async def test_a_name_that_moves_while_its_old_address_answers_is_followed(
    programs: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections have an age: after it the name is looked up again, and all requests go where it leads now."""
    address, real = ["127.0.0.1"], socket.getaddrinfo

    def lookup(host: Any, *arguments: Any, **named: Any) -> Any:
        return real(address[0] if host == "platform.test" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(watched, "AGE_LIMIT", 1.0)
    old = await programs.enter_async_context(raw_platform(healthy))
    new = await programs.enter_async_context(raw_platform(healthy, host="127.0.0.2", port=old.port))
    named = old.base_url.replace("127.0.0.1", "platform.test")
    client = await programs.enter_async_context(Wiring(credential()).client(named))
    for _ in range(2):
        await client.get()
    assert (len(old.requests), len(old.connections)) == (2, 1)
    address[0] = "127.0.0.2"

    async def followed() -> bool:
        await client.get()
        return bool(new.requests)

    await wait_until(followed, within=60, every=0.2)
    asked = len(old.requests)
    for _ in range(3):
        await client.get()
    assert len(old.requests) == asked
    assert client.log.failures == []


def descriptors(pid: int) -> int:
    """The number of file descriptors that the process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_running_out_of_descriptors_is_outlived(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """Clients that use up all file descriptors only block new connections; when they leave, all works as before."""
    platform.add_team("render").add_agents(1)
    exporter = await exporter_factory({"api": API, "collect": COLLECT})
    await is_up(exporter)
    few = descriptors(exporter.pid) + 5
    soft, hard = resource.prlimit(exporter.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(exporter.pid, resource.RLIMIT_NOFILE, (few, hard))
    clients = [await asyncio.open_connection("127.0.0.1", exporter.port) for _ in range(40)]
    platform.faults.parse("*:*:reset#8")  # its connections are gone as well
    await asyncio.sleep(3)
    assert descriptors(exporter.pid) <= few
    for _, writer in clients:
        writer.close()
    await is_up(exporter)
    assert exporter.logs.count("out of file descriptors") == 1
    assert exporter.logs.count("\n") < 20
    assert (await exporter.get("/-/healthy")).status == 200
    resource.prlimit(exporter.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert await exporter.stop() == 0
