"""Two real Prometheus servers scrape 10,000 agents every 5 seconds: ours, and then a naive exporter of the same series.

Two, because pairs are usual; they have the same configuration, so they scrape at the same moment. Ours is the installed
program, which polls the simulated platform meanwhile. The naive one is what the client library offers: a collector
behind the library's own threaded server, which polls nothing; neither ours nor the platform runs meanwhile.
Durations are those that Prometheus reports and include its own work on the samples; only the answer has to be in time.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent))
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from rig import Fleet, Naive, names, report, simulated, started, token
from rig.servers import free_port, get, program, running

FLEET = Fleet(teams=10, agents=1_000)
INTERVAL = 5
"""Seconds between two scrapes, and the timeout of one; our exporter polls as often."""
SECONDS = 60
"""Of scrapes of each exporter."""
REPLICAS = 2
EXPORTER = Path(sys.executable).with_name("cyberun-exporter")


@contextmanager
def ours(base_url: str) -> Iterator[int]:
    """The installed exporter, once it has polled every team; yields its port."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        for team in names(FLEET):
            (folder / team).touch(mode=0o600)
            (folder / team).write_text(token(team), encoding="ascii")
        document = {
            "api": {"base_url": base_url, "max_requests_per_second": 1_000},
            "collect": {"interval": f"{INTERVAL}s", "max_agents": 100_000},
            "teams": [{"name": team, "token_file": team} for team in names(FLEET)],
            "web": {"listen_address": f"127.0.0.1:{port}"},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(document), encoding="ascii")
        with running((str(EXPORTER), "--config.file=config.yaml"), folder, port, "/-/ready"):
            yield port


def _serve_naive(exposition: str, ready: Connection) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Naive(exposition))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    ready.send(server.server_port)
    thread.join()


def scraped(prometheus: str, port: int, exporter: str) -> list[dict[str, object]]:
    """Let both Prometheus servers scrape this port for a while; returns a line for each."""
    with ExitStack() as stack:
        replicas = []
        for _ in range(REPLICAS):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            replicas.append(stack.enter_context(_prometheus(prometheus, folder, port)))
        time.sleep(SECONDS)
        return [_row(exporter, number, replica) for number, replica in enumerate(replicas, start=1)]


@contextmanager
def _prometheus(path: str, folder: Path, target: int) -> Iterator[int]:
    document = {
        "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s"},
        "scrape_configs": [{"job_name": "cyberun", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document), encoding="ascii")
    port = free_port()
    command = (
        path,
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(command, folder, port, "/-/ready"):
        yield port


def _row(exporter: str, number: int, port: int) -> dict[str, object]:
    up, took = _samples(port, "up"), _samples(port, "scrape_duration_seconds")
    return {
        "exporter": exporter,
        "Prometheus": number,
        "scrapes": len(up),
        "fraction up": statistics.mean(up),
        # The first one makes every series anew in Prometheus. That takes it seconds, in which it skips scrapes.
        "first s": took[0],
        "median s": statistics.median(took),
        "longest later s": max(took[1:]),
        "samples": int(max(_samples(port, "scrape_samples_scraped"))),
    }


def _samples(port: int, metric: str) -> list[float]:
    """What a Prometheus recorded about each scrape."""
    query = urlencode({"query": f"{metric}[{2 * SECONDS}s]"})
    [series] = json.loads(get(port, f"/api/v1/query?{query}"))["data"]["result"]
    return [float(value) for _, value in series["values"]]


def main() -> None:
    """Prints a line for each exporter and Prometheus."""
    prometheus = program("prometheus")
    if prometheus is None:
        return
    with simulated(FLEET) as base_url, ours(base_url) as port:
        exposition = get(port, "/metrics").decode()
        rows = scraped(prometheus, port, "ours")
    with started(_serve_naive, exposition) as port:
        rows += scraped(prometheus, port, "naive")
    report("two_prometheus", rows)


if __name__ == "__main__":
    main()
