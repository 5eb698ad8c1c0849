"""Shared by the measurements of polls: the requests sent, and the CPU time of both sides."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from selectors import DefaultSelector, SelectorKey
from unittest.mock import patch

from aiohttp import TCPConnector

from exporter.platform.call import Call
from exporter.platform.client import Platform


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was sent."""

    at: float
    """Seconds on the monotonic clock."""
    call: Call


@dataclass(slots=True)
class Traffic:
    """What was sent to the platform so far. Mutable."""

    requests: list[Sent] = field(default_factory=list)
    """Empty unless requests are kept."""
    number: int = 0
    """How many requests."""
    connections: int = 0
    """How many new connections, whether they succeeded or not."""


@contextmanager
def traffic(*, keep: bool = True) -> Iterator[Traffic]:
    """Records every request that this process' exporter sends, and counts new connections, until the block ends.

    Args:
        keep: whether to keep the requests, which every garbage collection then walks.
    """
    seen = Traffic()
    send, connect = vars(Platform)["send"], vars(TCPConnector)["_create_connection"]

    async def sending(platform: Platform, call: Call) -> bytes:
        seen.number += 1
        if keep:
            seen.requests.append(Sent(time.monotonic(), call))
        answer: bytes = await send(platform, call)
        return answer

    async def connecting(connector: TCPConnector, *more: object) -> asyncio.Protocol:
        seen.connections += 1
        protocol: asyncio.Protocol = await connect(connector, *more)
        return protocol

    with patch.object(Platform, "send", sending), patch.object(TCPConnector, "_create_connection", connecting):
        yield seen


def platform_process() -> int:
    """The process of the simulated platform, which must be the only one that this process has started by now."""
    [process] = multiprocessing.active_children()
    return process.pid or 0


@dataclass(slots=True)
class Waiting:
    """How long the event loop has been idle so far. Mutable."""

    seconds: float = 0.0


@contextmanager
def waiting() -> Iterator[Waiting]:
    """Sums up the time in which the event loop waits for the network or a thread, until the block ends."""
    waited, select = Waiting(), DefaultSelector.select

    def timed(selector: DefaultSelector, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        began = time.perf_counter()
        try:
            return select(selector, timeout)
        finally:
            waited.seconds += time.perf_counter() - began

    with patch.object(DefaultSelector, "select", timed):
        yield waited
