"""What one gzip scrape costs the server in CPU time: prepared bytes against a naive exporter of the same series.

The naive one is what the client library offers: a collector that builds its families at every scrape,
`generate_latest`, and gzip, as its own server does. Ours answers real requests of a client in another process.
"""

import asyncio
import gzip
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from rig import exporting, simulated

from exporter.cli.serve import settle
from exporter.collect.exporter import Exporter
from exporter.web.app import make_app
from exporter.web.serve import listening

AGENTS = (100, 500, 5_000)
SCRAPES = 200
NAIVE_SCRAPES = 2


class Naive(Collector):
    """Builds every family anew from plain values."""

    def __init__(self, exposition: str) -> None:
        self._families = [
            (family.name, family.documentation, family.type, [sample[:3] for sample in family.samples])
            for family in text_string_to_metric_families(exposition)
        ]

    def collect(self) -> Iterator[Metric]:
        """Every family, as at a scrape."""
        for name, text, kind, samples in self._families:
            family = Metric(name, text, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, dict(labels), value)
            yield family


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


async def _measure(agents: int, base_url: str) -> None:
    async with exporting(base_url) as exporter:
        await exporter.once()
        settle()
        text = b"".join(exporter.exposition(openmetrics=False).text()).decode()
        per_scrape = await ours(exporter)
        prepared = cpu(lambda: exporter.exposition(openmetrics=False), SCRAPES)
    slow = cpu(naive(text), NAIVE_SCRAPES)
    print(
        f"{agents:>7,} {len(text) / 1e6:>8.2f} MB {slow * 1e3:>9.1f} ms {per_scrape * 1e3:>9.2f} ms"
        f" {prepared * 1e3:>9.2f} ms {slow / per_scrape:>9.0f}"
    )


def main() -> None:
    """Prints a line for each size."""
    print(f"{'agents':>7} {'text':>11} {'naive':>12} {'ours, TCP':>12} {'its bytes':>12} {'ratio':>9}")
    for agents in AGENTS:
        with simulated(agents) as base_url:
            asyncio.run(_measure(agents, base_url))


if __name__ == "__main__":
    main()
