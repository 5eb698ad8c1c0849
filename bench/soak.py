"""A soak test: faults on and off, teams and agents that come and go, reloads, scrapes of every kind.

The platform misbehaves, and so does the wire: a relay cuts answers into chunks of a byte, breaks them or sends them
twice. Nobody reads the log. One team is always there: its requests are counted on both sides.

The exporter's memory, asyncio tasks and file descriptors are sampled every second. The same things happen in the calm
phases at the start and at the end, so these can be compared: the goal is no growth. The slope is that of all samples
between them. The only argument is the number of seconds between them, 60 by default.
"""

import asyncio
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent))
import aiohttp
import yaml
from rig import report
from rig.process import Sample, doing, sample, slope
from rig.servers import free_port, get
from rig.wire_faults import PLATFORM_FAULTS, Relay

from exporter import log
from exporter.cli.serve import serve
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.demo import FleetLife, SimulatedPlatform
from exporter.demo.access import User
from exporter.service.shard import Shard

TEAMS = 6
"""Teams that always exist; as many more come and go."""
AGENTS = 400
CALM = 15.0
"""Seconds of each calm phase, at the start and at the end: no faults, the same teams."""
WARM = 60.0
"""Seconds of trouble before the first calm phase, so that each of the worst answers has come once."""
LIFETIME = 20.0
"""Seconds of a JWT."""
MORE_MEMORY = 0.10
MORE = 5
"""Growth that still counts as flat: as a fraction of the memory; as a number of tasks or descriptors."""
REQUESTS = 'cyberun_exporter_api_requests_total{team_name="team-0"'
PATHS = ("/r/tasks", "/r/agents", "/agents", "/users/me", "/auth/refresh", "*")


def _export(config: str, tasks: Connection, stderr: Connection) -> None:
    """The real exporter, in a process that also reports how many tasks its loop has. Nobody reads its log."""
    os.dup2(stderr.fileno(), 2)

    def read() -> Settings:
        return load(Path(config), {})

    async def count() -> None:
        while True:
            tasks.send(len(asyncio.all_tasks()))
            await asyncio.sleep(1)

    async def main() -> None:
        counting = asyncio.create_task(count())
        log.configure("info", "logfmt")
        await serve(read(), {}, Shard(), read)
        counting.cancel()

    asyncio.run(main())


@dataclass(slots=True)
class Rig:
    """Everything the test works with. Mutable."""

    platform: SimulatedPlatform
    operator: User
    """Whose teams are discovered."""
    relay: Relay
    folder: Path
    base_url: str
    pid: int = 0
    port: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  repeatable on purpose
    scrapes: int = 0
    reloads: int = 0

    def write_config(self, *, teams: int, interval: str = "1s") -> None:
        """Configure the first teams by their keys, and the user's by discovery."""
        configured = [
            {"name": name, "token_file": f"{name}.key", "interval": interval}
            for name in list(self.platform.teams)[:teams]
        ]
        document = {
            "api": {"base_url": self.base_url, "max_requests_per_second": 1000, "timeout": "1s", "max_concurrency": 32},
            "collect": {"interval": "1s", "stale_after": "10s", "agent_memory": "20s", "agent_labels": True},
            "teams": configured,
            "discover": [{"refresh_token_file": "operator", "exclude": [each["name"].title() for each in configured]}],
            "log": {"level": "info"},
            "web": {"listen_address": f"127.0.0.1:{self.port}", "enable_lifecycle": True},
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    def reload(self) -> None:
        """Have it read anew."""
        os.kill(self.pid, signal.SIGHUP)
        self.reloads += 1


def _relay(url: str) -> Relay:
    return Relay(urlsplit(url).port or 0, random.Random(7))  # noqa: S311  repeatable on purpose


def _platform(folder: Path) -> SimulatedPlatform:
    platform = SimulatedPlatform(seed=7, token_lifetime=LIFETIME)
    for number in range(2 * TEAMS):
        name = f"team-{number}"
        team = platform.add_team(name, quotas={"gpus": 8, "tasks": -1})
        (folder / f"{name}.key").write_text(team.token, encoding="utf-8")
        (folder / f"{name}.key").chmod(0o600)
    platform.life = FleetLife(list(platform.teams.values()), agents=AGENTS, seed=7, start=platform.clock())
    return platform


async def _scrape(rig: Rig, session: aiohttp.ClientSession) -> None:
    """One request from a client that now and then disconnects in the middle."""
    path = rig.rng.choice(("/metrics", "/metrics", "/metrics", "/probe?team=team-1", "/", "/api/v1/status", "/nothing"))
    accept = rig.rng.choice(("text/plain", "application/openmetrics-text;version=1.0.0"))
    headers = {"Accept": accept, "Accept-Encoding": rig.rng.choice(("gzip", "identity"))}
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"http://127.0.0.1:{rig.port}{path}", headers=headers) as response:
            if rig.rng.randrange(10) == 0:
                response.close()
            else:
                await response.read()
    rig.scrapes += 1


async def _keep_scraping(rig: Rig) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            await asyncio.gather(*(_scrape(rig, session) for _ in range(5)))
            await asyncio.sleep(0.25)


