"""A platform over raw sockets: a test decides about every byte, when it is sent and how a connection ends."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.scripted import Client, Wiring, credential

EMPTY = {"task_list": [], "agent_list": [], "page_meta": {"current_page": 1, "per_page": 100, "total_count": 0}}


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A received request, parsed from its head."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """Below the base URL."""
        return urlsplit(self.target).path.removeprefix("/api/v1")

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def token(self) -> str:
        """The bearer token."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(slots=True)
class RawConnection:
    """One connection of a client. Mutable: it counts its requests."""

    number: int
    """From 1, over all connections."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0

    async def request(self) -> RawRequest | None:
        """The next request; None when the client closed the connection."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return None
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.requests += 1
        return RawRequest(method, target, headers, body)

    async def send(self, data: bytes) -> None:
        """Send these bytes, and no others."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with a reset, like a middlebox that has dropped it."""
        plain = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[["RawConnection", RawRequest], Awaitable[None]]
"""Answers one request; what it returns from ends nothing, so more may follow on the connection."""


@dataclass(slots=True)
class RawPlatform:
    """The server. Mutable: a test replaces the handler and reads the requests."""

    handler: Handler
    base_url: str = ""
    port: int = 0
    requests: list[RawRequest] = field(default_factory=list)
    connections: list[RawConnection] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection to its end."""
        connection = RawConnection(len(self.connections) + 1, reader, writer)
        self.connections.append(connection)
        with suppress(ConnectionError, ssl.SSLError):
            while (request := await connection.request()) is not None:
                self.requests.append(request)
                await self.handler(connection, request)
        writer.close()


@asynccontextmanager
async def raw_platform(
    handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawPlatform]:
    """Serve until the block ends; connections that are open then are cut off."""
    platform = RawPlatform(handler)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(platform.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port, ssl=tls)
    platform.port = server.sockets[0].getsockname()[1]
    platform.base_url = f"{'https' if tls else 'http'}://{host}:{platform.port}/api/v1"
    try:
        yield platform
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in platform.connections:
            connection.writer.transport.abort()


def answer(body: Any = None, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(EMPTY if body is None else body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode("latin-1") + content


async def healthy(connection: RawConnection, request: RawRequest) -> None:  # noqa: ARG001  answers all alike
    """Answer with empty lists."""
    await connection.send(answer())


@asynccontextmanager
async def connected(platform: RawPlatform, **wiring: Any) -> AsyncIterator[Client]:
    """A client of the platform with an integration key."""
    async with Wiring(credential(), **wiring).client(platform.base_url) as client:
        yield client
