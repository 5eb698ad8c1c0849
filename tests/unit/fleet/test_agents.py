import math
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from exporter.catalog import AGENT_STATUSES, OTHER
from exporter.fleet.agents import Agent, Gpu, label_set, read_agents, unix_time
from exporter.platform import wire

MOMENT = datetime(2025, 2, 10, 14, 0, 0, 500_000, tzinfo=UTC)


def read(*items: wire.Agent | None) -> tuple[list[Agent], Counter[str]]:
    unknown = Counter[str]()
    page = wire.Page(1, list(items), len(items), 100, Counter())
    return list(read_agents(page, unknown)), unknown


def one(**fields: Any) -> Agent:
    [agent], _ = read(wire.Agent(agent_id="a", **fields))
    return agent


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (None, None),
        (MOMENT, 1739196000.5),
        (MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))), 1739196000.5),
        (datetime(1970, 1, 1, tzinfo=UTC), None),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1.0),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), None),
        (datetime(1, 1, 1, tzinfo=UTC), None),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), None),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14))), 253402351199.0),
    ],
)
def test_unix_time(moment: datetime | None, seconds: float | None) -> None:
    """Times become Unix seconds; Go's zero time and others before 1970, which mean "never", become None."""
    assert unix_time(moment) == seconds


def test_nothing_known_but_the_id() -> None:
    """Unknown values are None or the empty label, never zero."""
    assert one() == Agent(agent_id="a")


@pytest.mark.parametrize("status", AGENT_STATUSES)
def test_documented_status(status: str) -> None:
    """A documented status is kept and not counted as unknown."""
    [agent], unknown = read(wire.Agent(agent_id="a", agent_status=status))
    assert (agent.status, unknown) == (status, {})


@pytest.mark.parametrize("status", ["offline", "", "IDLE", OTHER, "idle "])
def test_undocumented_status(status: str) -> None:
    """Any other status becomes `other` and is counted."""
    [agent], unknown = read(wire.Agent(agent_id="a", agent_status=status))
    assert (agent.status, unknown) == (OTHER, {"agent_status": 1})


def test_items_without_an_id() -> None:
    """An item without an id, and one that is no object, are skipped and counted; the rest is read."""
    agents, unknown = read(None, wire.Agent(), wire.Agent(agent_id=""), wire.Agent(agent_id="a"))
    assert [agent.agent_id for agent in agents] == ["a"]
    assert unknown == {"agent_id": 3}


@pytest.mark.parametrize(
    ("status", "phase", "percent", "sync"),
    [
        ("syncing", "downloading", 45.0, ("downloading", 0.45)),
        ("syncing", "downloading", 0.0, ("downloading", 0.0)),
        ("syncing", "verifying", 100.0, ("verifying", 1.0)),
        ("syncing", None, 45.0, None),
        ("syncing", "", 45.0, None),
        ("syncing", "downloading", None, None),
        ("idle", "downloading", 45.0, ("downloading", 0.45)),
        ("idle", "downloading", 99.0, ("downloading", 0.99)),
        ("idle", "downloading", 100.0, None),
        ("idle", None, 45.0, None),
        (None, "downloading", 45.0, ("downloading", 0.45)),
        ("paused", "downloading", 100.0, None),
    ],
)
def test_sync(status: str | None, phase: str | None, percent: float | None, sync: tuple[str, float] | None) -> None:
    """Progress is from 0 to 1 if there is a phase: always while syncing, otherwise only below 100 %."""
    assert one(agent_status=status, sync_phase=phase, sync_percent=percent).sync == sync


def test_versions() -> None:
    """Of the two ComfyUI versions the agent's own takes precedence; other values come from where they are."""
    stats = wire.SystemStats(comfyui_version="0.3.10", pytorch_version="2.5.1", os_type="posix")
    agent = wire.Agent(
        agent_id="a",
        agent_version="0.1.3",
        tool="comfyui",
        tool_version="0.3.13",
        comfyui_version="0.3.13",
        platform_arch="linux/amd64",
        system_stats=stats,
    )
    [both, stats_only], _ = read(agent, replace(agent, agent_id="b", comfyui_version=None))
    assert both.versions == ("0.1.3", "comfyui", "0.3.13", "0.3.13", "2.5.1", "posix", "linux/amd64")
    assert stats_only.versions[3] == "0.3.10"


def test_gpus_keep_their_position() -> None:
    """A GPU is identified by its position in the list, even if one before it could not be read."""
    stats = wire.SystemStats(gpu_devices=[wire.GpuDevice("RTX", "cuda", 24.5, 0.0), None, wire.GpuDevice()])
    assert one(system_stats=stats).gpus == (
        Gpu(position=0, device_name="RTX", device_type="cuda", vram_size=24, vram_free=0),
        Gpu(position=2),
    )


def test_numbers_and_times() -> None:
    """Counts are kept as they are, even 0; times become Unix seconds."""
    agent = one(running_count=0, gpu_capacity=8, tasks_completed=2**62, last_heartbeat=MOMENT, connected_at=MOMENT)
    assert (agent.running_tasks, agent.gpu_capacity, agent.tasks_completed) == (0, 8, 2**62)
    assert (agent.last_heartbeat_at, agent.connected_at) == (1739196000.5, 1739196000.5)
    assert math.isfinite(agent.last_heartbeat_at or math.nan)


@pytest.mark.parametrize(
    ("labels", "found"),
    [(None, set()), ([], set()), (["gpu", "gpu", None, ""], {"gpu"}), (["b", "a"], {"a", "b"})],
)
def test_label_set(labels: list[str | None] | None, found: set[str]) -> None:
    """Labels become a set without empty ones."""
    assert label_set(labels) == found


def test_equal_label_sets_are_one_object_and_keep_no_raw_text() -> None:
    """Equal label sets are one object, but their raw texts, which may be megabytes, are not kept."""
    huge = "x" * 1_000_000
    before = sys.getrefcount(huge)
    assert label_set(["gpu", huge]) is label_set(["gpu", huge])
    assert sys.getrefcount(huge) == before


def test_hostile_ids_are_made_fit() -> None:
    """Ids, versions, labels and device names become valid label values."""
    hostile = "\x00" * 1_000
    stats = wire.SystemStats(gpu_devices=[wire.GpuDevice(device_name=hostile, device_type=hostile)])
    agent = wire.Agent(agent_id=hostile, tool=hostile, agent_labels=[hostile], sync_phase=hostile, system_stats=stats)
    [found], _ = read(replace(agent, agent_status="syncing", sync_percent=1.0))
    assert found.sync
    gpu = found.gpus[0]
    texts = [found.agent_id, found.versions[1], *found.labels, found.sync[0], gpu.device_name, gpu.device_type]
    assert all(len(text) == 128 and "\x00" not in text for text in texts)
