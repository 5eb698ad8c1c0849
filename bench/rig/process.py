"""What another process holds, noted again and again while things happen to it."""

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment."""

    at: float
    memory: float
    """MiB."""
    tasks: int
    descriptors: int


def sample(pid: int, now: float, tasks: int) -> Sample:
    """The process `pid` now, at `now` seconds."""
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text(encoding="ascii").split()[1])
    return Sample(now, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, tasks, sum(1 for _ in (proc / "fd").iterdir()))


def slope(samples: Sequence[Sample], what: Callable[[Sample], float]) -> float:
    """Growth in an hour, by least squares."""
    return statistics.linear_regression([each.at / 3600 for each in samples], [what(each) for each in samples]).slope


@asynccontextmanager
async def doing(*what: Awaitable[None]) -> AsyncIterator[None]:
    """Do these things until the block ends; what ended by itself with an error raises it."""
    tasks = [asyncio.ensure_future(each) for each in what]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()  # what ended by itself failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
