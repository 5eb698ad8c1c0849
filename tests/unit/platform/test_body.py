import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import PlatformError, TooLarge
from exporter.platform.body import masked, read_body
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


@pytest.mark.parametrize("size", [0, 10, 262_100, 262_140, 262_144, 262_150, 524_288, 2_000_000])
@pytest.mark.parametrize("secret", [b"s", b"sk-0123456789abcdef"])
async def test_a_secret_is_masked_wherever_it_is(size: int, secret: bytes) -> None:
    """The place and the number of a secret's occurrences do not matter, nor does the size of the body."""
    body = b"x" * size + secret + b"x" * 7 + secret * 2 + secret[:-1]
    assert await masked(body, secret) == body.replace(secret, b"***")
    without = b"x" * size
    assert await masked(without, secret) is without


async def test_masking_hostile_bodies_takes_little_memory() -> None:
    """A body of nothing but secrets takes less than its own size."""
    secret = b"sk-0123456789abcdef"
    body = secret * (16 * MEBIBYTE // len(secret))
    tracemalloc.start()
    try:
        assert await masked(body, secret) == b"***" * (len(body) // len(secret))
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()
