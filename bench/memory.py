"""Memory at rest and at its peak, compared with the text served and with the client library on the same samples."""

import asyncio
import multiprocessing
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from prometheus_client import CollectorRegistry, generate_latest
from rig import Fleet, Naive, exporting, report, resident, simulated

FLEETS = (Fleet(10, 100), Fleet(10, 1000), Fleet(50, 1000))


def _peak() -> int:
    """The peak of resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _ours(fleet: Fleet, base_url: str, ready: Connection) -> None:
    async def measure() -> None:
        async with exporting(base_url, fleet, max_concurrency=4) as exporter:
            idle = resident()
            for _ in range(3):
                await exporter.once()
                answer = await exporter.scrape(openmetrics=True)
            ready.send((idle, resident(), _peak(), answer.text_length))

    asyncio.run(measure())


def _naive(fleet: Fleet, base_url: str, ready: Connection) -> None:
    async def text() -> str:
        async with exporting(base_url, fleet, max_concurrency=4) as exporter:
            await exporter.once()
            return b"".join((await exporter.scrape(openmetrics=False)).text()).decode()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Naive(asyncio.run(text())))
    before = _peak()
    generate_latest(registry)
    ready.send((before, _peak()))


def _alone(work: Callable[..., object], fleet: Fleet, base_url: str) -> tuple[int, ...]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(fleet, base_url, there))
    process.start()
    numbers: tuple[int, ...] = here.recv()
    process.join()
    return numbers


def main() -> None:
    """Prints a line for each fleet."""
    rows = []
    for fleet in FLEETS:
        with simulated(fleet) as base_url:
            idle, rest, peak, text = _alone(_ours, fleet, base_url)
            before, naive = _alone(_naive, fleet, base_url)
        rows.append(
            {
                "teams": fleet.teams,
                "agents": fleet.teams * fleet.agents,
                "text MB": text / 1e6,
                "at rest over idle MB": (rest - idle) / 1e6,
                "peak over idle MB": (peak - idle) / 1e6,
                "peak / text": (peak - idle) / text,
                "naive peak MB": naive / 1e6,
                "one naive scrape adds MB": (naive - before) / 1e6,
            }
        )
    report("memory", rows)


if __name__ == "__main__":
    main()
