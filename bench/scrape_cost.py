"""What one gzip scrape costs the server in CPU time: prepared bytes compared with the client library.

The client library is used in two ways: a collector that builds its families at every scrape, and gauges that are set
at every poll (and cleared first, because things vanish). Both are written by `generate_latest` and compressed as the
library's own server does. The exporter answers real requests from a client in another process, over one connection as
Prometheus does, and over many at once.
"""

import asyncio
import gzip
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))
from prometheus_client import CollectorRegistry, generate_latest
from rig import Fleet, Gauges, Naive, exporting, report, simulated

from exporter.cli.serve import freeze_startup_objects
from exporter.expose import compression, families, series_store
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent
from exporter.service.exporter import Exporter
from exporter.web.app import make_app
from exporter.web.serve import listening

AGENTS = (100, 370, 3_700)
"""About 0.3, 1 and 10 MB of text."""
CONNECTIONS = (1, 16)
SCRAPES = 480
ROUNDS = 3
"""The best of these is what counts."""
NAIVE_SCRAPES = 2


def cpu(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, averaged over so many."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


async def cpu_of_scrapes(exporter: Exporter) -> float:
    """CPU seconds of one scrape of the exporter, without sending it."""
    began = time.process_time()
    for _ in range(SCRAPES):
        await exporter.scrape(openmetrics=False)
    return (time.process_time() - began) / SCRAPES


def scrape(registry: CollectorRegistry) -> bytes:
    """What a server of the client library does."""
    return gzip.compress(generate_latest(registry))


def client(port: int, times: int, connections: int) -> None:
    """Scrapes as Prometheus does, with gzip and kept connections; each connection has its own thread."""
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(_keep_scraping, [port] * connections, [times // connections] * connections))


def _keep_scraping(port: int, times: int) -> None:
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        for _ in range(times):
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            connection.getresponse().read()


async def ours(exporter: Exporter) -> list[float]:
    """CPU seconds of this process for one scrape over TCP, for each number of connections."""
    loop = asyncio.get_running_loop()
    best = [math.inf] * len(CONNECTIONS)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        async with listening(make_app(exporter), ("127.0.0.1", 0)) as ((_, port),):
            for i, connections in [*enumerate(CONNECTIONS)] * ROUNDS:
                ask = partial(pool.apply, client)
                await loop.run_in_executor(None, ask, (port, connections, connections))
                began = time.process_time()
                await loop.run_in_executor(None, ask, (port, SCRAPES, connections))
                best[i] = min(best[i], (time.process_time() - began) / SCRAPES)
    return best


async def _measure(fleet: Fleet, base_url: str) -> dict[str, object]:
    async with exporting(base_url, fleet) as exporter:
        await exporter.once()
        freeze_startup_objects()
        body = b"".join((await exporter.scrape(openmetrics=False)).text()).decode()
        over_tcp = await ours(exporter)
        with counted() as calls:
            prepared = await cpu_of_scrapes(exporter)
    naive, gauges = CollectorRegistry(auto_describe=False), Gauges(body)
    naive.register(Naive(body))
    updated = cpu(gauges.update, NAIVE_SCRAPES)
    slow, set_before = (cpu(partial(scrape, registry), NAIVE_SCRAPES) for registry in (naive, gauges.registry))
    return {
        "agents": fleet.agents,
        "text MB": len(body) / 1e6,
        "collector ms": slow * 1e3,
        "gauges ms": set_before * 1e3,
        "gauges' update ms": updated * 1e3,
        **{f"ours ms, {n} conn.": seconds * 1e3 for n, seconds in zip(CONNECTIONS, over_tcp, strict=True)},
        "ours without TCP ms": prepared * 1e3,
        **{f"ratio, {n} conn.": slow / seconds for n, seconds in zip(CONNECTIONS, over_tcp, strict=True)},
        "agents rendered": calls.agents / SCRAPES,
        "compressions": calls.compressions / SCRAPES,
    }


@dataclass(slots=True)
class Calls:
    """What happened so far. Mutable."""

    agents: int = 0
    """Agents whose lines were rendered."""
    compressions: int = 0
    """Teams whose text was compressed."""


@contextmanager
def counted() -> Iterator[Calls]:
    """Counts, wherever it is asked for, that lines of agents are made and that text is compressed."""
    calls = Calls()
    deflate, add_agents = compression.deflate, families.add_agents

    def counting_deflate(lines: bytes) -> compression.DeflatedText:
        calls.compressions += 1
        return deflate(lines)

    def counting_agents(samples: Samples, team: str, agents: Sequence[Agent], *, with_labels: bool) -> None:
        calls.agents += len(agents)
        add_agents(samples, team, agents, with_labels=with_labels)

    with (
        patch.object(series_store, "deflate", counting_deflate),
        patch.object(families, "add_agents", counting_agents),
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
