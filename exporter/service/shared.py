"""Resources that several assemblies share, so that a reload keeps those that did not change."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K")
R = TypeVar("R")


class Shared(Generic[K, R]):
    """Resources by key. Mutable: each stays open until its last holder releases it."""

    def __init__(self, close: Callable[[Collection[R]], Awaitable[None]]) -> None:
        self._close = close
        self._open: dict[K, R] = {}
        self._holders = Counter[K]()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def holding(self, obtain: Callable[[Mapping[K, R]], Awaitable[dict[K, R]]]) -> AsyncIterator[dict[K, R]]:
        """Hold resources until the block ends.

        Args:
            obtain: receives the open resources and returns those to hold, existing or new. If it raises, it must not
                leave a new one open.
        """
        async with self._lock:
            held = await obtain(self._open)
            self._open.update(held)
            self._holders.update(held.keys())
        try:
            yield held
        finally:
            await self._let_go(held)

    async def _let_go(self, held: Mapping[K, R]) -> None:
        async with self._lock:  # so that a new holder waits until closing is done
            self._holders.subtract(held.keys())
            await self._close([self._open.pop(key) for key in held if not self._holders[key]])
