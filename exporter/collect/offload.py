"""Keeps long computations out of the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE: Final = 100
"""The most subjects, such as agents, that are processed in the event loop: some milliseconds."""


async def offload(subjects: int, compute: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Compute something about this many subjects: in a thread if there are more than `AT_ONCE`.

    For few, a thread would cost more than it saves: starting it takes as much CPU time as a request.
    """
    if subjects > AT_ONCE:
        return await asyncio.to_thread(compute, *args, **kwargs)
    return compute(*args, **kwargs)
