"""Serves the application: opens the ports, answers invalid HTTP, and shuts down without losing a response."""

import asyncio
import logging
import socket
import time
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from exporter.web.responses import ADD_HEADERS, NOTE_INTERNAL_ERROR, line
from exporter.web.sockets import Address, address_of, open_sockets

KEEP_ALIVE: Final = 330.0
"""Seconds that an idle connection is kept: longer than Prometheus keeps its own (5 minutes), so that we never close
one just as a scrape begins."""
MAX_HEADER: Final = 64 * 1024
"""Maximum bytes of one header or of the request line: browsers send large cookies if services share a host name."""
BACKLOG: Final = 128
"""Connections that the kernel queues until they are accepted."""
SHUTDOWN_PHASE: Final = 1.5
"""Seconds of each of the two waits at shutdown: first for responses to finish, then for cancelled ones to end."""
ACCEPT_ERROR_EVERY: Final = 60.0
"""Seconds between two log lines about a lack of file descriptors."""

_log = logging.getLogger(__name__)


class AcceptErrorThrottle:
    """Limits the hundred lines a second that asyncio logs while no file descriptor is left. Mutable."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = 0.0

    def __call__(self, record: logging.LogRecord) -> bool:
        """Whether to write the line: one of these every `ACCEPT_ERROR_EVERY` seconds, and all others."""
        if "socket.accept() out of system resource" not in record.getMessage():
            return True
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + ACCEPT_ERROR_EVERY
        record.msg, record.args, record.exc_info = "not accepting connections: out of file descriptors", (), None
        return True


class _Protocol(web.RequestHandler):
    """One connection. Error responses have our headers too, and neither a version nor parts of the request."""

    def __init__(self, *args: Any, app: web.Application, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._app = app

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket, because a TLS transport forgets it before it reports that the connection is lost."""
        self.socket: TransportSocket = transport.get_extra_info("socket")
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  the parser's words quote the request
    ) -> web.StreamResponse:
        """Answer invalid HTTP, which is the client's error, or a request whose handler failed, which is a bug."""
        if not isinstance(exc, HttpProcessingError):
            self._app[NOTE_INTERNAL_ERROR]()
            _log.error("internal error while handling a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError
        response = line(status, HTTPStatus(status).phrase + ".")
        self._app[ADD_HEADERS](response)
        response.force_close()
        return response


@asynccontextmanager
async def listening(
    app: web.Application, *places: tuple[str | None, int], ssl_context: SSLContext | None = None
) -> AsyncIterator[tuple[Address, ...]]:
    """Serve `app` until the block ends; then wait at most 3 seconds for responses under way.

    Args:
        app: the application, as `make_app` makes it.
        places: hosts and ports to listen on, as `open_sockets` understands them.
        ssl_context: serve HTTPS with it.

    Yields:
        The addresses listened on.

    Raises:
        OSError: one of the places cannot be listened on.
    """
    # Handlers are not cancelled when their client leaves: their next write fails anyway, and a poll that other clients
    # also wait for must continue.
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_PHASE, handler_cancellation=False)
    await runner.setup()
    servers: list[asyncio.Server] = []
    with _throttled_accept_errors():
        try:
            for host, port in places:
                listeners = await open_sockets(host, port)
                servers += [await _start(runner, app, each, ssl_context) for each in listeners]
            yield tuple(address_of(each) for server in servers for each in server.sockets)
        finally:
            deadline = asyncio.get_running_loop().time() + 2 * SHUTDOWN_PHASE
            for server in servers:
                server.close()
            connections = runner.server.connections if runner.server else []
            sockets = [each.socket for each in connections if isinstance(each, _Protocol)]
            await runner.cleanup()
            await _closed(sockets, deadline)


async def _start(
    runner: web.AppRunner, app: web.Application, listener: socket.socket, ssl_context: SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    protocol = partial(
        _Protocol,
        runner.server,
        loop=loop,
        app=app,
        access_log=None,
        logger=_log,
        keepalive_timeout=KEEP_ALIVE,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
    )
    return await loop.create_server(protocol, sock=listener, ssl=ssl_context, backlog=BACKLOG)


@contextmanager
def _throttled_accept_errors() -> Iterator[None]:
    throttle, logger = AcceptErrorThrottle(time.monotonic), logging.getLogger("asyncio")
    logger.addFilter(throttle)
    try:
        yield
    finally:
        logger.removeFilter(throttle)


async def _closed(sockets: Sequence[TransportSocket], deadline: float) -> None:
    """Wait until closing connections are flushed: a handler ends before its last bytes are sent."""
    loop = asyncio.get_running_loop()
    while loop.time() < deadline and any(each.fileno() >= 0 for each in sockets):  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0.01)
