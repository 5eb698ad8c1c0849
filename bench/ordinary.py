"""What an ordinary installation costs: one process for three teams of thirty agents, polled every 15 seconds.

Most users have no more than this. Their main costs are not scrapes but the start, the resident memory, and the
repeated health check of an image. Each is compared, in the same run, with Python alone, with the libraries alone and
with a bare aiohttp server. The exporter is measured with few tasks in each of five statuses, and with a full page of
each. CPU time is user plus system time; memory is resident memory, or its peak.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import yaml
from rig import Fleet, names, report, simulated, token
from rig.servers import cpu_of, free_port, get, running

FLEETS = (Fleet(teams=3, agents=30, tasks=5), Fleet(teams=3, agents=30, tasks=100))
INTERVAL = 15
"""Seconds between two polls of a team, and between two scrapes."""
REPETITIONS = 5
SCRAPES = 8
AS_PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
    "Accept-Encoding": "gzip",
}
LIBRARIES = """
import aiohttp.web, isal.isal_zlib, prometheus_client, pydantic, yaml
pydantic.create_model("Model")
"""
"""The libraries of `serve`, and what pydantic loads with the first model."""
SCRIPT = str(Path(sys.executable).with_name("cyberun-exporter"))
BARE_SERVER = """
from aiohttp import web
async def answer(_): return web.Response()
app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, host="127.0.0.1", port={port}, print=None)
"""
MEGABYTE = 1e6


LAUNCHER = """
import os, sys
null = os.open(os.devnull, os.O_RDWR)
silent = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent), 0)[2]
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
"""
"""Starts a command from a small process: the peak memory that the system reports includes the parent's at the fork."""


def completed(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and keep what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  only commands of this script


def ended(command: list[str]) -> tuple[float, float]:
    """The median CPU seconds and the highest peak memory, in MB, of a command that ends by itself."""
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    measured = [completed(launch).stdout.split() for _ in range(REPETITIONS)]
    times = sorted(float(seconds) for seconds, _ in measured)
    return times[REPETITIONS // 2], max(int(peak) for _, peak in measured) / MEGABYTE


def resident(pid: int) -> float:
    """MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def until(done: Callable[[str], bool], port: int, started: float) -> float:
    """Seconds from `started` until the metrics are as wanted."""
    while not done(get(port, "/metrics").decode()):
        time.sleep(0.05)
    return time.monotonic() - started


def teams_up(exposition: str) -> int:
    """How many teams have fresh data from both lists."""
    return len(re.findall(r"^cyberun_up\{.*\} 1$", exposition, re.MULTILINE))


def configuration(folder: Path, fleet: Fleet, base_url: str, port: int) -> Path:
    """Write the configuration of an exporter for this fleet."""
    teams = []
    for name in names(fleet):
        (folder / name).write_text(token(name), encoding="ascii")
        (folder / name).chmod(0o600)
        teams.append({"name": name, "token_file": name})
    document = {
        "api": {"base_url": base_url},
        "collect": {"interval": f"{INTERVAL}s"},
        "web": {"listen_address": f"127.0.0.1:{port}"},
        "teams": teams,
    }
    (folder / "exporter.yaml").write_text(yaml.safe_dump(document), encoding="ascii")
    return folder / "exporter.yaml"


def serve(folder: Path, fleet: Fleet) -> dict[str, object]:
    """What the exporter of this fleet costs from its start on: when it is ready, its memory, and its CPU time then."""
    port = free_port()
    with simulated(fleet) as base_url:
        command = [SCRIPT, f"--config.file={configuration(folder, fleet, base_url, port)}"]
        started = time.monotonic()
        with running(command, folder, port, "/-/healthy") as pid:
            opened, at_first = time.monotonic() - started, resident(pid)
            first = until(lambda text: teams_up(text) > 0, port, started)
            everything = until(lambda text: teams_up(text) == fleet.teams, port, started)
            before, began = cpu_of(pid), time.monotonic()
            with closing(HTTPConnection("127.0.0.1", port)) as connection:
                for _ in range(SCRAPES):
                    time.sleep(INTERVAL)
                    connection.request("GET", "/metrics", headers=AS_PROMETHEUS)
                    connection.getresponse().read()
            return {
                "tasks of a status": fleet.tasks,
                "port after s": opened,
                "first team after s": first,
                "all teams after s": everything,
                "MB at first": at_first,
                "MB after": resident(pid),
                "CPU s a minute": (cpu_of(pid) - before) / (time.monotonic() - began) * 60,
            }


def commands(folder: Path, fleet: Fleet) -> None:
    """Report what the commands that end by themselves cost; `health` asks a running exporter."""
    port = free_port()
    config = configuration(folder, fleet, "http://127.0.0.1:9", port)
    with running([SCRIPT, f"--config.file={config}"], folder, port, "/-/healthy"):
        report("ordinary_commands", costs(config, port))


def costs(config: Path, port: int) -> list[dict[str, object]]:
    """The CPU time and peak memory of each command."""
    measured = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import aiohttp'": [sys.executable, "-c", "import aiohttp"],
        "all libraries of serve": [sys.executable, "-c", LIBRARIES],
        "--version": [SCRIPT, "--version"],
        "health": [SCRIPT, "health", f"--web.listen-address=127.0.0.1:{port}"],
        "health --config.file": [SCRIPT, "health", f"--config.file={config}"],
        "check": [SCRIPT, "check", f"--config.file={config}"],
    }
    rows: list[dict[str, object]] = []
    for name, command in measured.items():
        seconds, megabytes = ended(command)
        rows.append({"command": name, "CPU s": seconds, "MB at the peak": megabytes})
    return rows


def bare_server(folder: Path) -> None:
    """What aiohttp alone holds."""
    port = free_port()
    with running([sys.executable, "-c", BARE_SERVER.format(port=port)], folder, port, "/") as pid:
        report("ordinary_baseline", [{"a bare aiohttp server": "", "MB": resident(pid)}])


def imports() -> None:
    """The heaviest modules that serving loads, by the time of each with all that it loads first."""
    loading = [sys.executable, "-X", "importtime", "-c", "import exporter.cli.serve"]
    lines = completed(loading).stderr.splitlines()[1:]
    weights = [(int(total), name.strip()) for _, total, name in (line.split(":")[1].split("|") for line in lines)]
    heaviest = [(weight, name) for weight, name in sorted(weights, reverse=True) if "." not in name][:12]
    report("ordinary_imports", [{"module": name, "ms": weight / 1000} for weight, name in heaviest])


def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare_server(folder)
        report("ordinary_serve", [serve(folder, fleet) for fleet in FLEETS])
        commands(folder, FLEETS[0])
        imports()


if __name__ == "__main__":
    main()
