"""Shared by the measurements: a simulated platform in its own process, and an exporter for it in this one."""

import asyncio
import gc
import json
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.config.load import load
from exporter.demo import SimulatedPlatform
from exporter.service.exporter import Exporter
from exporter.service.service import started as started_service
from exporter.service.shard import Shard

GPUS = 4
"""GPUs of each agent."""
RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the simulated platform holds: teams of the same size."""

    teams: int = 1
    agents: int = 0
    """Agents of each team."""
    tasks: int = 1000
    """Tasks of each team in each of five statuses."""
    faults: str = ""


def names(fleet: Fleet) -> list[str]:
    """The teams' names."""
    return [f"bench-{number}" for number in range(fleet.teams)]


def token(name: str) -> str:
    """The made-up key of a team."""
    return f"sk-{name}"


def _serve(fleet: Fleet, ready: Connection) -> None:
    async def serve() -> None:
        platform = SimulatedPlatform()
        for name in names(fleet):
            team = platform.add_team(name, token=token(name))
            team.add_agents(fleet.agents, gpus=GPUS)
            for status in ("pending", "waiting", "queued", "running", "completed"):
                team.add_tasks(fleet.tasks, status=status)
        platform.faults.parse(fleet.faults)
        gc.freeze()
        async with platform.serve() as base_url:
            ready.send(base_url)
            await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def started(work: Callable[..., None], *about: object) -> Iterator[Any]:
    """Runs `work(*about, pipe)` in its own process until the block ends; yields the first thing it sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(*about, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


@contextmanager
def simulated(fleet: Fleet) -> Iterator[str]:
    """A platform with this fleet, in its own process; yields the base URL."""
    with started(_serve, fleet) as base_url:
        yield base_url


@asynccontextmanager
async def exporting(base_url: str, fleet: Fleet, *, interval: float = 30.0, **api: object) -> AsyncIterator[Exporter]:
    """An exporter of that platform, in this process, that has polled nothing yet; `api` are settings of its section."""
    settings = load(
        None,
        {},
        {
            "api": {"base_url": base_url, "max_requests_per_second": 100_000, **api},
            "collect": {"max_agents": 100_000, "interval": f"{interval:g}s"},
            "teams": [{"name": name, "token_env": f"T{i}"} for i, name in enumerate(names(fleet))],
        },
    )
    environ = {f"T{i}": token(name) for i, name in enumerate(names(fleet))}
    async with started_service(settings, environ, Shard()) as service:
        yield service.exporter


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@dataclass(slots=True)
class Longest:
    """The longest steps of the event loop and garbage collections seen so far, in seconds. Mutable."""

    step: float = 0.0
    what: str = ""
    cpu: float = 0.0
    collection: float = 0.0


@contextmanager
def watched() -> Iterator[Longest]:
    """Times every step of the event loop and every garbage collection until the block ends."""
    longest = Longest()
    # Every step of the loop goes through this method.
    run, began = vars(asyncio.events.Handle)["_run"], 0.0

    def timed(handle: asyncio.events.Handle) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        longest.cpu = max(longest.cpu, cpu)
        if wall > longest.step:
            longest.step, longest.what = wall, repr(handle)

    def collected(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            longest.collection = max(longest.collection, time.perf_counter() - began)

    gc.callbacks.append(collected)
    try:
        with patch.object(asyncio.events.Handle, "_run", timed):
            yield longest
    finally:
        gc.callbacks.remove(collected)


class Naive(Collector):
    """What the client library offers: builds every family anew at a scrape, from plain values."""

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


class Gauges:
    """The client library's other way: a gauge for each name of a sample, set at every poll.

    Attributes:
        registry: what a scrape writes.
    """

    def __init__(self, exposition: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        samples = [each for family in text_string_to_metric_families(exposition) for each in family.samples]
        labels = {sample.name: tuple(sample.labels) for sample in samples}
        self._gauges = {name: Gauge(name, name, labels[name], registry=self.registry) for name in labels}
        self._samples = [(sample.name, tuple(sample.labels.values()), sample.value) for sample in samples]

    def update(self) -> None:
        """What a poll does: everything is purged, as an agent may have vanished, and set anew."""
        for gauge in self._gauges.values():
            gauge.clear()
        for name, labels, value in self._samples:
            gauge = self._gauges[name]
            (gauge.labels(*labels) if labels else gauge).set(value)


def report(name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table of the rows, which have the same keys, and keep them as JSON in bench/results/."""
    columns = list(rows[0])
    cells = [columns, *([_shown(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
