"""A connection to the platform that is watched while it is idle, kept alive, and parsed in small steps.

It sits between a connection's transport and aiohttp, where asyncio's own TLS would: to it, aiohttp is a protocol; to
aiohttp, it is the transport. So it uses no private parts of aiohttp.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

AGE_LIMIT: Final = 300.0
"""Seconds after which a connection is not reused, so that a changed DNS address is noticed."""
KEEPALIVE_AFTER: Final = 15
"""Seconds of silence before TCP probes the peer; middleboxes drop idle connections within minutes."""
KEEPALIVE_INTERVAL: Final = 5
KEEPALIVE_PROBES: Final = 3
MAX_HEAD_BYTES: Final = 128 * 1024
"""Maximum bytes of an answer before its body, including informational answers."""
STEP: Final = 8 * 1024
"""Bytes parsed before the event loop may run others: a step of the tiniest chunks takes some milliseconds."""
_KEEPALIVE: Final = [
    (getattr(socket, name), value)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_AFTER),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    )
    if hasattr(socket, name)
]


class WatchedConnection(asyncio.Protocol):
    """One connection: a protocol to its transport, and the transport to aiohttp's protocol. Mutable.

    Attributes:
        response: to the last request; None until that has been sent.
    """

    response: aiohttp.ClientResponse | None

    def __init__(self, protocol: "ResponseHandler") -> None:
        """Step between aiohttp's protocol and its transport, and let TCP watch the peer."""
        assert protocol.transport is not None  # noqa: S101  nothing has ended it yet
        self.response = None
        self._protocol = protocol
        self._transport = protocol.transport
        self._loop = asyncio.get_running_loop()
        self._made_at = self._loop.time()
        self._requests = 0
        self._received = self._parsed = 0
        self._idle = self._paused = self._ended = False
        self._error: Exception | None = None
        self._unparsed = bytearray()
        self._next_step: asyncio.Handle | None = None
        _keep_alive(self._transport)
        self._transport.set_protocol(self)
        protocol.connection_made(cast("asyncio.Transport", self))

    @property
    def stale(self) -> bool:
        """Whether it was used before and has returned no byte of the answer to the last request."""
        return self._requests > 1 and self._received == 0

    def begin_request(self) -> None:
        """Expect an answer: a request is about to be sent."""
        self._requests += 1
        self._received = self._parsed = 0
        self._idle, self.response = False, None

    def become_idle(self) -> None:
        """Expect nothing more, and prevent reuse if the connection is old or was sent more than an answer."""
        self._idle = True
        if self._unparsed or self._loop.time() - self._made_at > AGE_LIMIT:
            self._protocol.force_close()

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Have data parsed, at most `STEP` bytes at a time; data that no request waits for ends the connection."""
        if self._idle:
            if not self._transport.is_closing():  # TLS hands over what it still has while it closes
                self.abort()
            return
        self._received += len(data)
        self._unparsed += data
        self._parse_step()

    def eof_received(self) -> None:
        """The peer sends no more: the transport closes itself."""
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, for aiohttp once what was received before has been parsed."""
        self._ended, self._error = True, exc
        if not self._unparsed:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has room again."""
        self._protocol.resume_writing()

    # What aiohttp asks of the transport

    def pause_reading(self) -> None:
        """Parse no more until `resume_reading`."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on; aiohttp calls this for every piece that is taken from it."""
        if self._paused:
            self._paused = False
            self._proceed()

    def close(self) -> None:
        """Close it; what was received and not parsed is lost."""
        self._discard_unparsed()
        self._transport.close()

    def abort(self) -> None:
        """The same at once."""
        self._discard_unparsed()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's."""
        return getattr(self._transport, name)

    # Parsing

    def _parse_step(self) -> None:
        self._next_step = None
        if self._paused or not self._unparsed:
            return
        piece = bytes(self._unparsed[:STEP])
        del self._unparsed[:STEP]
        self._parsed += len(piece)
        self._protocol.data_received(piece)
        begun = self.response is not None and self.response.status is not None  # noticed some steps later
        if self._protocol.exception() is not None or (not begun and self._parsed > MAX_HEAD_BYTES):
            self._end_with_error()
        elif not self._paused:
            self._proceed()

    def _proceed(self) -> None:
        """Parse what waits; once nothing does, tell aiohttp of the end, or let the transport read on."""
        if self._unparsed:
            self._transport.pause_reading()
            self._next_step = self._next_step or self._loop.call_soon(self._parse_step)
        elif self._ended:
            self._protocol.connection_lost(self._error)
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _end_with_error(self) -> None:
        """Close the connection at once, so that a reader waiting for data fails now and not at the timeout."""
        response = self.response
        if response is not None and response.status is not None and not response.content.is_eof():
            response.content.set_exception(aiohttp.ClientPayloadError())
        self.abort()

    def _discard_unparsed(self) -> None:
        waiting = bool(self._unparsed)
        self._unparsed.clear()
        if self._ended and waiting:
            self._protocol.connection_lost(self._error)


def _keep_alive(transport: asyncio.Transport) -> None:
    found = transport.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            found.setsockopt(socket.IPPROTO_TCP, option, value)
