"""Items of lists with every field that is read, and pages made of them."""

import json
from typing import Any

from exporter.platform import wire

TASK: dict[str, Any] = {
    "id": "t1",
    "task_status": "running",
    "status": "running",
    "created_at": "2025-02-10T14:00:00Z",
    "started_at": "2025-02-10T14:00:05Z",
    "completed_at": "2025-02-10T14:01:30Z",
    "retry_count": 2,
    "agent_id": "a1",
    "agent_labels": ["gpu"],
    "gpu_type": "A100",
    "dispatch_target": "agent",
    "target_pool": "team",
    "tool_type": "comfyui",
}
GPU: dict[str, Any] = {"device_name": "RTX", "device_type": "cuda", "vram_total": 24e9, "vram_free": 1}
STATS: dict[str, Any] = {
    "comfyui_version": "0.3.10",
    "pytorch_version": "2.5.1",
    "os_type": "posix",
    "gpu_devices": [GPU],
}
AGENT: dict[str, Any] = {
    "agent_id": "a1",
    "agent_status": "idle",
    "agent_labels": ["gpu"],
    "last_heartbeat": "2025-02-10T14:30:00Z",
    "connected_at": "2025-02-10T14:00:00Z",
    "agent_version": "0.1.3",
    "tool": "comfyui",
    "tool_version": "0.3.13",
    "comfyui_version": "0.3.13",
    "platform_arch": "linux/amd64",
    "gpu_capacity": 8,
    "running_count": 3,
    "tasks_completed": 42,
    "sync_phase": "downloading",
    "sync_percent": 45,
    "system_stats": STATS,
}


def page(name: str, items: Any, total: Any = 1, **meta: Any) -> bytes:
    """The body of a page of the list called `name`."""
    return json.dumps({name: items, "page_meta": {"total_count": total, **meta}}).encode()


def agents_of(*items: Any, total: int | None = None) -> wire.Page[wire.Agent]:
    """The page of agents as read."""
    return wire.decode_agents(page("agent_list", items, len(items) if total is None else total), 1)


def tasks_of(*items: Any, status: str = "running") -> wire.Page[wire.Task]:
    """The page of tasks as read."""
    return wire.decode_tasks(page("task_list", items, len(items)), 1, status)


def only(found: wire.Page[Any]) -> Any:
    """The only item of a page."""
    [item] = found.items
    assert item is not None
    return item


def differing(a: Any, b: Any) -> list[str]:
    """The fields in which two values differ."""
    return [field for field in type(a).__dataclass_fields__ if getattr(a, field) != getattr(b, field)]
