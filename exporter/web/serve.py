"""Opening and closing the port."""

import asyncio
import logging
import time
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

KEEP_ALIVE: Final = 330.0
"""Seconds an idle connection is kept: longer than Prometheus keeps its own (5 minutes), so it is never us who hang up
on a scrape that is just setting out."""
SHUTDOWN_PHASE: Final = 1.5
"""Seconds of each of the two waits at the end: first for answers to finish by themselves, then for cancelled ones."""

ACCEPT_ERROR_EVERY: Final = 60.0
"""Seconds between two lines about a lack of descriptors."""


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Drop what aiohttp says about bytes that are no HTTP: a port scan is not an error of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class AcceptErrorThrottle:
    """Thins out what asyncio says while no descriptor is left: it writes a hundred lines a second. Mutable."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = 0.0

    def __call__(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written: any other one, and of these one in `ACCEPT_ERROR_EVERY` seconds."""
        if "socket.accept() out of system resource" not in record.getMessage():
            return True
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + ACCEPT_ERROR_EVERY
        record.msg, record.args, record.exc_info = "no more connections are accepted: no descriptor is left", (), None
        return True


_log = logging.getLogger(__name__)
_log.addFilter(_worth_a_line)
logging.getLogger("asyncio").addFilter(AcceptErrorThrottle(time.monotonic))


@asynccontextmanager
async def listening(
    app: web.Application, host: str | None, port: int, ssl_context: SSLContext | None = None
) -> AsyncIterator[tuple[int, ...]]:
    """Serve `app` until the block ends; then let answers under way finish, 3 seconds at most.

    Args:
        app: the application.
        host: the address or name to listen on; None for every interface, IPv4 and IPv6.
        port: 0 picks a free one (one for each address family).
        ssl_context: serve HTTPS with it.

    Yields:
        The ports listened on.

    Raises:
        OSError: the address cannot be listened on.
    """
    # Handlers are not cancelled when their client leaves: their next write tells them, and a collection that
    # others wait for as well must go on.
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log,
        keepalive_timeout=KEEP_ALIVE,
        shutdown_timeout=SHUTDOWN_PHASE,
        handler_cancellation=False,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
        yield tuple(dict.fromkeys(address[1] for address in runner.addresses))
    finally:
        deadline = asyncio.get_running_loop().time() + 2 * SHUTDOWN_PHASE
        connections = runner.server.connections if runner.server else []
        sockets = [each.transport.get_extra_info("socket") for each in connections if each.transport is not None]
        await runner.cleanup()
        await _closed(sockets, deadline)


async def _closed(sockets: Sequence[TransportSocket], deadline: float) -> None:
    """Let closing connections send what they hold: a handler ends before its last bytes leave, the loop drops them."""
    loop = asyncio.get_running_loop()
    while loop.time() < deadline and any(each.fileno() >= 0 for each in sockets):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.01)
