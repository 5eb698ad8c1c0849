"""Tasks and agents for tests that care about a few fields only: the others get plausible values."""

from random import Random
from typing import Any

from exporter.demo.wire import FINAL_STATUSES, Item, rfc3339, uuid7

_TASK_NAMES = {"status": "task_status", "labels": "agent_labels"}
_AGENT_NAMES = {"status": "agent_status", "labels": "agent_labels"}


def new_task(random: Random, now: float, status: str, fields: dict[str, Any]) -> Item:
    """A task with plausible fields for its status, changed by `fields`."""
    task: Item = {
        "id": uuid7(random, now),
        "workflow_id": uuid7(random, now),
        "task_status": status,
        "created_at": rfc3339(now),
        "retry_count": 0,
        "agent_labels": ["gpu"],
        "dispatch_target": "agent",
        "target_pool": "team",
        "tool_type": "comfyui",
    }
    if status == "running" or status in FINAL_STATUSES:
        task["started_at"] = rfc3339(now)
    if status in FINAL_STATUSES:
        task["completed_at"] = rfc3339(now)
    change_task(task, fields)
    return task


def new_agent(moment: float, agent_id: str, gpus: int, fields: dict[str, Any]) -> Item:
    """An idle agent with `gpus` cards and plausible fields, changed by `fields`."""
    now = rfc3339(moment)
    agent: Item = {
        "agent_id": agent_id,
        "agent_status": "idle",
        "agent_labels": ["gpu", "comfyui"],
        "last_heartbeat": now,
        "agent_version": "0.1.3",
        "tool": "comfyui",
        "tool_version": "0.3.13",
        "comfyui_version": "0.3.13",
        "gpu_capacity": gpus,
        "running_count": 0,
        "running_tasks": [],
        "platform_arch": "linux/amd64",
        "connected_at": now,
        "tasks_completed": 0,
        "system_stats": {
            "comfyui_version": "0.3.13",
            "pytorch_version": "2.5.1+cu124",
            "os_type": "posix",
            "gpu_devices": [_gpu() for _ in range(gpus)],
        },
    }
    change_agent(agent, fields)
    return agent


def _gpu() -> Item:
    return {
        "device_name": "NVIDIA GeForce RTX 4090",
        "device_type": "cuda",
        "vram_total": 24 * 1024**3,
        "vram_free": 23 * 1024**3,
    }


def change_task(task: Item, fields: dict[str, Any]) -> None:
    """Set fields in place; `status` and `labels` will do, times may be Unix seconds, None removes a field."""
    _change(task, fields, _TASK_NAMES)


def change_agent(agent: Item, fields: dict[str, Any]) -> None:
    """The same for an agent."""
    _change(agent, fields, _AGENT_NAMES)


def _change(item: Item, fields: dict[str, Any], names: dict[str, str]) -> None:
    for name, value in fields.items():
        key = names.get(name, name)
        if value is None:
            item.pop(key, None)
        elif isinstance(value, int | float) and (key.endswith("_at") or key == "last_heartbeat"):
            item[key] = rfc3339(value)
        else:
            item[key] = value
