from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from exporter.web import send
from exporter.web.send import sliced
from support.turns import Turns, turns_of_another_task


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_slices_hold_the_same_bytes(parts: list[bytes], size: int) -> None:
    """However the parts are cut, all bytes are sent in order, and no slice is too long or empty."""
    slices = [bytes(each) for each in sliced(parts, size)]
    assert b"".join(slices) == b"".join(parts)
    assert all(len(each) <= size for each in slices)


def test_small_parts_travel_together() -> None:
    """Thousands of small parts cause few writes."""
    assert [len(each) for each in sliced([b"x" * 10] * 1000, 4000)] == [4000, 4000, 2000]


class FastReader(web.StreamResponse):
    """A response whose client reads everything at once, so that no write ever waits."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send no headers."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""


async def test_a_fast_reader_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each time slice of a long body other tasks run, although no write waits."""
    monkeypatch.setattr(send, "TIME_SLICE", -1.0)
    seen: list[int] = []

    def body(turns: Turns) -> Iterator[bytes]:
        for _ in range(5):
            seen.append(turns.taken)
            yield bytes(send.SLICE)

    async with turns_of_another_task() as turns:
        await send._stream(cast("web.Request", None), FastReader(), body(turns))
    # The first two parts are taken before the first slice leaves.
    assert all(later > earlier for earlier, later in pairwise(seen[1:]))
