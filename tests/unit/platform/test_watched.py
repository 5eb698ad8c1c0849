"""What a peer can do on one connection."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
import trustme

from exporter.errors import ConnectFailed
from exporter.platform import watched
from exporter.platform.client import Limits
from exporter.platform.trust import Trust
from support.raw import RawConnection, RawRequest, answer, connected, raw_platform
from support.turns import turns_of_another_task

pytestmark = pytest.mark.loopback


class Ends:
    """What is on both sides of a watched connection: a transport that does nothing, and a protocol that takes note."""

    def __init__(self) -> None:
        self.transport: Any = Mock(spec=asyncio.Transport, **{"get_extra_info.return_value": None})
        self.parsed = b""
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parsed += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def exception(self) -> None:
        return None


@pytest.mark.parametrize("given_up", [True, False])
async def test_the_end_is_told_once_after_what_came_before_it(*, given_up: bool) -> None:
    """TLS may hand over data and the end at once; whoever waits for an answer learns of both, in that order."""
    handler: Any = Ends()
    connection, error = watched.WatchedConnection(handler), ConnectionResetError()
    connection.begin_request()
    connection.data_received(b"x" * 3 * watched.STEP)
    connection.connection_lost(error)
    assert handler.lost == []
    if given_up:
        connection.close()
        assert handler.lost == [error]
    for _ in range(10):
        await asyncio.sleep(0)
    assert handler.lost == [error]
    assert len(handler.parsed) == (1 if given_up else 3) * watched.STEP


@pytest.mark.parametrize("size", [9_000, 40_000, 60_000])
async def test_large_headers_are_read(size: int) -> None:
    """Large headers from proxies in between are accepted, up to 64 KB, in one header or in many."""
    for headers in (f"X-Large: {'x' * size}\r\n", "".join(f"X-{i}: {'x' * 90}\r\n" for i in range(size // 100))):

        async def handler(connection: RawConnection, _: RawRequest, headers: str = headers) -> None:
            await connection.send(answer(b"{}", headers=headers))

        async with raw_platform(handler) as platform, connected(platform) as client:
            assert await client.get() == b"{}"


async def test_headers_without_end_are_a_failed_connection() -> None:
    """Headers beyond the limit end the connection."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await connection.send(b"X-More: x\r\n" * 100)

    async with raw_platform(handler) as platform, connected(platform) as client:
        assert (await asyncio.wait_for(client.failure(), 5)).reason == "connect"


@pytest.mark.parametrize("times", [1, 1_000_000])
async def test_informational_answers_without_end_are_a_failed_connection(times: int) -> None:
    """A flood of them neither grows nor goes on; it fails at once also where the platform hangs up meanwhile."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        for _time in range(times):
            await connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000)
        connection.writer.close()

    async with raw_platform(handler) as platform, connected(platform) as client:
        assert (await asyncio.wait_for(client.failure(), 5)).reason == "connect"


async def test_a_few_informational_answers_are_skipped() -> None:
    """Informational answers are allowed before the real one."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 5 + answer(b"{}"))

    async with raw_platform(handler) as platform, connected(platform) as client:
        assert await client.get() == b"{}"


@pytest.mark.parametrize("rest", [b"zz\r\n{", b"5\r\n{}\r\n", b"-1\r\n", b"\r\n\r\n"])
async def test_a_broken_chunk_fails_at_once(rest: bytes) -> None:
    """Invalid HTTP fails at once, not at the timeout, even if the platform keeps the connection open."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        await asyncio.sleep(0.05)
        await connection.send(rest + b"}" * 20 + b"\r\n")
        await asyncio.Event().wait()

    async with raw_platform(handler) as platform, connected(platform) as client:
        error = await asyncio.wait_for(client.failure(), 2)
    assert isinstance(error, ConnectFailed)


@pytest.mark.parametrize("length", [1, 100_000])
async def test_one_byte_chunks_are_read_in_steps(length: int) -> None:
    """A body in the smallest chunks is read, and other tasks run meanwhile."""
    body = b'{"a": "' + b"x" * length + b'"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    limits = Limits(timeout=20.0, max_response_bytes=1_000_000)
    async with raw_platform(handler) as platform, connected(platform, limits=limits) as client:
        async with turns_of_another_task() as turns:
            assert await client.get() == body
        assert turns.taken > len(chunks) / watched.STEP
        assert await client.get() == body
        assert len(platform.connections) == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_what_came_before_the_end_is_read_in_steps(*, whole: bool) -> None:
    """A platform that hangs up right after its answer has answered; one that hangs up before has not."""
    body = b"x" * 30_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await connection.send(head + (chunks if whole else chunks[:-20]))
        connection.writer.close()

    async with raw_platform(handler) as platform, connected(platform) as client:
        if whole:
            assert await client.get() == body
        else:
            assert (await asyncio.wait_for(client.failure(), 5)).reason == "connect"
        assert len(platform.requests) == 1


async def test_an_answer_that_is_too_large_is_left_at_once() -> None:
    """Whatever of it was received and not parsed: the connection is closed, and so is the client, without a wait."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(answer(b"x" * 2_000_000))
        connection.writer.close()

    limits = Limits(timeout=20.0, max_response_bytes=10_000)
    async with raw_platform(handler) as platform, asyncio.timeout(5), connected(platform, limits=limits) as client:
        assert (await client.failure()).reason == "too_large"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trust(authority: trustme.CA, tmp_path: Path) -> Trust:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Trust(tmp_path / "ca.pem")


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the event loop logs, which no caller sees."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_a_tls_peer_that_closes_after_each_answer(
    tls: ssl.SSLContext, trust: Trust, complaints: list[dict[str, Any]]
) -> None:
    """An answer with `Connection: close` is read to its end, and nothing is asked of a transport that is closing."""

    async def close_after(connection: RawConnection, request: RawRequest) -> None:
        await connection.send(answer(b"x" * int(request.query["size"]), headers="Connection: close\r\n"))
        connection.writer.close()

    async with raw_platform(close_after, tls=tls) as platform, connected(platform, trust=trust) as client:
        for size in [9_000, 40_000] * 30:
            assert len(await client.get("/r/tasks", {"size": size})) == size
    assert complaints == []


class Quiet(asyncio.Protocol):
    """In the place of aiohttp's protocol: takes whatever comes."""

    transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def exception(self) -> None:
        """Nothing is wrong with what came."""

    def force_close(self) -> None:
        """Leave it to the test."""


async def test_a_tls_connection_that_is_closed_in_the_middle_of_an_answer(tls: ssl.SSLContext, trust: Trust) -> None:
    """What TLS still delivers while it closes is dropped, and does not hide why the connection is being closed."""

    async def large(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(answer(b"x" * 100_000))

    async with raw_platform(large, tls=tls) as platform:
        place = asyncio.get_running_loop().create_connection(
            Quiet, "127.0.0.1", platform.port, ssl=await trust.context()
        )
        transport, protocol = await place
        transport.write(b"GET / HTTP/1.1\r\n\r\n")
        transport.pause_reading()
        connection = watched.WatchedConnection(cast("Any", protocol))
        connection.begin_request()
        connection.response = Mock(status=200)
        await asyncio.sleep(0.2)  # meanwhile TLS buffers the answer
        transport.resume_reading()
        connection.become_idle()
        connection.close()
        transport.abort()
