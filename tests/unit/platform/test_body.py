import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import PlatformError, TooLarge
from exporter.platform.body import read_body
from support.turns import turns_of_another_task

MEBIBYTE = 2**20


async def chunks_of(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@given(body=st.binary(min_size=1, max_size=2000), size=st.integers(1, 300))
def test_chunks_do_not_matter(body: bytes, size: int) -> None:
    """However the network splits it, the result is the same body."""
    assert asyncio.run(read_body(chunks_of(gzip.compress(body), size), "gzip", 3000)) == body
    assert asyncio.run(read_body(chunks_of(body, size), "", 3000)) == body


@given(body=st.binary(max_size=300), size=st.integers(1, 50), encoding=st.sampled_from(["", "gzip"]))
def test_garbage_is_a_body_or_an_error(body: bytes, size: int, encoding: str) -> None:
    """Any bytes give a body or one of the documented errors."""
    try:
        assert asyncio.run(read_body(chunks_of(b"\x1f\x8b\x08" + body, size), encoding, 200))
    except PlatformError as error:
        assert error.reason in {"decode", "too_large"}  # noqa: PT017  a body is fine as well


async def test_a_bomb_takes_little_more_than_the_limit() -> None:
    """Decompression stops at the limit: 64 MiB in 64 KiB are never unpacked."""
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await read_body(chunks_of(bomb, len(bomb)), "gzip", MEBIBYTE)
        assert tracemalloc.get_traced_memory()[1] < 3 * MEBIBYTE
    finally:
        tracemalloc.stop()


async def test_others_get_their_turn_while_much_is_decompressed() -> None:
    """A large body in one small chunk does not block the event loop."""
    body = gzip.compress(bytes(16 * MEBIBYTE))
    async with turns_of_another_task() as turns:
        assert len(await read_body(chunks_of(body, len(body)), "gzip", 16 * MEBIBYTE)) == 16 * MEBIBYTE
    assert turns.taken >= 32
