"""A hundred teams of a hundred agents, polled at once: whether hanging teams delay the others.

The baseline is the same poll without hanging teams. The simulated platform runs in another process of this machine, so
its own CPU time is the latency; poll_cycle.py compares a poll of everything with what network and CPU allow.
"""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rig import Fleet, exporting, names, report, simulated, watched
from rig.polls import traffic

from exporter.cli.serve import freeze_startup_objects
from exporter.service.exporter import Exporter

HEALTHY = Fleet(teams=100, agents=100)
HANGING = ",".join(f"{name}:*:hang" for name in names(HEALTHY)[::10])
CONCURRENCY = 32
TIMEOUT = "2s"
CYCLES = 3


async def cycle(exporter: Exporter, teams: list[str]) -> float:
    """Seconds until the last of `teams` is polled, while all teams are."""
    began = time.perf_counter()
    polls = {name: asyncio.create_task(_poll(exporter, name)) for name in names(HEALTHY)}
    await asyncio.gather(*(polls[name] for name in teams))
    took = time.perf_counter() - began
    await asyncio.gather(*polls.values())
    return took


async def _poll(exporter: Exporter, name: str) -> None:
    team = exporter.team(name)
    if team is None:
        raise LookupError(name)
    await team.poll()


async def _measure(base_url: str, teams: list[str]) -> dict[str, float | int]:
    best: dict[str, float | int] = {}
    async with exporting(base_url, HEALTHY, max_concurrency=CONCURRENCY, timeout=TIMEOUT) as exporter:
        await cycle(exporter, teams)  # opens connections, and learns who hangs
        freeze_startup_objects()
        for _ in range(CYCLES):
            cpu = time.process_time()
            with watched() as longest, traffic() as sent:
                took = await cycle(exporter, teams)
            row = {
                "last healthy team s": took,
                "requests": len(sent.requests),
                "our CPU s": time.process_time() - cpu,
                "longest step, CPU ms": longest.cpu * 1e3,
                "longest GC ms": longest.collection * 1e3,
            }
            if not best or took < best["last healthy team s"]:
                best = row
    return best


def main() -> None:
    """Prints a line for an undisturbed poll, and one with ten teams hanging."""
    everyone = names(HEALTHY)
    with simulated(HEALTHY) as base_url:
        quiet = asyncio.run(_measure(base_url, everyone))
    with simulated(Fleet(HEALTHY.teams, HEALTHY.agents, HEALTHY.tasks, HANGING)) as base_url:
        disturbed = asyncio.run(_measure(base_url, [name for name in everyone if name not in everyone[::10]]))
    times = quiet["last healthy team s"], disturbed["last healthy team s"]
    rows = [
        {"teams": "100", **quiet, "ratio": 1.0},
        {"teams": "100, 10 hang", **disturbed, "ratio": times[1] / times[0]},
    ]
    report("many_teams", rows)


if __name__ == "__main__":
    main()
