"""How long polling every team once takes, compared with what network and CPU allow, and with sequential requests.

The platform answers after a fixed latency. The lower bound of a cycle is requests / concurrency x latency, or the CPU
time of our requests, whichever is more: no exporter of this design can be faster. The platform, simulated in its own
process, needs CPU time as well, which is shown. All teams are polled at once, which the schedule never does: this is
the hardest case for a cycle, because its last teams cannot fill all the concurrent places.

Whatever else runs on the machine, or on its host, makes a cycle longer. "Undisturbed" is the most it would take without
that: the CPU time of our process plus the time that its event loop waited.

The baseline is what a simple exporter does: the same requests over one session, one after the other, and `json.loads`.
The goals: a ratio of at most 1.3, no new connection when warm, and for each team and poll no more requests than three
(a page of each final status), four to eight (of each active one, and its last page), and one for each hundred agents.
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import aiohttp
from rig import Fleet, exporting, report, simulated
from rig.polls import platform_process, traffic, waiting
from rig.servers import cpu_of

from exporter.cli.serve import freeze_startup_objects
from exporter.platform.call import Call

LATENCY = 0.050
FAULT = f"*:*:latency={LATENCY * 1e3:.0f}ms"
FLEETS = (Fleet(100, 100, 150, FAULT), Fleet(100, 1, 5, FAULT))
"""One has much to read, so CPU time is the bound; the other has little, so the network is."""
CONCURRENCIES = (8, 32, 128)
CYCLES = 2
BASELINE_PART = 10
"""The baseline is measured on one request in this many, and extrapolated."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One poll of every team. Times are seconds."""

    took: float
    cpu: float
    platform_cpu: float
    waited: float
    calls: Sequence[Call]
    connections: int


async def cycles(base_url: str, fleet: Fleet, concurrency: int) -> Cycle:
    """The quickest of `CYCLES`, after one that opens the connections."""
    seen = []
    process = platform_process()
    async with exporting(base_url, fleet, max_concurrency=concurrency) as exporter:
        await exporter.once()
        freeze_startup_objects()
        for _ in range(CYCLES):
            with traffic() as sent, waiting() as waited:
                before = _clocks(process)
                await exporter.once()
                took, cpu, theirs = (now - then for now, then in zip(_clocks(process), before, strict=True))
            calls = [request.call for request in sent.requests]
            seen.append(Cycle(took, cpu, theirs, waited.seconds, calls, sent.connections))
        if not all(team.up for team in exporter.status().teams):
            raise RuntimeError("a poll failed, so its times mean nothing")
    return min(seen, key=lambda cycle: cycle.took)


def _clocks(platform: int) -> tuple[float, float, float]:
    return time.perf_counter(), time.process_time(), cpu_of(platform)


async def one_by_one(base_url: str, calls: Sequence[Call]) -> tuple[float, float]:
    """Seconds and CPU seconds of these requests, one after the other."""
    began, cpu = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession() as session:
        for call in calls:
            headers = {"Authorization": f"Bearer {call.secret.get_secret_value()}"}
            async with session.get(base_url + call.path, params=call.query, headers=headers) as answer:
                json.loads(await answer.read())
    return time.perf_counter() - began, time.process_time() - cpu


def _row(fleet: Fleet, concurrency: int, cycle: Cycle, baseline: tuple[float, float]) -> dict[str, object]:
    requests = len(cycle.calls)
    bound = max(math.ceil(requests / concurrency) * LATENCY, cycle.cpu)
    undisturbed = min(cycle.took, cycle.cpu + cycle.waited)
    alone, alone_cpu = baseline
    return {
        "agents": fleet.agents,
        "concurrency": concurrency,
        "cycle s": cycle.took,
        "bound s": bound,
        "ratio": cycle.took / bound,
        "undisturbed s": undisturbed,
        "undisturbed ratio": undisturbed / bound,
        "our CPU s": cycle.cpu,
        "platform's CPU s": cycle.platform_cpu,
        "new connections": cycle.connections,
        "requests/team": requests / fleet.teams,
        "requests/team, goal": 3 + 8 + max(1, math.ceil(fleet.agents / 100)),
        "sequential s": alone,
        "sequential / cycle": alone / cycle.took,
        "sequential CPU s": alone_cpu,
    }


def main() -> None:
    """Prints a line for each size of team and concurrency."""
    rows = []
    for fleet in FLEETS:
        with simulated(fleet) as base_url:
            found = {each: asyncio.run(cycles(base_url, fleet, each)) for each in CONCURRENCIES}
            part = found[CONCURRENCIES[0]].calls[::BASELINE_PART]
            took, cpu = asyncio.run(one_by_one(base_url, part))
            baseline = took * BASELINE_PART, cpu * BASELINE_PART
            rows += [_row(fleet, concurrency, cycle, baseline) for concurrency, cycle in found.items()]
    report("poll_cycle", rows)


if __name__ == "__main__":
    main()
