"""What a scrape costs the server beside the cheapest one there is: nginx serving the same bytes as static files.

nginx neither makes the lines about itself nor decides anything, so its CPU time is the floor: the way of the bytes
through the kernel. An answer without gzip is decompressed as a stream at every scrape; what that alone costs is
measured beside and taken off before the ratio is formed. The client, in another process, throws away what it reads.
"""

import asyncio
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rig import Fleet, exporting, report, simulated
from rig.servers import cpu_of, free_port, program, running

from exporter.cli.serve import settle
from exporter.collect.exporter import Exporter
from exporter.web.app import make_app
from exporter.web.serve import listening

FLEETS = (Fleet(1, 380), Fleet(2, 1_900), Fleet(10, 1_900))
"""About 1, 10 and 50 MB of text."""
ROUNDS = 5
"""The median of these counts. In each both servers have their turn."""
SECONDS = 1.0
"""Of scrapes in a turn: some hundred steps of the clock that counts nginx's CPU time."""
RECEIVE = 1024 * 1024
"""Bytes the client takes at most at once."""
NGINX = """
daemon off;
# One process is its own only worker.
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
    location = /identity {{ alias {folder}/identity; }}
    location = /gzip {{ add_header Content-Encoding gzip; alias {folder}/gzip; }}
  }}
}}
"""


def scrapes(port: int, path: str, coding: str) -> list[float]:
    """Scrapes over one connection until the turn is over; gives the seconds each took."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: {coding}\r\n\r\n".encode()
    took: list[float] = []
    buffer = bytearray(RECEIVE)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        until = time.perf_counter() + SECONDS
        while not took or time.perf_counter() < until:
            began = time.perf_counter()
            connection.sendall(request)
            left = _after_headers(connection, buffer)
            while left:
                left -= connection.recv_into(buffer, min(left, RECEIVE))
            took.append(time.perf_counter() - began)
    return took


def _after_headers(connection: socket.socket, buffer: bytearray) -> int:
    """Read the headers; gives the bytes of the body that are still to come."""
    headers, end = b"", -1
    while end < 0:
        headers += buffer[: connection.recv_into(buffer)]
        end = headers.find(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in headers[:end].lower().split(b"\r\n")[1:])
    return int(fields[b"content-length"]) - (len(headers) - end - 4)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one scrape of a server cost, in seconds."""

    cpu: float
    wall: float
    """As the client sees it; the median."""


async def turn(client: Pool, port: int, path: str, coding: str, cpu: Callable[[], float]) -> Turn:
    """Scrape for a while; `cpu` tells the server's CPU time so far."""
    ask = partial(client.apply, scrapes, (port, path, coding))
    began = cpu()
    took = await asyncio.get_running_loop().run_in_executor(None, ask)
    return Turn((cpu() - began) / len(took), statistics.median(took))


def decompression(exporter: Exporter) -> float:
    """Seconds of CPU time to decompress one answer, without sending it."""
    answer = exporter.exposition(openmetrics=False)
    began = time.process_time()
    deque(answer.text(), maxlen=0)
    return time.process_time() - began


async def _measure(fleet: Fleet, base_url: str, nginx: str, folder: Path) -> list[dict[str, object]]:
    async with exporting(base_url, fleet) as exporter:
        await exporter.once()
        settle()
        answer = exporter.exposition(openmetrics=False)
        (folder / "gzip").write_bytes(b"".join(answer.gzip))
        (folder / "identity").write_bytes(b"".join(answer.text()))
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder), encoding="ascii")
        command = (nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")
        with (
            multiprocessing.get_context("spawn").Pool(1) as client,
            running(command, folder, port, "/gzip") as pid,
        ):
            async with listening(make_app(exporter), "127.0.0.1", 0) as (ours,):
                rows = []
                for coding in ("gzip", "identity"):
                    mine, static, plain = [], [], []
                    for _ in range(ROUNDS):
                        mine.append(await turn(client, ours, "/metrics", coding, time.process_time))
                        static.append(await turn(client, port, f"/{coding}", coding, partial(cpu_of, pid)))
                        plain.append(decompression(exporter) if coding == "identity" else 0.0)
                    size = (folder / coding).stat().st_size
                    rows.append(_row(fleet, coding, size, mine, static, statistics.median(plain)))
                return rows


def _row(
    fleet: Fleet, coding: str, size: int, mine: Sequence[Turn], static: Sequence[Turn], plain: float
) -> dict[str, object]:
    ours, theirs = (statistics.median(each.cpu for each in turns) for turns in (mine, static))
    return {
        "agents": fleet.teams * fleet.agents,
        "coding": coding,
        "body MB": size / 1e6,
        "ours CPU ms": ours * 1e3,
        "of it decompressing": plain * 1e3,
        "nginx CPU ms": theirs * 1e3,
        "CPU ratio": (ours - plain) / theirs,
        "ours wall ms": statistics.median(each.wall for each in mine) * 1e3,
        "nginx wall ms": statistics.median(each.wall for each in static) * 1e3,
    }


def main() -> None:
    """Prints a line for each size and coding."""
    nginx = program("nginx")
    if nginx is None:
        return
    rows = []
    for fleet in FLEETS:
        with simulated(fleet) as base_url, tempfile.TemporaryDirectory() as folder:
            rows += asyncio.run(_measure(fleet, base_url, nginx, Path(folder)))
    report("static_file", rows)


if __name__ == "__main__":
    main()
