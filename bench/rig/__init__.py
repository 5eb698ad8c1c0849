"""What the measurements share: a simulated platform in a process of its own, and an exporter of it in this one."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection

from exporter.cli.wiring import Shard, assembled
from exporter.collect.exporter import Exporter
from exporter.config import load
from exporter.demo import SimulatedPlatform

GPUS = 4
"""Of each agent."""
TOKEN = "sk-bench"  # noqa: S105  of the simulator


def _serve(agents: int, ready: Connection) -> None:
    async def serve() -> None:
        platform = SimulatedPlatform()
        team = platform.add_team("bench", token=TOKEN)
        team.add_agents(agents, gpus=GPUS)
        for status in ("pending", "waiting", "queued", "running", "completed"):
            team.add_tasks(1000, status=status)
        async with platform.serve() as base_url:
            ready.send(base_url)
            await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def simulated(agents: int) -> Iterator[str]:
    """A platform with one team of so many agents; gives the base URL."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(agents, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


@asynccontextmanager
async def exporting(base_url: str) -> AsyncIterator[Exporter]:
    """An exporter of that platform, in this process, that has polled nothing yet."""
    settings = load(
        None,
        {},
        {
            "api": {"base_url": base_url, "max_requests_per_second": 1000},
            "collect": {"max_agents": 100_000},
            "teams": [{"name": "bench", "token_env": "TOKEN"}],
        },
    )
    async with assembled(settings, {"TOKEN": TOKEN}, Shard()) as assembly:
        yield assembly.exporter
