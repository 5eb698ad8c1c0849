"""What one gzip scrape costs the server in CPU time: prepared bytes against a naive exporter of the same series.

The naive one is what the client library offers: a collector that builds its families at every scrape,
`generate_latest`, and gzip, as its own server does. Ours answers real requests of a client in another process.
"""

import asyncio
import gzip
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))
from prometheus_client import CollectorRegistry, generate_latest
from rig import Fleet, Naive, exporting, report, simulated

from exporter.cli.serve import settle
from exporter.collect.exporter import Exporter
from exporter.expose import payload, pieces, text
from exporter.web.app import make_app
from exporter.web.serve import listening

AGENTS = (100, 500, 5_000)
SCRAPES = 200
NAIVE_SCRAPES = 2


def naive(exposition: str) -> Callable[[], bytes]:
    """A scrape of the naive exporter."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Naive(exposition))
    return lambda: gzip.compress(generate_latest(registry))


def cpu(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU time of one of so many calls."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def scrape(port: int, times: int) -> None:
    """Scrapes as Prometheus does: with gzip, over one connection."""
    connection = HTTPConnection("127.0.0.1", port)
    for _ in range(times):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        connection.getresponse().read()
    connection.close()


async def ours(exporter: Exporter) -> float:
    """Seconds of this process' CPU time for one scrape over TCP."""
    loop = asyncio.get_running_loop()
    with multiprocessing.get_context("spawn").Pool(1) as client:
        async with listening(make_app(exporter), "127.0.0.1", 0) as (port,):
            ask = partial(client.apply, scrape)
            await loop.run_in_executor(None, ask, (port, 5))
            began = time.process_time()
            await loop.run_in_executor(None, ask, (port, SCRAPES))
            return (time.process_time() - began) / SCRAPES


async def _measure(fleet: Fleet, base_url: str) -> dict[str, object]:
    async with exporting(base_url, fleet) as exporter:
        await exporter.once()
        settle()
        body = b"".join(exporter.exposition(openmetrics=False).text()).decode()
        per_scrape = await ours(exporter)
        with counted() as calls:
            prepared = cpu(lambda: exporter.exposition(openmetrics=False), SCRAPES)
    slow = cpu(naive(body), NAIVE_SCRAPES)
    return {
        "agents": fleet.agents,
        "text MB": len(body) / 1e6,
        "naive ms": slow * 1e3,
        "ours over TCP ms": per_scrape * 1e3,
        "its bytes ms": prepared * 1e3,
        "ratio": slow / per_scrape,
        "agents rendered": calls.lines / SCRAPES,
        "compressions, own lines": calls.compressions / SCRAPES,
    }


@dataclass(slots=True)
class Calls:
    """What happened so far. Mutable."""

    lines: int = 0
    """Times that lines of agents were made."""
    compressions: int = 0
    """Texts compressed, the exporter's own lines included."""


@contextmanager
def counted() -> Iterator[Calls]:
    """Counts, wherever it is asked for, that lines of agents are made and that text is compressed."""
    calls = Calls()
    deflate, subjects = pieces.deflate, text.Samples.subjects

    def counting_deflate(lines: bytes) -> pieces.Piece:
        calls.compressions += 1
        return deflate(lines)

    def counting_subjects(samples: text.Samples, *common: str, names: Iterable[str]) -> text.Subjects:
        calls.lines += 1
        return subjects(samples, *common, names=names)

    with (
        patch.object(payload, "deflate", counting_deflate),
        patch.object(text.Samples, "subjects", counting_subjects),
    ):
        yield calls


def main() -> None:
    """Prints a line for each size."""
    rows = []
    for agents in AGENTS:
        fleet = Fleet(agents=agents)
        with simulated(fleet) as base_url:
            rows.append(asyncio.run(_measure(fleet, base_url)))
    report("scrape_cost", rows)


if __name__ == "__main__":
    main()
