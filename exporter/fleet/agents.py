"""Converts the platform's agents to our values."""

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
COMPLETE: Final = 100
"""The `sync_percent` of a finished sync."""


# Here and in tasks.py, `Final` fields replace `frozen=True`: mypy enforces immutability, and construction is four times
# faster, which matters because a page has hundreds of these.
@dataclass(slots=True, kw_only=True)
class Gpu:
    """One GPU, identified only by its position. Sizes are whole bytes."""

    position: Final[int]
    device_name: Final[str] = ""
    device_type: Final[str] = ""
    vram_size: Final[int | None] = None
    vram_free: Final[int | None] = None


@dataclass(slots=True, kw_only=True)
class Agent:
    """One listed agent. Every text is a valid label value; times are Unix seconds of the platform's clock.

    None and "" stand for values that the platform did not send.
    """

    agent_id: Final[str]
    status: Final[str | None] = None
    """One of `catalog.AGENT_STATUSES` or OTHER."""
    running_tasks: Final[int | None] = None
    gpu_capacity: Final[int | None] = None
    tasks_completed: Final[int | None] = None
    last_heartbeat_at: Final[float | None] = None
    connected_at: Final[float | None] = None
    sync: Final[tuple[str, float] | None] = None
    """Phase and progress from 0 to 1, while something is being synced."""
    versions: Final[tuple[str, str, str, str, str, str, str]] = ("",) * 7
    """agent_version, tool, tool_version, comfyui_version, pytorch_version, os_type, platform_arch."""
    labels: Final[frozenset[str]] = frozenset()
    gpus: Final[tuple[Gpu, ...]] = ()


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
    return Agent(
        agent_id=label_text(agent_id),
        status=status,
        running_tasks=item.running_count,
        gpu_capacity=item.gpu_capacity,
        tasks_completed=item.tasks_completed,
        last_heartbeat_at=unix_time(item.last_heartbeat),
        connected_at=unix_time(item.connected_at),
        sync=_sync(item, status),
        versions=(
            optional_label(item.agent_version),
            optional_label(item.tool),
            optional_label(item.tool_version),
            # The documented sample has it in both places, with different values: the agent's own takes precedence.
            optional_label(item.comfyui_version or stats.comfyui_version),
            optional_label(stats.pytorch_version),
            optional_label(stats.os_type),
            optional_label(item.platform_arch),
        ),
        labels=label_set(item.agent_labels),
        gpus=_gpus(stats.gpu_devices or ()),
    )


def _sync(item: wire.Agent, status: str | None) -> tuple[str, float] | None:
    # The documented sample is `idle` while it downloads; a finished sync leaves a phase at 100 behind.
    if not item.sync_phase or item.sync_percent is None or (status != SYNCING and item.sync_percent >= COMPLETE):
        return None
    return label_text(item.sync_phase), item.sync_percent / 100


def _gpus(devices: Sequence[wire.GpuDevice | None]) -> tuple[Gpu, ...]:
    found = []
    for position, gpu in enumerate(devices):
        if gpu is not None:
            found.append(
                Gpu(
                    position=position,
                    device_name=optional_label(gpu.device_name),
                    device_type=optional_label(gpu.device_type),
                    # Integers are half as long in the exposition.
                    vram_size=None if gpu.vram_total is None else int(gpu.vram_total),
                    vram_free=None if gpu.vram_free is None else int(gpu.vram_free),
                )
            )
    return tuple(found)


def label_set(labels: Sequence[str | None] | None) -> frozenset[str]:
    """The labels of an agent, or those a task requires. Equal sets are one object, because many tasks have the same."""
    return _label_set(tuple([label_text(label) for label in labels if label])) if labels else frozenset()


# The keys are sanitized texts, which are short, so the cache never keeps megabytes of raw text.
@lru_cache(maxsize=256)
def _label_set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def unix_time(moment: datetime | None) -> float | None:
    """Unix seconds; None also for times up to 1970, which servers use for "never"."""
    return moment.timestamp() if moment is not None and moment > _EPOCH else None
