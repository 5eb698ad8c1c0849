"""What rendering agents as text costs, compared with the client library's `generate_latest` on the same samples."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from rig import GPUS, Naive, report

from exporter.demo import SimulatedPlatform
from exporter.expose import families
from exporter.expose.series_store import compress_families
from exporter.expose.text import Samples, header
from exporter.fleet.agents import Agent, read_agents
from exporter.platform import wire

AGENTS = 1000
ROUNDS = 5


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """CPU seconds of the fastest of several calls."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def pages() -> list[bytes]:
    """The platform's answers for the fleet."""
    team = SimulatedPlatform().add_team("bench")
    team.add_agents(AGENTS, gpus=GPUS)
    meta = {"current_page": 1, "per_page": wire.PER_PAGE, "total_count": AGENTS}
    starts = range(0, AGENTS, wire.PER_PAGE)
    items = [team.agents().cut(start, wire.PER_PAGE) for start in starts]
    return [json.dumps({"agent_list": page, "page_meta": meta}).encode() for page in items]


def rendered(agents: list[Agent]) -> Samples:
    """All samples of the agents, added page by page as in a poll."""
    samples = Samples()
    for start in range(0, len(agents), wire.PER_PAGE):
        families.add_agents(samples, "bench", agents[start : start + wire.PER_PAGE], with_labels=False)
    return samples


def main() -> None:
    """Prints a line for each step."""
    agents = [agent for body in pages() for agent in read_agents(wire.decode_agents(body, 1), Counter())]
    samples = rendered(agents)
    text = b"".join(header(metric, openmetrics=False) + lines for metric, lines in samples.families()).decode()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Naive(text))
    ours = best(lambda: list(rendered(agents).families()))
    steps = {
        "to text": ours,
        "compress": best(lambda: compress_families(samples)),
        "generate_latest, text": best(lambda: generate_latest(registry), 2),
        "generate_latest, OpenMetrics": best(lambda: openmetrics.generate_latest(registry), 2),  # type: ignore[no-untyped-call]  # theirs has no types
    }
    report(
        "render_cost",
        [
            {"step": step, "us per agent": seconds / AGENTS * 1e6, "against to text": seconds / ours}
            for step, seconds in steps.items()
        ],
    )


if __name__ == "__main__":
    main()
