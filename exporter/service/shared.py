"""What several assemblies may hold at once, so that a reload keeps what did not change."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K")
R = TypeVar("R")


class Shared(Generic[K, R]):
    """Resources by key. Mutable: each is open while somebody holds it, and closed when the last holder lets go."""

    def __init__(self, close: Callable[[Collection[R]], Awaitable[None]]) -> None:
        self._close = close
        self._open: dict[K, R] = {}
        self._holders = Counter[K]()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def holding(self, obtain: Callable[[Mapping[K, R]], Awaitable[dict[K, R]]]) -> AsyncIterator[dict[K, R]]:
        """Hold resources until the block ends.

        Args:
            obtain: is given what is open, and returns what is wanted: some of these, and new ones. If it raises, it
                leaves no new one open.
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
        async with self._lock:  # whoever wants one of them again waits until it is closed
            self._holders.subtract(held.keys())
            await self._close([self._open.pop(key) for key in held if not self._holders[key]])
