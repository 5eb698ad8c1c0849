"""The machines of a simulated fleet: their cards, their state, and how the platform lists them."""

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from exporter.demo.wire import Item, rfc3339

if TYPE_CHECKING:
    from exporter.demo.work import Job

_GIB = 1024**3
_ROOMY = 48 * _GIB
"""Agents with cards of this size or more also take video tasks."""
_LARGE = 80 * _GIB
"""Agents with cards of this size or more also take training tasks."""
READY: Final = "ready"
SYNCING: Final = "syncing"
TUNNEL: Final = "tunnel"
UNHEALTHY: Final = "unhealthy"
LOST: Final = "lost"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU model; `vram` in bytes."""

    name: str
    label: str
    vram: int


CARDS: Final = (
    Card("NVIDIA A100-SXM4-80GB", "a100", _LARGE),
    Card("NVIDIA GeForce RTX 4090", "rtx4090", 24 * _GIB),
    Card("NVIDIA L40S", "l40s", _ROOMY),
    Card("NVIDIA GeForce RTX 5090", "rtx5090", 32 * _GIB),
    Card("NVIDIA H100 80GB HBM3", "h100", _LARGE),
    Card("NVIDIA GeForce RTX 3090", "rtx3090", 24 * _GIB),
    Card("NVIDIA RTX 6000 Ada Generation", "rtx6000ada", _ROOMY),
)


@dataclass(frozen=True, slots=True)
class Sync:
    """What a syncing machine is doing; percent of one file."""

    phase: str
    detail: str
    percent: int


@dataclass(slots=True, eq=False)
class Machine:
    """One machine with its agent. Mutable: it works, syncs, fails, is lost and returns.

    Attributes:
        state: one of the constants of this module.
        wants: the state it changes to as soon as nothing runs on it.
        silent: it has stopped sending heartbeats and will be lost.
        session: counts connections, so that events of an earlier one can be ignored.
        jobs: what is on each GPU.
        use: share of each GPU's memory in use, 0 to 1.
    """

    agent_id: str
    card: Card
    labels: tuple[str, ...]
    version: str
    connected_at: float
    jobs: "list[Job | None]"
    use: list[float]
    state: str = READY
    wants: str | None = None
    silent: bool = False
    session: int = 0
    completed: int = 0
    heartbeat_at: float = field(default=0.0)
    sync: Sync | None = None

    @property
    def takes_tasks(self) -> bool:
        """Whether a task may be assigned to it, provided that a GPU is free."""
        return self.state == READY and self.wants is None and not self.silent

    @property
    def busy(self) -> int:
        """How many GPUs have a task."""
        return sum(job is not None for job in self.jobs)

    def as_json(self) -> Item:
        """The agent as the platform lists it."""
        running = [job.task_id for job in self.jobs if job is not None and job.running]
        agent: Item = {
            "agent_id": self.agent_id,
            "agent_status": ("busy" if self.busy else "idle") if self.state == READY else self.state,
            "agent_labels": list(self.labels),
            "last_heartbeat": rfc3339(self.heartbeat_at),
            "agent_version": self.version,
            "tool": "comfyui",
            "tool_version": "0.3.13",
            "comfyui_version": "0.3.13",
            "gpu_capacity": len(self.jobs),
            "running_count": len(running),
            "running_tasks": running,
            "platform_arch": "linux/amd64",
            "connected_at": rfc3339(self.connected_at),
            "tasks_completed": self.completed,
        }
        if running:
            agent["current_task_id"] = running[0]
        if self.sync is not None:
            agent |= {"sync_phase": self.sync.phase, "sync_detail": self.sync.detail, "sync_percent": self.sync.percent}
            return agent  # as on the platform, a syncing agent runs no tool that could report its GPUs
        return agent | {"system_stats": self._stats()}

    def _stats(self) -> Item:
        return {
            "comfyui_version": "0.3.13",
            "pytorch_version": "2.5.1+cu124",
            "os_type": "posix",
            "gpu_devices": [
                {
                    "device_name": self.card.name,
                    "device_type": "cuda",
                    "vram_total": self.card.vram,
                    "vram_free": int(self.card.vram * (1 - use)),
                }
                for use in self.use
            ],
        }


def build(random: Random, team: str, number: int, now: float) -> Machine:
    """A machine of 1 to 5 equal cards; the first of a team has large ones, so that every usual task fits somewhere."""
    card = CARDS[0] if number == 1 else random.choice(CARDS)
    gpus = random.choice((1, 1, 2, 2, 3, 4, 5))
    labels = ["gpu", card.label, "comfyui", random.choice(("eu-west", "us-east"))]
    labels += ["video"] * (card.vram >= _ROOMY) + ["training"] * (card.vram >= _LARGE)
    return Machine(
        agent_id=f"{team}-gpu-{number:02}",
        card=card,
        labels=tuple(labels),
        version=random.choice(("0.1.3", "0.1.3", "0.1.4")),
        connected_at=now - random.uniform(0, 86400),
        jobs=[None] * gpus,
        use=[random.uniform(0.02, 0.06) for _ in range(gpus)],
        completed=random.randrange(400),
        heartbeat_at=now,
    )