async def _trouble(rig: Rig) -> None:
    """Switch faults on and off, add and remove teams and agents, reload good and bad configurations."""
    rng = rig.rng
    rig.relay.spoilt = 0.05
    while True:
        rig.platform.faults.clear()
        for _ in range(rng.randrange(4)):
            team = rng.choice(["*", *rig.platform.teams])
            with suppress(ValueError):
                fault = rng.choice(PLATFORM_FAULTS)
                times = "" if "#" in fault else f"#{rng.randrange(1, 20)}"
                rig.platform.faults.parse(f"{team}:{rng.choice(PATHS)}:{fault}{times}")
        lucky = rig.platform.teams[rng.choice(list(rig.platform.teams))]
        newcomers = lucky.add_agents(5, prefix=f"spot-{rng.randrange(10**9)}-", gpus=2)
        lucky.add_tasks(20, status="completed")
        _members(rig, rng.randrange(2 * TEAMS))
        match rng.randrange(4):
            case 0:
                rig.write_config(teams=rng.randrange(1, TEAMS), interval=rng.choice(("1s", "2s")))
            case 1:
                (rig.folder / "config.yaml").write_text("teams: [", encoding="utf-8")
            case 2:
                (rig.folder / "team-0.key").write_text(rng.choice(("", rig.platform.teams["team-0"].token)))
        rig.reload()
        await asyncio.sleep(2)
        for agent in newcomers:
            lucky.remove_agent(agent)


def _members(rig: Rig, count: int) -> None:
    """Make the user whose teams are discovered a member of the last `count` teams."""
    rig.operator.teams = list(rig.platform.teams.values())[-count:] if count else []


def _calm(rig: Rig) -> None:
    rig.platform.faults.clear()
    rig.relay.spoilt = 0.0
    _members(rig, TEAMS)
    (rig.folder / "team-0.key").write_text(rig.platform.teams["team-0"].token, encoding="utf-8")
    rig.write_config(teams=TEAMS)
    rig.reload()


async def _measure(rig: Rig, tasks: Connection, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    loop = asyncio.get_running_loop()
    until, latest = loop.time() + seconds, 0
    while loop.time() < until:
        await asyncio.sleep(1)
        while tasks.poll():
            latest = tasks.recv()
        samples.append(sample(rig.pid, loop.time(), latest))
    return samples


async def _soak(seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platform = _platform(folder)
        user = platform.access.add_user("operator", [])
        (folder / "operator").touch(mode=0o600)
        (folder / "operator").write_text(user.refresh_token, encoding="utf-8")
        async with platform.serve() as url, (relay := _relay(url)).serve() as port:
            base_url = url.replace(f":{urlsplit(url).port}", f":{port}")
            rig = Rig(platform, user, relay, folder, base_url, port=free_port())
            rig.write_config(teams=TEAMS)
            context = multiprocessing.get_context("spawn")
            here, there = context.Pipe()
            unread, stderr = context.Pipe(duplex=False)
            process = context.Process(target=_export, args=(str(folder / "config.yaml"), there, stderr))
            process.start()
            rig.pid = process.pid or 0
            try:
                flat = await _compared(rig, here, seconds)
            finally:
                process.terminate()
                await asyncio.to_thread(process.join)
        unread.close()
        print(f"exit code {process.exitcode}; {rig.scrapes} requests, {rig.reloads} reloads")
        return flat and process.exitcode == 0


async def _compared(rig: Rig, tasks: Connection, seconds: float) -> bool:
    await asyncio.sleep(3)
    async with doing(_keep_scraping(rig)):
        async with doing(_trouble(rig)):
            await _measure(rig, tasks, WARM)
        _calm(rig)
        start = (await _measure(rig, tasks, CALM))[5:]
        async with doing(_trouble(rig)):
            rough = await _measure(rig, tasks, seconds)
        _calm(rig)
        end = (await _measure(rig, tasks, CALM))[5:]
    all_counted = await _all_counted(rig)
    rows = []
    for name, what in (
        ("memory (MiB)", lambda each: each.memory),
        ("tasks", lambda each: each.tasks),
        ("descriptors", lambda each: each.descriptors),
    ):
        before, after = (statistics.median(map(what, part)) for part in (start, end))
        flat = after <= before * (1 + MORE_MEMORY) if name.startswith("memory") else after <= before + MORE
        rows.append(
            {
                "resource": name,
                "calm start": float(before),
                "calm end": float(after),
                "highest": float(max(map(what, rough))),
                "slope per hour": slope(rough, what),
                "flat": "yes" if flat else "NO",
            }
        )
    tenths = [f"{each.memory:.0f}" for each in rough[:: max(1, len(rough) // 10)]]
    print(f"memory during the trouble: {', '.join(tenths)} MiB")
    report("soak", rows)
    return all_counted and all(row["flat"] == "yes" for row in rows)


async def _all_counted(rig: Rig) -> bool:
    """Whether the exporter counted as many requests of the team that is always there as arrived."""
    key = f"Bearer {rig.platform.teams['team-0'].token}"
    for _ in range(100):  # one may be under way
        text = (await asyncio.to_thread(get, rig.port, "/metrics")).decode()
        received = rig.relay.received[key]
        counted = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(REQUESTS))
        if counted == received:
            break
        await asyncio.sleep(0.1)
    print(f"requests of team-0: {counted:.0f} counted, {received} received")
    return counted == received


def main() -> int:
    """0 if the exporter did not grow and counted every request."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print(f"{seconds:g} s of trouble")
    return 0 if asyncio.run(_soak(seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
