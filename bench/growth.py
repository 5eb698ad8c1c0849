"""How polls, scrapes and memory grow with agents and teams, over TCP: the cost per agent or team must not rise.

The baseline of each line is the one above it: with ten times the agents or teams, a poll should take ten times as
long, and no step of the event loop should get longer. A full garbage collection is such a step: it walks everything
that is kept of each team between polls. Each fleet has its own process, so that its memory is measured alone.
Everything is polled at once, twice; the second poll is measured, with its connections open. The simulated platform
shares the machine and is the slower of the two when there are many teams, so CPU time says more than the seconds of
a poll.
"""

import asyncio
import gc
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rig import Fleet, exporting, report, resident, simulated, watched
from rig.polls import platform_process, traffic
from rig.servers import cpu_of

from exporter.cli.serve import freeze_startup_objects
from exporter.service.exporter import Exporter

FEW = 5
"""Tasks in each status: few, because they cost the same for any number of agents."""
BY_AGENTS = tuple(Fleet(teams, agents, FEW) for teams, agents in ((1, 100), (1, 1_000), (1, 10_000), (50, 1_000)))
BY_TEAMS = tuple(Fleet(teams, 10, FEW) for teams in (1, 10, 100, 1_000, 2_000))
CONCURRENCY = 32


async def scrape(exporter: Exporter) -> tuple[float, int, int]:
    """CPU seconds of one scrape (without sending it), the bytes of its text, and its bytes as gzip."""
    began = time.process_time()
    answer = await exporter.scrape(openmetrics=True)
    return time.process_time() - began, answer.text_length, sum(map(len, answer.gzip))


async def _measure(base_url: str, fleet: Fleet, platform: int) -> dict[str, object]:
    async with exporting(base_url, fleet, max_concurrency=CONCURRENCY) as exporter:
        freeze_startup_objects()
        with traffic(keep=False) as first:
            await exporter.once()
        await scrape(exporter)
        with traffic(keep=False) as warm, watched() as longest:
            began, cpu, theirs = time.perf_counter(), time.process_time(), cpu_of(platform)
            await exporter.once()
            took, cpu, theirs = time.perf_counter() - began, time.process_time() - cpu, cpu_of(platform) - theirs
            joining, text, packed = await scrape(exporter)
            again, _, _ = await scrape(exporter)
        began = time.thread_time()
        gc.collect()
        collection = time.thread_time() - began
        if not all(team.up for team in exporter.status().teams):
            raise RuntimeError("a poll failed, so its numbers mean nothing")
        return {
            "teams": fleet.teams,
            "agents": fleet.teams * fleet.agents,
            "text MB": text / 1e6,
            "gzip MB": packed / 1e6,
            "poll s": took,
            "requests": warm.number,
            "CPU ms/request": cpu / warm.number * 1e3,
            "platform's CPU ms/request": theirs / warm.number * 1e3,
            "connections, first poll": first.connections,
            "connections, next poll": warm.connections,
            "longest step, CPU ms": longest.cpu * 1e3,
            "full collection, CPU ms": collection * 1e3,
            "first scrape after a poll, CPU ms": joining * 1e3,
            "next scrape, CPU ms": again * 1e3,
            "resident MB": resident() / 1e6,
        }


def measured(base_url: str, fleet: Fleet, platform: int) -> dict[str, object]:
    """The line of a fleet; must be called in its own process."""
    return asyncio.run(_measure(base_url, fleet, platform))


def main() -> None:
    """Prints a line for each fleet: first more agents, then more teams."""
    rows = []
    for fleet in (*BY_AGENTS, *BY_TEAMS):
        with simulated(fleet) as base_url:
            platform = platform_process()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                rows.append(alone.submit(measured, base_url, fleet, platform).result())
    report("growth", rows)


if __name__ == "__main__":
    main()
