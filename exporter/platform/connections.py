"""Connections to the platform that are safe to reuse: watched while they are idle, kept alive, and never old.

aiohttp pools connections; this module adds four rules. A connection that receives bytes while no answer is expected is
closed, because the next answer on it might belong to another request. A connection that a middlebox dropped is detected
by TCP keep-alive, or recognised when it breaks before the first byte of an answer. Old connections are not reused,
because the platform's address may have changed. Received data is parsed in small steps, so tiny chunks cannot block
the event loop. `exporter.platform.watched` has what happens on one connection.
"""

from typing import TYPE_CHECKING, Final

import aiohttp

from exporter.platform.watched import WatchedConnection

if TYPE_CHECKING:
    from aiohttp.connector import Connection

IDLE_LIMIT: Final = 90.0
"""Seconds that an idle connection is kept: longer than usual intervals, and the same as Go's clients."""
MAX_FIELD_BYTES: Final = 64 * 1024
"""Maximum bytes of one header of an answer."""
MAX_HEADERS: Final = 1024
"""Maximum number of headers of one answer."""


def connector(*, pooled: bool) -> aiohttp.TCPConnector:
    """Make a connector whose connections are kept for further requests, or used once."""
    if pooled:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_LIMIT)
    return aiohttp.TCPConnector(limit=0, force_close=True)


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

    connection: WatchedConnection | None = None

    async def send(self, conn: "Connection") -> aiohttp.ClientResponse:
        """Watch the connection, and send."""
        assert conn.protocol is not None  # noqa: S101  true until the connection is released
        transport: object = conn.protocol.transport
        watched = transport if isinstance(transport, WatchedConnection) else WatchedConnection(conn.protocol)
        self.connection = watched
        watched.begin_request()
        conn.add_callback(watched.become_idle)
        watched.response = response = await super().send(conn)
        return response


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once. If the connection breaks, that is raised to us, and aiohttp does not repeat the request.

    Raises:
        ConnectionBroken: the connection broke; aiohttp's error is its cause.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        connection = request.connection if isinstance(request, WatchedRequest) else None
        raise ConnectionBroken(stale=connection is not None and connection.stale) from error
