"""Connections that fail or hang, and what they say about a team."""

import asyncio
import socket
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web

from exporter.errors import RequestTimeout
from exporter.platform.client import Limits
from exporter.platform.pacing import Pacer
from support.scripted import (
    KEY,
    Client,
    Script,
    Server,
    Wiring,
    answering,
    credential,
    healthy,
    raw,
    reset,
    serving,
)

pytestmark = pytest.mark.loopback


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
GONE = "the platform closed the connection without an answer"
NO_HTTP = "the answer is not valid HTTP, or its headers are too large"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (reset, GONE),
        (raw(), GONE),
        (raw(b"HTTP/1.1 20"), GONE),
        (raw(HEAD + b"{"), "the connection broke before the last byte"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
            "the connection broke before the last byte",
        ),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"), NO_HTTP),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + KEY.encode() + b"x" * 70_000 + b"\r\n\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n"), NO_HTTP),
    ],
)
async def test_a_broken_connection_is_one_failed_request(
    server: Server, client: Client, script: Script, words: str
) -> None:
    """The request is not repeated by aiohttp itself."""
    server.script = script
    error = await client.failure()
    assert (error.reason, str(error)) == ("connect", f"GET /r/tasks: {words}")
    assert len(server.requests) == len(client.log.requests) == len(client.log.answers) == 1


async def test_nobody_there_is_a_failed_connection() -> None:
    """A refused connection has a clear message, without the address."""
    async with serving() as server:
        pass
    async with Wiring(credential()).client(server.base_url) as client:
        error = await client.failure()
    assert (error.reason, str(error)) == ("connect", "GET /r/tasks: no connection: Connection refused")


async def test_a_peer_that_hangs_up_during_the_handshake_is_named() -> None:
    """A connection that ends during the handshake has a message, although asyncio's error has none."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as peer:
        port = peer.sockets[0].getsockname()[1]
        async with Wiring(credential()).client(f"https://127.0.0.1:{port}/api/v1") as client:
            error = await client.failure()
    words = "the peer closed the connection during the TLS handshake"
    assert (error.reason, str(error)) == ("connect", f"GET /r/tasks: {words}")


async def test_a_host_that_is_no_name_is_a_failed_connection() -> None:
    """A name that cannot even be looked up fails like any platform that cannot be reached."""
    async with Wiring(credential()).client(f"http://{'a' * 64}.invalid/api/v1") as client:
        assert (await client.failure()).reason == "connect"


async def test_a_name_that_nobody_knows_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's message distinguishes an unknown name from a platform that is down."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with Wiring(credential()).client("http://platform.example/api/v1") as client:
        error = await client.failure()
    assert (error.reason, str(error)) == ("connect", "GET /r/tasks: no connection: Name or service not known")


async def test_a_proxy_that_refuses_is_a_failed_connection(server: Server) -> None:
    """A proxy's refusal is reported as the proxy's status, not the platform's."""
    server.script = answering(407)
    proxy = server.base_url.removesuffix("/api/v1")
    async with Wiring(credential(), proxy=proxy).client("https://platform.example/api/v1") as client:
        error = await client.failure()
    assert (error.reason, str(error)) == (
        "connect",
        "GET /r/tasks: the proxy refused the connection with status 407",
    )
    assert [request.method for request in server.requests] == ["CONNECT"]
    assert "Authorization" not in server.requests[0].headers


