"""Sends answers completely, slowly, in part, or never. Everything here ends at once when the server stops."""

import asyncio
import contextlib
import gzip
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from aiohttp import web

from exporter.demo.fault_kinds import RefuseWith

_MIN_GZIP = 512
"""Shorter bodies, in bytes, are not compressed."""
_CHUNK = b" " * (1 << 16)
_JSON = "application/json"
_PARTS = 50
"""Parts of a body that `drip` sends, at least."""
_BODILESS = (204, 304)
_HTML = b"<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>"
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def instead(faults: Mapping[str, Any], now: float) -> Answer | None:
    """The answer that a fault gives in place of the real one; None if there is no such fault."""
    match faults:
        case {"status": RefuseWith() as refusal}:
            body = b"" if refusal.status in _BODILESS else b'{"error_message": "simulated fault"}'
            return Answer(refusal.status, body, headers=_retry_after(refusal, now))
        case {"redirect": str(location)}:
            return Answer(302, b"", headers={"Location": location})
        case {"empty": _}:
            return Answer(200, b"")
        case {"html": _}:
            return Answer(200, _HTML, "text/html")
        case {"body": bytes(body)}:
            return Answer(200, body)
    return None


async def send(
    request: web.Request, answer: Answer, faults: Mapping[str, Any], date: float, stopping: asyncio.Event
) -> web.StreamResponse:
    """Send an answer as the faults require.

    Args:
        request: what is answered.
        answer: the whole answer.
        faults: kind to value, as `Faults.strike` gives them.
        date: Unix seconds for the `Date` header.
        stopping: set when the server stops.
    """
    headers = {"Date": formatdate(date, usegmt=True), **answer.headers}
    body = answer.body[: len(answer.body) // 2] if "truncated" in faults else answer.body
    if "encoding" in faults:
        headers["Content-Encoding"] = faults["encoding"]
    elif "gzip_bomb" in faults:
        body, headers["Content-Encoding"] = _bomb(faults["gzip_bomb"], body), "gzip"
    elif len(body) >= _MIN_GZIP and "gzip" in request.headers.get("Accept-Encoding", ""):
        body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_type = answer.content_type
    if "endless" in faults:
        return await _send_endless(request, response, stopping)
    response.content_length = len(body)
    if {"hang_body", "reset_body", "drip"} & faults.keys():
        return await _send_badly(request, response, body, faults, stopping)
    await response.prepare(request)
    await response.write_eof(body)
    return response


async def pause(seconds: float | None, stopping: asyncio.Event) -> None:
    """Wait for this many seconds, or for ever with None; less when the server stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def reset(request: web.Request) -> web.StreamResponse:
    """Break the connection with a TCP reset; the returned response is never sent."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        request.transport.abort()
    return web.Response()


async def _send_endless(
    request: web.Request, response: web.StreamResponse, stopping: asyncio.Event
) -> web.StreamResponse:
    response.headers.popall("Content-Encoding", None)
    await response.prepare(request)
    while not stopping.is_set():
        await response.write(_CHUNK)
        await asyncio.sleep(0)
    return reset(request)


async def _send_badly(
    request: web.Request,
    response: web.StreamResponse,
    body: bytes,
    faults: Mapping[str, Any],
    stopping: asyncio.Event,
) -> web.StreamResponse:
    await response.prepare(request)
    if "drip" in faults:
        size = max(len(body) // _PARTS, 1)
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await pause(faults["drip"], stopping)
        if not stopping.is_set():
            await response.write_eof()
            return response
    else:
        await response.write(body[: len(body) // 2])
        await pause(None if "hang_body" in faults else 0.05, stopping)
    return reset(request)


def _retry_after(refusal: RefuseWith, now: float) -> dict[str, str]:
    match refusal.retry_after:
        case None:
            return {}
        case str(text):
            return {"Retry-After": text}
        case seconds:
            return {"Retry-After": formatdate(now + seconds, usegmt=True)}


@lru_cache(maxsize=4)
def _blank(size: int) -> tuple[bytes, int]:
    """Raw deflate blocks of `size` spaces, and their checksum."""
    blank = b" " * (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # After a full flush the block refers to nothing before it, so it can be repeated.
    block = packer.compress(blank) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(size >> 20):
        crc = zlib.crc32(blank, crc)
    return block * (size >> 20), crc


def _bomb(size: int, body: bytes) -> bytes:
    """A gzip file that unpacks to `size` spaces (in whole MiB) and then `body`: valid JSON given enough memory."""
    blocks, crc = _blank(size)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = packer.compress(body) + packer.flush()
    trailer = struct.pack("<II", zlib.crc32(body, crc), ((size >> 20 << 20) + len(body)) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + blocks + end + trailer
