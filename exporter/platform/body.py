"""Reads and decompresses the body of an answer, up to a limit."""

import asyncio
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

from exporter.errors import TooLarge, Undecodable

_STEP = 256 * 1024
"""Bytes decompressed before the event loop may run others: about a millisecond's work."""
_CHUNKS = 64
"""Chunks read before the event loop may run others: a peer may send tiny ones."""


async def read_body(chunks: AsyncIterable[bytes], encoding: str, limit: int, announced: int | None = None) -> bytes:
    """Read all of a body.

    Args:
        chunks: the bytes as they arrive.
        encoding: the Content-Encoding header; empty when there is none.
        limit: most bytes, both as sent and decompressed.
        announced: the Content-Length header, if there is one.

    Raises:
        TooLarge: it exceeds `limit`; the rest is not read.
        Undecodable: the body is empty, has an encoding that was not requested, or is not exactly one gzip member.
    """
    too_large = TooLarge(f"the body is larger than {limit} bytes")
    if (announced or 0) > limit:
        raise too_large
    decoder = _decoder(encoding)
    sent, body = 0, bytearray()
    async for number, chunk in _numbered(chunks):
        sent += len(chunk)
        if number % _CHUNKS == 0:
            await asyncio.sleep(0)
        for piece in decoder.feed(chunk) if sent <= limit else ():
            body += piece
            if len(body) > limit:
                break
            if len(piece) == _STEP:
                await asyncio.sleep(0)
        if max(sent, len(body)) > limit:
            raise too_large
    decoder.end()
    if not body:
        raise Undecodable("the body is empty")
    return bytes(body)


async def _numbered(chunks: AsyncIterable[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for chunk in chunks:
        number += 1
        yield number, chunk


class _Identity:
    """No encoding: bytes pass as they are."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def end(self) -> None:
        """Nothing to check: HTTP frames the body."""


class _Gunzip:
    """One gzip member, in bounded steps. Mutable, for one body."""

    def __init__(self) -> None:
        # zlib rather than isal: a third of a millisecond slower per page, but its decoder withstood far more attacks.
        self._inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            try:
                yield self._inflater.decompress(chunk, _STEP)
            except zlib.error:
                raise Undecodable("the gzip body is damaged") from None
            if self._inflater.unused_data:
                raise Undecodable("the gzip body has trailing data")
            chunk = self._inflater.unconsumed_tail

    def end(self) -> None:
        if not self._inflater.eof:
            raise Undecodable("the gzip body is cut short")


def _decoder(encoding: str) -> _Identity | _Gunzip:
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Gunzip()
        case _:
            raise Undecodable("the body has a content encoding that was not requested")


async def masked(body: bytes, secret: bytes) -> bytes:
    """The body with `***` in place of every occurrence of a secret; a large one is searched in a thread."""
    return await asyncio.to_thread(_masked, body, secret) if len(body) > _STEP else _masked(body, secret)


def _masked(body: bytes, secret: bytes) -> bytes:
    result = bytearray()
    copied = searched = 0
    while searched < len(body):
        # Step by step: one search of all of the body may block the event loop, from a thread too.
        found = body.find(secret, searched, searched + _STEP + len(secret) - 1)
        if found < 0:
            searched += _STEP
        else:
            result += body[copied:found] + b"***"
            copied = searched = found + len(secret)
    return bytes(result + body[copied:]) if copied else body
