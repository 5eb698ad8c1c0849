"""Sends a body: a small one at once, a large one slice by slice, as fast as the client reads."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiohttp import hdrs, web

MAX_UNSLICED: Final = 128 * 1024
"""Maximum bytes of a body that is sent at once: joining the parts of a longer one costs more than sending slices."""
SLICE: Final = 256 * 1024
"""Bytes per slice of a longer body."""
TIME_SLICE: Final = 0.002
"""Seconds of sending after which other tasks may run, because writing to a fast client never waits."""
READER_TIMEOUT: Final = 30.0
"""Seconds that a client may take for a slice before it is disconnected, so that none holds old data for ever."""


async def send(
    request: web.Request, headers: Mapping[str, str], length: int, parts: Iterable[bytes | memoryview]
) -> web.StreamResponse:
    """Answer 200 with `parts`, which have `length` bytes in total; for HEAD with the headers only."""
    headers = {**headers, hdrs.CONTENT_LENGTH: str(length)}
    if request.method == hdrs.METH_HEAD:
        return web.Response(headers=headers)
    if length <= MAX_UNSLICED:
        return web.Response(headers=headers, body=b"".join(parts))
    return await _stream(request, web.StreamResponse(headers=headers), parts)


async def _stream(
    request: web.Request, response: web.StreamResponse, parts: Iterable[bytes | memoryview]
) -> web.StreamResponse:
    """Send slice after slice. A client that leaves or stalls is not our error: its connection just ends."""
    loop = asyncio.get_running_loop()
    try:
        await response.prepare(request)
        began = loop.time()
        async with asyncio.timeout(READER_TIMEOUT) as timeout:
            for part in sliced(parts, SLICE):
                await response.write(part)
                if loop.time() - began > TIME_SLICE:
                    await asyncio.sleep(0)
                    began = loop.time()
                    timeout.reschedule(began + READER_TIMEOUT)
    except (ConnectionError, TimeoutError) as error:
        # The error is part of a reference cycle: its traceback would keep the data alive until a garbage collection.
        error.__traceback__ = None
        if request.transport is not None:
            request.transport.abort()
    return response


def sliced(parts: Iterable[bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `parts` in slices of at most `size`: small parts joined, long ones cut without a copy."""
    gathered: list[bytes | memoryview] = []
    room = size
    for part in parts:
        if len(part) > room and gathered:
            yield b"".join(gathered)
            gathered, room = [], size
        if len(part) > size:
            view = memoryview(part)
            yield from (view[start : start + size] for start in range(0, len(view), size))
        else:
            gathered.append(part)
            room -= len(part)
    if gathered:
        yield b"".join(gathered)
