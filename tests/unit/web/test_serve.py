import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from exporter.web import send
from exporter.web.app import make_app
from exporter.web.serve import ACCEPT_ERROR_EVERY, AcceptErrorThrottle, listening

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.web.conftest import HeldSource

BIG = 16 * 1024 * 1024
ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


async def drained(reader: asyncio.StreamReader) -> int:
    """Read until the connection ends, which must be soon; return the number of bytes."""
    count = 0
    try:
        async with asyncio.timeout(10):
            while data := await reader.read(65536):
                count += len(data)
    except ConnectionError:
        pass
    return count


async def let_go(source: "HeldSource") -> int:
    """Wait until a body is released; return how much of it was read."""
    async with asyncio.timeout(10):
        return await source.ended.get()


async def test_reader_that_leaves(port: int, source: "HeldSource", caplog: pytest.LogCaptureFixture) -> None:
    """A client that disconnects in the middle of a body only ends its own response, without a log line."""
    source.text_body = b"x" * BIG
    for until_then in (0.0, 0.05, 0.3):  # at once, and when we have come to wait for it
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(ASK)
        await reader.readexactly(1000)
        await asyncio.sleep(until_then)
        writer.transport.abort()
        assert await let_go(source) < BIG
    source.text_body = b"y"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert (await reader.read()).endswith(b"\r\n\r\ny")
    writer.close()
    assert not caplog.records


async def test_reader_that_stands_still(
    port: int, source: "HeldSource", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that stops reading is disconnected after a while, so that it does not hold old data for ever."""
    monkeypatch.setattr(send, "READER_TIMEOUT", 0.05)
    source.text_body = b"x" * BIG
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(ASK)
    await reader.readexactly(1000)
    assert await let_go(source) < BIG
    assert await drained(reader) < BIG
    writer.close()
    assert not caplog.records


async def test_reader_that_is_slow(
    port: int, source: "HeldSource", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that keeps reading gets the whole body, however long that takes."""
    monkeypatch.setattr(send, "READER_TIMEOUT", 2.0)
    source.text_body = b"x" * BIG
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(ASK.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(16):
        await reader.readexactly(BIG // 32)
        await asyncio.sleep(0.15)
    assert await drained(reader) == BIG // 2
    writer.close()
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nBad Header\x00<script>\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03<script>\r\n\r\n",
        b"GET /<script> HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: <script>" + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http(port: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """A port scan gets 400 with our headers, without an echo, a version or a log line."""
    with caplog.at_level(logging.DEBUG):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = (await reader.read()).decode()
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith(("HTTP/1.1 400 ", "HTTP/1.0 400 "))
    assert body == "Bad Request.\n"
    headers = head.lower().split("\r\n")[1:]
    assert {"server: cyberun-exporter", "x-content-type-options: nosniff", "cache-control: no-store"} <= set(headers)
    assert "script" not in answer
    assert "aiohttp" not in answer.lower()
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_large_headers(port: int) -> None:
    """A browser that sends 60 KB of cookies gets an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: " + b"x" * 60_000 + b"\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_handler_that_fails_is_told_once(
    port: int, source: "HeldSource", caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An internal error gives 500 in one line, with our headers; it is counted, and logged with its traceback."""

    def broken(_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(type(source), "status", broken)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    assert head.startswith("HTTP/1.1 500 ")
    assert "Server: cyberun-exporter" in head
    assert body == "Internal Server Error.\n"
    [record] = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is ArithmeticError
    assert source.internal_errors == 1


async def test_a_client_that_speaks_no_http_is_no_error_of_ours(port: int, source: "HeldSource") -> None:
    """Bytes that are not HTTP are the client's mistake and not counted as an internal error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    assert source.internal_errors == 0


async def test_the_port_is_freed_when_the_block_ends(source: "HeldSource") -> None:
    """Port 0 yields the real port, which a second server can use afterwards but not before."""
    async with listening(make_app(source), ("127.0.0.1", 0)) as addresses:
        assert len(addresses) == 1
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            async with listening(make_app(source), *addresses):
                pass
    async with listening(make_app(source), *addresses) as again:
        assert again == addresses


async def test_the_end_waits_for_no_reader_for_long(source: "HeldSource") -> None:
    """A response that nobody reads delays the shutdown by seconds, not by aiohttp's minute."""
    source.text_body = b"x" * BIG
    async with listening(make_app(source), ("127.0.0.1", 0)) as ((_, port),):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(ASK)
        await reader.readexactly(1000)
        began = perf_counter()
    assert perf_counter() - began < 30
    writer.transport.abort()


async def test_the_end_lets_an_answer_finish(source: "HeldSource") -> None:
    """A response under way at shutdown arrives completely."""
    source.text_body = b"x" * BIG
    async with listening(make_app(source), ("127.0.0.1", 0)) as ((_, port),):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        rest = asyncio.create_task(drained(reader))
    assert f"Content-Length: {BIG}".encode() in head
    assert await rest == BIG
    writer.close()


def test_a_lack_of_descriptors_is_told_now_and_then() -> None:
    """Of asyncio's many lines about missing descriptors one per minute is logged, reworded; others are kept."""
    now = [1000.0]
    thin = AcceptErrorThrottle(lambda: now[0])

    def record(message: str) -> logging.LogRecord:
        return logging.LogRecord("asyncio", logging.ERROR, "x", 1, message, None, (OSError, OSError(24, "x"), None))

    lines = [record("socket.accept() out of system resource\nsocket: <...>") for _ in range(3)]
    assert [thin(line) for line in lines] == [True, False, False]
    assert (lines[0].getMessage(), lines[0].exc_info) == (
        "not accepting connections: out of file descriptors",
        None,
    )
    other = record("Task was destroyed")
    assert thin(other)
    assert other.exc_info is not None
    now[0] += ACCEPT_ERROR_EVERY
    assert thin(record("socket.accept() out of system resource"))
