"""A relay between the exporter and a platform that damages connections and answers, as networks may."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

WHOLE: Final = 1024 * 1024
"""The most bytes of an answer that are buffered to be damaged; longer answers pass unchanged."""
PLATFORM_FAULTS = (
    "status=500",
    "status=401",
    "status=429/2",
    "hang",
    "hang_body",
    "reset",
    "reset_body",
    "truncated",
    "html",
    "empty",
    "endless",
    "gzip_bomb=64MiB",
    "total=+7",
    "duplicate",
    "hostile=text",
    "hostile=types",
    "hostile=nesting",
    "hostile=long_text",
    "hostile=numbers",
    "ignore_filter",
    "status=401#1",
    "drip=10ms",
    "date=+1h",
    "latency=700ms",
)
"""Faults of the simulated platform itself."""
FAULTS: Final = ("tiny chunks", "broken chunk", "informational", "late duplicate", "cut", "reset when reused", "slow")


class Relay:
    """Passes requests on, each over its own connection, and damages some of the answers. Mutable.

    Attributes:
        spoilt: the fraction of answers that are damaged.
        received: requests so far, by the credential they carried.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self.spoilt = 0.0
        self.received: Counter[str] = Counter()
        self._port = port
        self._rng = rng

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve until the block ends; yields the port."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reused = False
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_header(head, b"content-length") or 0))
                self.received[_header(head, b"authorization").decode()] += 1
                fault = self._rng.choice(FAULTS) if self._rng.random() < self.spoilt else ""
                if fault == "reset when reused" and reused:
                    break
                reused = True
                async with asyncio.timeout(10):
                    await self._answer(head + body, writer, fault)
        writer.transport.abort()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter, fault: str) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            to.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b""
            while len(answer) < WHOLE and (data := await there.read(WHOLE)):
                answer += data
            if len(answer) < WHOLE:
                await _spoil(answer.replace(b"Connection: close\r\n", b""), writer, fault)
            else:
                writer.write(answer)
                while data := await there.read(WHOLE):
                    writer.write(data)
                    await writer.drain()
        finally:
            to.transport.abort()


async def _spoil(answer: bytes, writer: asyncio.StreamWriter, fault: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    chunked = b"\r\n".join(each for each in head.split(b"\r\n") if not each.lower().startswith(b"content-length"))
    chunked += b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    match fault:
        case "tiny chunks":
            answer = chunked + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        case "broken chunk":
            answer = chunked + b"zz\r\n" + body
        case "informational":
            answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100_000
        case "cut":
            answer = answer[: len(answer) // 2]
    writer.write(answer)
    await writer.drain()
    if fault == "slow":
        await asyncio.sleep(0.2)
    if fault == "late duplicate":
        await asyncio.sleep(0.05)
        writer.write(answer)
    if fault == "cut" or not answer:
        raise ConnectionError


def _header(head: bytes, name: bytes) -> bytes:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((value.strip() for key, _, value in lines if key.lower() == name), b"")
