"""`demo`: the exporter on a simulated platform."""

from exporter import log
from exporter.cli.arguments import Arguments, Simulation
from exporter.cli.running import run_loop
from exporter.cli.serve import serve
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.demo import FaultError, SimulatedPlatform, UnknownAssumptionError, demo_platform, reverse
from exporter.errors import ConfigError
from exporter.service.shard import Shard

ADDRESS = "127.0.0.1:10042"


def run(given: Arguments) -> int:
    """Serve a simulated platform on loopback and the exporter on it, until SIGTERM or SIGINT."""
    return run_loop(_demo(given))


def simulated_platform(chosen: Simulation) -> SimulatedPlatform:
    """The platform that the flags describe.

    Raises:
        ConfigError: there are no such faults or assumptions.
    """
    try:
        return demo_platform(
            teams=chosen.teams,
            agents=chosen.agents,
            seed=chosen.seed,
            faults=chosen.faults,
            assumed=reverse(*chosen.reversed_assumptions),
        )
    except FaultError as error:
        raise ConfigError([f"flag --faults: {error}"]) from None
    except UnknownAssumptionError as error:
        raise ConfigError([f"flag --reverse-assumption: {error}"]) from None


async def _demo(given: Arguments) -> int:
    platform = simulated_platform(given.simulation)
    async with platform.serve() as base_url:
        environ = {_variable(i): team.token for i, team in enumerate(platform.teams.values())}
        settings = _settings(given, platform, base_url)
        log.configure(settings.log.level, settings.log.format)
        address = settings.web.listen_address[0]
        url = f"http://{address.host or '127.0.0.1'}:{address.port}/"
        return await serve(settings, environ, Shard(), ready=lambda: print(f"Simulated fleet: {url}", flush=True))


def _settings(given: Arguments, platform: SimulatedPlatform, base_url: str) -> Settings:
    teams = [
        {"name": team.name, "team_id": team.team_id, "token_env": _variable(i)}
        for i, team in enumerate(platform.teams.values())
    ]
    web = {"listen_address": ADDRESS, **given.overrides.get("web", {})}
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
