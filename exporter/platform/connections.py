"""Connections to the platform that are safe to reuse: watched while they are idle, kept alive, and never old.

aiohttp pools connections; this module adds four rules. A connection that receives bytes while no answer is expected is
closed, because the next answer on it might belong to another request. A connection that a middlebox dropped is detected
by TCP keep-alive, or recognised when it breaks before the first byte of an answer. Old connections are not reused,
because the platform's address may have changed. Received data is parsed in small steps, so tiny chunks cannot block
the event loop.
"""

import asyncio
import socket
from functools import partial
from typing import Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection

IDLE_LIMIT: Final = 90.0
"""Seconds that an idle connection is kept: longer than usual intervals, and the same as Go's clients."""
AGE_LIMIT: Final = 300.0
"""Seconds after which a connection is not reused, so that a changed DNS address is noticed."""
KEEPALIVE_AFTER: Final = 15
"""Seconds of silence before TCP probes the peer; middleboxes drop idle connections within minutes."""
KEEPALIVE_INTERVAL: Final = 5
KEEPALIVE_PROBES: Final = 3
MAX_FIELD_BYTES: Final = 64 * 1024
"""Most bytes of one header of an answer."""
MAX_HEADERS: Final = 1024
"""Most headers of one answer."""
MAX_HEAD_BYTES: Final = 128 * 1024
"""Most bytes of an answer before its body, including informational answers."""
_FIRST_FINAL: Final = 200
"""Lower statuses are informational; the real answer follows."""
_KEEPALIVE: Final = [
    (getattr(socket, name), value)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_AFTER),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    )
    if hasattr(socket, name)
]
_STEP: Final = 8 * 1024
"""Bytes parsed before the event loop may run others: a step of the tiniest chunks takes some milliseconds."""


def connector(*, pooled: bool) -> aiohttp.TCPConnector:
    """Make a connector whose connections are kept for further requests, or used once."""
    if pooled:
        return _Connector(limit=0, keepalive_timeout=IDLE_LIMIT)
    return _Connector(limit=0, force_close=True)


class ConnectionBroken(Exception):
    """Wraps connection errors so that aiohttp does not repeat idempotent requests itself.

    Attributes:
        stale: whether the connection had been idle and returned no byte of an answer.
    """

    def __init__(self, *, stale: bool) -> None:
        super().__init__()
        self.stale = stale


class WatchedRequest(aiohttp.ClientRequest):
    """A request that knows its connection. Mutable.

    Attributes:
        connection: the one it was sent on; None before it is sent.
    """

    connection: ResponseHandler | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Remember the connection, and send."""
        self.connection = conn.protocol
        return await super().send(conn)


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once. If the connection breaks, that is raised to us, and aiohttp does not repeat the request.

    Raises:
        ConnectionBroken: the connection broke; aiohttp's error is its cause.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        connection = request.connection if isinstance(request, WatchedRequest) else None
        stale = isinstance(connection, WatchedConnection) and connection.stale
        raise ConnectionBroken(stale=stale) from error


class _Connector(aiohttp.TCPConnector):
    """A pool of watched connections."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        watched = partial(WatchedConnection, loop=asyncio.get_running_loop())
        self._factory = cast("partial[ResponseHandler]", watched)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        old = isinstance(protocol, WatchedConnection) and protocol.rest()
        super()._release(key, protocol, should_close=should_close or old)


class WatchedConnection(ResponseHandler):
    """One connection. Mutable.

    Attributes:
        requests: how many were sent on it.
        received: bytes received since the last request was sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.requests = 0
        self.received = 0
        self._made_at = loop.time()
        self._idle = False
        self._body: aiohttp.StreamReader | None = None
        self._unparsed = bytearray()

    @property
    def stale(self) -> bool:
        """Whether it was used before and has returned no byte of the answer to the last request."""
        return self.requests > 1 and self.received == 0

    def rest(self) -> bool:
        """Become idle; return whether it is too old to be reused."""
        self._idle = True
        return self._loop.time() - self._made_at > AGE_LIMIT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enable TCP keep-alive."""
        super().connection_made(transport)
        found = transport.get_extra_info("socket")
        if found is not None and found.family != socket.AF_UNIX:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                found.setsockopt(socket.IPPROTO_TCP, option, value)

    def set_response_params(self, **arguments: Any) -> None:
        """Expect an answer, because a request is about to be sent."""
        self.requests += 1
        self.received = 0
        self._idle, self._body = False, None
        super().set_response_params(**arguments)

    def data_received(self, data: bytes) -> None:
        """Parse received data, at most `_STEP` bytes now; empty data makes the parser continue."""
        if not data:
            super().data_received(data)
            self._schedule_step()
        elif self._idle:
            self._drop()
        else:
            self.received += len(data)
            self._unparsed += data
            self._parse_step()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed head."""
        message, body = data
        if message.code >= _FIRST_FINAL:
            self._body = body
        super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Parse what was received before the end."""
        while self._unparsed and self.transport is not None:
            self._parse(self._next())
        super().connection_lost(exc)

    def _resume_transport_reading(self) -> None:
        if not self._unparsed:
            super()._resume_transport_reading()

    def _parse_step(self) -> None:
        if not self._unparsed or self._reading_paused or self.transport is None:
            return
        self._parse(self._next())
        if self._unparsed:
            self._pause_transport_reading()
            self._schedule_step()
        elif not self._reading_paused:
            self._resume_transport_reading()

    def _schedule_step(self) -> None:
        if self._unparsed:
            self._loop.call_soon(self._parse_step)

    def _next(self) -> bytes:
        piece = bytes(self._unparsed[:_STEP])
        del self._unparsed[:_STEP]
        return piece

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        if self.exception() is not None or (self._body is None and self.received > MAX_HEAD_BYTES):
            self._drop()

    def _drop(self) -> None:
        """Close the connection at once, so that a reader waiting for data fails now and not at the timeout."""
        self._unparsed.clear()
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(aiohttp.ClientPayloadError())
        if self.transport is not None:
            self.transport.abort()
