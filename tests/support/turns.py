"""Whether the event loop lets other tasks run while something else is busy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """How often another task has had its turn. Mutable."""

    taken = 0


@asynccontextmanager
async def turns_of_another_task() -> AsyncIterator[Turns]:
    """Counts, while the block runs, how often the event loop runs a task that is always ready."""
    turns = Turns()

    async def always_ready() -> None:
        while True:
            turns.taken += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(always_ready())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        task.cancel()
