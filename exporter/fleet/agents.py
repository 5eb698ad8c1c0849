"""Agents, from the platform's items to our values."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from exporter.catalog import AGENT_STATUSES, OTHER
from exporter.fleet.text import label_text, optional_label
from exporter.platform import wire

SYNCING: Final = "syncing"
UNNAMED_PHASE: Final = "unknown"


# Final and not frozen, here and in tasks.py: the same promise, kept by the type checker. What a frozen class does about
# it in each instance makes these four times as slow to make, and there are hundreds on a page.
@dataclass(slots=True)
class Gpu:
    """One GPU, known by its position only. Sizes are whole bytes."""

    position: Final[int]
    device_name: Final[str]
    device_type: Final[str]
    vram_size: Final[int | None]
    vram_free: Final[int | None]


@dataclass(slots=True)
class Agent:
    """One listed agent. Every text is fit to be a label value; times are Unix seconds of the platform's clock."""

    agent_id: Final[str]
    status: Final[str | None]
    """One of `catalog.AGENT_STATUSES` or OTHER; None when the platform gave none."""
    running_tasks: Final[int | None]
    gpu_capacity: Final[int | None]
    tasks_completed: Final[int | None]
    last_heartbeat_at: Final[float | None]
    connected_at: Final[float | None]
    sync: Final[tuple[str, float] | None]
    """Phase and progress from 0 to 1, while syncing."""
    versions: Final[tuple[str, str, str, str, str, str, str]]
    """agent_version, tool, tool_version, comfyui_version, pytorch_version, os_type, platform_arch; "" if missing."""
    labels: Final[frozenset[str]]
    gpus: Final[tuple[Gpu, ...]]


def read_agents(page: wire.Page[wire.Agent], unknown: Counter[str]) -> Iterator[Agent]:
    """Yield the page's agents; count items without an id and undocumented statuses in `unknown`."""
    for item in page.items:
        if item is None or not item.agent_id:
            unknown["agent_id"] += 1
            continue
        status = item.agent_status
        if status is not None and status not in AGENT_STATUSES:
            unknown["agent_status"] += 1
            status = OTHER
        yield _agent(item, item.agent_id, status)


def _agent(item: wire.Agent, agent_id: str, status: str | None) -> Agent:
    stats = item.system_stats or wire.SystemStats()
    # By position: by name they would take twice as long to make.
    return Agent(
        label_text(agent_id),
        status,
        item.running_count,
        item.gpu_capacity,
        item.tasks_completed,
        unix_time(item.last_heartbeat),
        unix_time(item.connected_at),
        _sync(item) if status == SYNCING else None,
        (
            optional_label(item.agent_version),
            optional_label(item.tool),
            optional_label(item.tool_version),
            # The sample names it twice, with different values: the agent's own word comes first.
            optional_label(item.comfyui_version or stats.comfyui_version),
            optional_label(stats.pytorch_version),
            optional_label(stats.os_type),
            optional_label(item.platform_arch),
        ),
        label_set(item.agent_labels),
        _gpus(stats.gpu_devices or ()),
    )


def _sync(item: wire.Agent) -> tuple[str, float] | None:
    if item.sync_percent is None:
        return None
    return optional_label(item.sync_phase) or UNNAMED_PHASE, item.sync_percent / 100


def _gpus(devices: Sequence[wire.GpuDevice | None]) -> tuple[Gpu, ...]:
    found = []
    for position, gpu in enumerate(devices):
        if gpu is not None:
            name, kind = optional_label(gpu.device_name), optional_label(gpu.device_type)
            # Whole numbers are half as long to write, and to read.
            size = None if gpu.vram_total is None else int(gpu.vram_total)
            free = None if gpu.vram_free is None else int(gpu.vram_free)
            found.append(Gpu(position, name, kind, size, free))
    return tuple(found)


def label_set(labels: Sequence[str | None] | None) -> frozenset[str]:
    """The labels of an agent, or those a task requires. Equal ones are one object: many tasks require the same."""
    return _label_set(tuple([label_text(label) for label in labels if label])) if labels else frozenset()


# Of fitted texts, which are short: raw ones might be megabytes each, kept for as long as they are remembered.
@lru_cache(maxsize=256)
def _label_set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def unix_time(moment: datetime | None) -> float | None:
    """Unix seconds; None also for times before 1970, which servers write for "never"."""
    return moment.timestamp() if moment is not None and moment > _EPOCH else None
