"""What a scrape costs the server, compared with the cheapest one: nginx serving the same bytes as static files.

nginx computes nothing and decides nothing, so its CPU time is that of the way through the kernel: with sendfile, which
hands over pages of the page cache without a copy, and without it, reading and writing as most programs do.
An answer without gzip is decompressed as a stream at every scrape; the cost of that alone is measured separately and
subtracted before the ratios are formed. The client, in another process, discards what it reads.
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

from exporter.cli.serve import freeze_startup_objects
from exporter.service.exporter import Exporter
from exporter.web.app import make_app
from exporter.web.serve import listening

FLEETS = (Fleet(1, 380), Fleet(2, 1_900), Fleet(10, 1_900))
"""About 1, 10 and 50 MB of text."""
ROUNDS = 3
"""The median of these is what counts. Each server has one turn in each round."""
SECONDS = 1.0
"""How long a turn lasts: several dozen ticks of the clock that counts nginx's CPU time."""
DECOMPRESSIONS = 10
RECEIVE = 1024 * 1024
"""The most bytes the client receives at once."""
NGINX = """
daemon off;
# A single process, which is also the worker.
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000;
  default_type text/plain;
  map $uri $coding {{ ~/gzip$ gzip; }}
  server {{
    listen 127.0.0.1:{port};
    add_header Content-Encoding $coding;
    location /sendfile/ {{ sendfile on; alias {folder}/; }}
    location /copy/ {{ sendfile off; output_buffers 2 256k; alias {folder}/; }}
  }}
}}
"""


def scrapes(port: int, path: str, coding: str) -> list[float]:
    """Scrapes over one connection until the turn is over; returns the seconds each took."""
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
    """Read the headers; returns how many bytes of the body are still to come."""
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


async def turn(client: Pool, coding: str, port: int, path: str, cpu: Callable[[], float]) -> Turn:
    """Scrape for a while; `cpu` returns the server's CPU time so far."""
    ask = partial(client.apply, scrapes, (port, path, coding))
    began = cpu()
    took = await asyncio.get_running_loop().run_in_executor(None, ask)
    return Turn((cpu() - began) / len(took), statistics.median(took))


async def decompression(exporter: Exporter) -> float:
    """Seconds of CPU time to decompress one answer, without sending it."""
    answer = await exporter.scrape(openmetrics=False)
    began = time.process_time()
    for _ in range(DECOMPRESSIONS):
        deque(answer.text(), maxlen=0)
    return (time.process_time() - began) / DECOMPRESSIONS


async def _measure(fleet: Fleet, base_url: str, nginx: str, folder: Path) -> list[dict[str, object]]:
    async with exporting(base_url, fleet) as exporter:
        await exporter.once()
        freeze_startup_objects()
        answer = await exporter.scrape(openmetrics=False)
        (folder / "gzip").write_bytes(b"".join(answer.gzip))
        (folder / "identity").write_bytes(b"".join(answer.text()))
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder), encoding="ascii")
        command = (nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")
        with (
            multiprocessing.get_context("spawn").Pool(1) as client,
            running(command, folder, port, "/copy/gzip") as pid,
        ):
            async with listening(make_app(exporter), ("127.0.0.1", 0)) as ((_, ours),):
                rows = []
                for coding in ("gzip", "identity"):
                    row = {
                        "agents": fleet.teams * fleet.agents,
                        "coding": coding,
                        "body MB": (folder / coding).stat().st_size / 1e6,
                    }
                    servers = (
                        (ours, "/metrics", time.process_time),
                        (port, f"/sendfile/{coding}", partial(cpu_of, pid)),
                        (port, f"/copy/{coding}", partial(cpu_of, pid)),
                    )
                    turns = [[await turn(client, coding, *server) for server in servers] for _ in range(ROUNDS)]
                    mine, sendfile, copy = map(median, zip(*turns, strict=True))
                    plain = await decompression(exporter) if coding == "identity" else 0.0
                    rows.append(row | _costs(mine, sendfile, copy, plain))
                return rows


def median(turns: Sequence[Turn]) -> Turn:
    """The median of each number."""
    return Turn(statistics.median(each.cpu for each in turns), statistics.median(each.wall for each in turns))


def _costs(ours: Turn, sendfile: Turn, copy: Turn, plain: float) -> dict[str, object]:
    return {
        "ours CPU ms": ours.cpu * 1e3,
        "decompression CPU ms": plain * 1e3,
        "sendfile CPU ms": sendfile.cpu * 1e3,
        "copy CPU ms": copy.cpu * 1e3,
        "ours / sendfile": (ours.cpu - plain) / sendfile.cpu,
        "ours / copy": (ours.cpu - plain) / copy.cpu,
        "ours wall ms": ours.wall * 1e3,
        "sendfile wall ms": sendfile.wall * 1e3,
        "copy wall ms": copy.wall * 1e3,
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
