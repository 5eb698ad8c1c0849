import asyncio
from collections.abc import Collection, Mapping

import pytest

from exporter.service.shared import Shared


class Resources:
    """Opens and closes texts. Mutable: it records what it closed, and can be blocked."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.shared = Shared[str, str](self.close)

    async def close(self, resources: Collection[str]) -> None:
        await self.gate.wait()
        self.closed += resources

    async def obtain(self, known: Mapping[str, str], keys: str) -> dict[str, str]:
        if "!" in keys:
            raise ValueError(keys)
        self.opened += len(set(keys) - known.keys())
        return {key: known.get(key, f"{key} beside {''.join(known)}") for key in keys}


async def test_what_two_hold_is_open_until_both_let_go() -> None:
    """Two holders share a resource, which is closed after the last of them."""
    resources = Resources()
    async with resources.shared.holding(lambda known: resources.obtain(known, "ab")) as first:
        async with resources.shared.holding(lambda known: resources.obtain(known, "bc")) as second:
            assert first["b"] is second["b"]
        assert resources.closed == ["c beside ab"]
    assert sorted(resources.closed) == ["a beside ", "b beside ", "c beside ab"]


async def test_a_failure_takes_nothing() -> None:
    """A holder that cannot obtain everything holds nothing, and the resources of others stay open."""
    resources = Resources()
    async with resources.shared.holding(lambda known: resources.obtain(known, "a")):
        with pytest.raises(ValueError, match="!"):
            async with resources.shared.holding(lambda known: resources.obtain(known, "a!")):
                pass
        assert resources.closed == []
    assert resources.closed == ["a beside "]


async def test_who_wants_it_again_waits_until_it_is_closed() -> None:
    """A new holder waits until a resource is closed, because a file that is still locked could not be opened."""
    resources = Resources()

    async def hold() -> None:
        async with resources.shared.holding(lambda known: resources.obtain(known, "a")):
            pass

    resources.gate.clear()
    holders = [asyncio.create_task(hold()) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (resources.opened, resources.closed) == (1, [])
    resources.gate.set()
    await asyncio.gather(*holders)
    assert (resources.opened, len(resources.closed)) == (2, 2)
