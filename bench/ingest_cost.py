"""What decoding a page of 100 tasks or agents costs, compared with plain pydantic.

Much of the CPU time of a poll goes here. The baselines read the same fields into straightforward pydantic models, from
the bytes and through `json.loads`. They do less: they enforce no limits, and do not clean texts for labels. We read a
page with one wrong field twice and keep the rest; the baselines lose such a page. The memory is the peak of one call,
without the body.
"""

import gc
import json
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from pydantic import BaseModel
from rig import GPUS, report

from exporter.demo import SimulatedPlatform
from exporter.fleet.agents import read_agents
from exporter.fleet.tasks import read_tasks
from exporter.platform import wire

ROUNDS = 200
STATUS = "completed"
"""Its tasks have all three times."""
Work = Callable[[], object]


def bodies() -> Mapping[str, bytes]:
    """A full page of each list, as the simulated platform sends it."""
    team = SimulatedPlatform().add_team("bench")
    team.add_agents(wire.PER_PAGE, gpus=GPUS)
    team.add_tasks(wire.PER_PAGE, status=STATUS)
    meta = {"current_page": 1, "per_page": wire.PER_PAGE, "total_count": wire.PER_PAGE}
    lists = {"tasks": ("task_list", team.tasks(STATUS)), "agents": ("agent_list", team.agents())}
    return {
        kind: json.dumps({name: listing.cut(0, wire.PER_PAGE), "page_meta": meta}).encode()
        for kind, (name, listing) in lists.items()
    }


class Task(BaseModel):
    """A straightforward model of a task."""

    id: str | None = None
    task_status: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    retry_count: int | None = None
    agent_labels: list[str] | None = None


class Gpu(BaseModel):
    """A GPU."""

    device_name: str | None = None
    device_type: str | None = None
    vram_total: float | None = None
    vram_free: float | None = None


class Stats(BaseModel):
    """What an agent reports about its machine."""

    comfyui_version: str | None = None
    pytorch_version: str | None = None
    os_type: str | None = None
    gpu_devices: list[Gpu] | None = None


class Agent(BaseModel):
    """An agent."""

    agent_id: str | None = None
    agent_status: str | None = None
    agent_labels: list[str] | None = None
    last_heartbeat: datetime | None = None
    connected_at: datetime | None = None
    agent_version: str | None = None
    tool: str | None = None
    tool_version: str | None = None
    comfyui_version: str | None = None
    platform_arch: str | None = None
    gpu_capacity: int | None = None
    running_count: int | None = None
    tasks_completed: int | None = None
    sync_phase: str | None = None
    sync_percent: float | None = None
    system_stats: Stats | None = None


class Meta(BaseModel):
    """How long the list is."""

    total_count: int


class TaskPage(BaseModel):
    """A page of tasks."""

    task_list: list[Task]
    page_meta: Meta


class AgentPage(BaseModel):
    """A page of agents."""

    agent_list: list[Agent]
    page_meta: Meta


@dataclass(frozen=True, slots=True)
class Kind:
    """How a list is read."""

    model: type[BaseModel]
    decode: Callable[[bytes], Any]
    values: Callable[[Any], object]
    right: bytes
    """Part of a good page."""
    wrong: bytes
    """What replaces it."""


KINDS = {
    "tasks": Kind(
        TaskPage,
        lambda body: wire.decode_tasks(body, 1, STATUS),
        lambda page: list(read_tasks(page, Counter())),
        b'"retry_count": 0',
        b'"retry_count": "many"',
    ),
    "agents": Kind(
        AgentPage,
        lambda body: wire.decode_agents(body, 1),
        lambda page: list(read_agents(page, Counter())),
        b'"running_count": 0',
        b'"running_count": "many"',
    ),
}


def ways(kind: Kind, body: bytes) -> Mapping[str, Work]:
    """What is measured with a page."""
    decoded, spoilt = kind.decode(body), body.replace(kind.right, kind.wrong, 1)
    return {
        "decode": lambda: kind.decode(body),
        "to values": lambda: kind.values(decoded),
        "both": lambda: kind.values(kind.decode(body)),
        "both, one field wrong": lambda: kind.values(kind.decode(spoilt)),
        "model_validate_json": lambda: kind.model.model_validate_json(body),
        "json.loads, model_validate": lambda: kind.model.model_validate(json.loads(body)),
    }


def quickest(works: Mapping[str, Work]) -> Mapping[str, float]:
    """CPU seconds of the fastest call of each, interleaved so that machine load affects all alike."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - began)
    return best


def peak(work: Work) -> int:
    """The most bytes that one call holds at a time."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Prints a line for each step."""
    rows: list[dict[str, object]] = []
    for kind, body in bodies().items():
        works = ways(KINDS[kind], body)
        times = quickest(works)
        rows += [
            {
                "page": f"{kind}, {len(body) / 1000:.0f} KB",
                "method": name,
                "us": seconds * 1e6,
                "ratio to 'both'": seconds / times["both"],
                "peak, KB": peak(works[name]) / 1000,
            }
            for name, seconds in times.items()
        ]
    report("ingest_cost", rows)


if __name__ == "__main__":
    main()
