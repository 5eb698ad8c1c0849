"""The platform for demonstrations: a few teams with different kinds of credentials, and an active fleet."""

import time
from collections.abc import Callable

from exporter.demo.assumptions import ASSUMED, Assumptions
from exporter.demo.life import FleetLife
from exporter.demo.platform import SimulatedPlatform

_NAMES = ("render", "research", "batch", "studio", "vfx", "archviz")
_KINDS = {"research": "device", "batch": "jwt"}
_MONTH = 30 * 86400.0
_QUOTAS = {"max_agents": 50, "max_concurrent_tasks": 200, "max_workflows": -1}


def demo_platform(
    *,
    teams: int = 3,
    agents: int = 36,
    seed: int = 0,
    faults: str = "",
    assumed: Assumptions = ASSUMED,
    clock: Callable[[], float] = time.time,
) -> SimulatedPlatform:
    """A platform whose fleet follows `clock`, with about twenty minutes of history.

    The first team has an integration key, `research` a device key, `batch` a JWT session, all others integration keys.
    The JWT lives 30 days, so that a demonstration may do without refreshing it.

    Args:
        teams: at least 1.
        agents: over all teams.
        seed: of credentials and everything that happens.
        faults: as `Faults.parse` reads it.
        assumed: how it behaves where the documentation leaves something open.
        clock: returns Unix seconds.

    Raises:
        FaultError: `faults` cannot be read.
        ValueError: the number of teams or agents is out of range.
    """
    if teams < 1 or agents < 0:
        raise ValueError(f"{teams} teams and {agents} agents; allowed: at least 1 team and 0 agents")
    platform = SimulatedPlatform(seed=seed, clock=clock, assumed=assumed, token_lifetime=_MONTH)
    for number in range(1, teams + 1):
        name = _NAMES[number - 1] if number <= len(_NAMES) else f"team-{number:02}"
        platform.add_team(name, kind=_KINDS.get(name), quotas=_QUOTAS)
    platform.faults.parse(faults)
    platform.life = FleetLife(list(platform.teams.values()), agents=agents, seed=seed, start=clock())
    return platform
