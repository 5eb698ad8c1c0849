"""`simulate`: only the simulated platform."""

from exporter.cli.arguments import Arguments
from exporter.cli.demo import simulated_platform
from exporter.cli.running import run_loop, stop_signal
from exporter.config.address import ListenAddress, parse_addresses
from exporter.errors import ConfigError

ADDRESS = "127.0.0.1:10043"


def run(given: Arguments) -> int:
    """Serve the simulated platform until SIGTERM or SIGINT."""
    return run_loop(_simulate(given))


async def _simulate(given: Arguments) -> int:
    platform = simulated_platform(given.simulation)
    address = _address(given)
    async with stop_signal() as stop, platform.serve(host=address.host or "0.0.0.0", port=address.port) as base_url:  # noqa: S104  :PORT means all
        print(base_url)
        for team in platform.teams.values():
            print(f"{team.name}  {team.kind}  {team.team_id}  {team.token}")
        print(end="", flush=True)
        await stop.wait()
    return 0


def _address(given: Arguments) -> ListenAddress:
    found = given.overrides.get("web", {}).get("listen_address", ADDRESS)
    try:
        (address,) = parse_addresses(found)
    except ValueError:
        raise ConfigError(
            [f"flag --web.listen-address: found {found!r}; allowed: one host and port, such as :10043"]
        ) from None
    return address
