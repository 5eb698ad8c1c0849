"""`demo` and `simulate`: the exporter, or nothing, on a simulated platform."""

from exporter import log
from exporter.cli.arguments import Arguments, Simulation
from exporter.cli.serve import serve, stop_signal
from exporter.cli.wiring import Shard
from exporter.config import ListenAddress, Settings, load
from exporter.demo import SimulatedPlatform, demo_platform
from exporter.errors import ConfigError

DEMO_ADDRESS = "127.0.0.1:10042"
SIMULATE_ADDRESS = "127.0.0.1:10043"


def _platform(simulation: Simulation | None) -> SimulatedPlatform:
    chosen = simulation or Simulation(3, 36, 0, "")
    return demo_platform(teams=chosen.teams, agents=chosen.agents, seed=chosen.seed, faults=chosen.faults)


async def demo(given: Arguments) -> int:
    """Serve a simulated platform on loopback and the exporter on it, until SIGTERM or SIGINT."""
    platform = _platform(given.simulation)
    async with platform.serve() as base_url:
        environ = {_variable(i): team.token for i, team in enumerate(platform.teams.values())}
        settings = _settings(given, platform, base_url)
        log.configure(settings.log.level, settings.log.format)
        address = settings.web.listen_address
        print(f"Simulated fleet: http://{address.host or '127.0.0.1'}:{address.port}/", flush=True)
        return await serve(settings, environ, Shard())


def _settings(given: Arguments, platform: SimulatedPlatform, base_url: str) -> Settings:
    teams = [
        {"name": team.name, "team_id": team.team_id, "token_env": _variable(i)}
        for i, team in enumerate(platform.teams.values())
    ]
    web = {"listen_address": DEMO_ADDRESS, **given.overrides.get("web", {})}
    overrides = {
        "api": {"base_url": base_url, "max_requests_per_second": 100},
        "collect": {"interval": "5s", "stale_after": "30s", "agent_memory": "10m"},
        "teams": teams,
        **given.overrides,
        "web": web,
    }
    return load(None, {}, overrides)


def _variable(number: int) -> str:
    return f"DEMO_TOKEN_{number}"


def _simulator_address(given: Arguments) -> ListenAddress:
    found = given.overrides.get("web", {}).get("listen_address", SIMULATE_ADDRESS)
    try:
        return ListenAddress.parse(found)
    except ValueError:
        raise ConfigError(
            [f"flag --web.listen-address: found {found!r}; allowed: a host and port, as :10043"]
        ) from None


async def simulate(given: Arguments) -> int:
    """Serve the simulated platform alone, until SIGTERM or SIGINT."""
    platform = _platform(given.simulation)
    address = _simulator_address(given)
    async with stop_signal() as stop, platform.serve(host=address.host or "0.0.0.0", port=address.port) as base_url:  # noqa: S104  asked for
        print(base_url)
        for team in platform.teams.values():
            print(f"{team.name}  {team.kind}  {team.team_id}  {team.token}")
        print(end="", flush=True)
        await stop.wait()
    return 0