async def test_closing_costs_nobody_an_answer(server: Server) -> None:
    """Requests under way and those waiting for a permit are completed; then the connections are closed."""
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def script(_: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        return web.Response(body=b"{}")

    server.script = script
    async with Wiring(credential(), pacer=Pacer(1000, 1)).client(server.base_url) as client:
        asked = [asyncio.create_task(client.get()) for _ in range(3)]
        await arrived.wait()
    assert len(server.requests) == 1
    gate.set()
    assert await asyncio.gather(*asked) == [b"{}"] * 3
    assert client.platform._sessions is None


@pytest.mark.parametrize("script", [raw(hang=True), raw(HEAD + b"{", hang=True), raw(b"HTTP/1.1 200", hang=True)])
async def test_a_platform_that_hangs_is_left_in_time(server: Server, script: Script) -> None:
    """A platform that hangs, before or during the answer, is a timeout, and the connection is closed."""
    server.script = script
    async with Wiring(credential(), Limits(0.2, 1000)).client(server.base_url) as client:
        error = await client.failure()
        await asyncio.wait_for(server.gone.wait(), 5)
        assert (error.reason, str(error)) == ("timeout", "GET /r/tasks: no complete answer within 0.2 s")
        ((path, seconds),) = client.log.answers
        assert path == "/r/tasks"
        assert 0.2 <= seconds < 2


async def test_waiting_for_a_permit_is_not_counted_as_waiting_for_the_platform(server: Server) -> None:
    """The time of a request that waits for a permit starts when it is sent."""
    answered: list[float] = []
    now = asyncio.get_running_loop().time

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0 if answered else 0.3)
        answered.append(now())
        return web.Response(body=b"{}")

    server.script = slow
    async with Wiring(credential(), Limits(30, 1000), Pacer(1000, 1)).client(server.base_url) as client:
        assert set(await asyncio.gather(client.get(), client.get())) == {b"{}"}
    [(_, first), (_, second)] = client.log.answers
    assert first >= 0.3
    assert second <= now() - answered[0]


async def test_a_cancelled_request_leaves_nothing_behind(server: Server) -> None:
    """For a cancelled request the connection is closed, the place is free, and no failure is counted."""
    server.script = raw(HEAD + b"{", hang=True)
    async with Wiring(credential(), pacer=Pacer(1000, 1)).client(server.base_url) as client:
        task = asyncio.create_task(client.get())
        await asyncio.wait_for(server.asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)
        server.script = healthy
        assert await client.get() == b"{}"
        assert client.log.failures == []


# Pacing
class NotingPacer(Pacer):
    """A pacer that records which requests were likely to hang. Mutable."""

    def __init__(self) -> None:
        super().__init__(1000, 8)
        self.likely: list[bool] = []
        self.slow: list[bool] = []

    def request_permit(self, *, likely_to_hang: bool = False, slow: bool = False) -> AbstractAsyncContextManager[None]:
        self.likely.append(likely_to_hang)
        self.slow.append(slow)
        return super().request_permit(likely_to_hang=likely_to_hang, slow=slow)


async def test_a_team_is_suspect_from_a_timeout_to_its_next_answer(server: Server) -> None:
    """After a request that hung, the next ones share the places for hanging teams, until one is answered."""
    wiring = Wiring(credential(), limits=Limits(timeout=0.2, max_response_bytes=1000), pacer=NotingPacer())
    async with wiring.client(server.base_url) as client:
        server.script = raw(hang=True)
        with pytest.raises(RequestTimeout):
            await client.get("/r/tasks", {})
        server.script = answering()
        for _ in range(2):
            await client.get("/r/tasks", {})
    assert isinstance(wiring.pacer, NotingPacer)
    assert wiring.pacer.likely == [False, True, False]


async def test_a_team_is_slow_from_a_slow_answer_on_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow answer affects the next few requests, each half as much as the one before."""
    monkeypatch.setattr("exporter.platform.team.SLOW", 0.1)

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.Response(body=b"{}")

    wiring = Wiring(credential(), pacer=NotingPacer())
    async with wiring.client(server.base_url) as client:
        server.script = slow
        await client.get()
        server.script = healthy
        for _ in range(6):
            await client.get()
    assert isinstance(wiring.pacer, NotingPacer)
    assert wiring.pacer.slow[:3] == [False, True, True]
    assert wiring.pacer.slow[-1] is False
