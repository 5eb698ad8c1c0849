"""The command line. Flags are named as in the official exporters; credentials are never flags.

Values that a health check needs are named tuples, because importing `dataclasses` takes as long as all the rest.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

import exporter
from exporter.redact import redact
from exporter.service.shard import Shard

LARGEST: Final = 100_000
"""Largest number that a flag accepts, to catch typing errors."""
COMMANDS: Final = {
    "serve": "poll and serve (the default)",
    "check": "validate the configuration and credentials, print a summary",
    "once": "poll every team once, print the exposition",
    "demo": "serve the metrics of a simulated platform",
    "simulate": "serve only the simulated platform",
    "health": "ask the running exporter whether it is healthy",
    "metrics": "print the metric reference",
}


class Simulation(NamedTuple):
    """The simulated platform's size and behaviour."""

    teams: int = 3
    agents: int = 36
    seed: int = 0
    faults: str = ""
    reversed_assumptions: tuple[str, ...] = ()


class Arguments(NamedTuple):
    """One command and its flags."""

    command: str
    config_file: Path | None = None
    overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Settings given as flags: section, key, value."""
    simulation: Simulation = Simulation()
    shard: Shard = Shard()
    online: bool = False
    """Whether `check` also asks the platform."""


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line; usage mistakes end the process with 2, --help and --version with 0."""
    command, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("serve", argv)
    if command not in COMMANDS:
        parser_of("").error(f"no command {command!r}; allowed: {', '.join(COMMANDS)}")
    found, unknown = parser_of(command).parse_known_args(flags)
    if unknown:
        late = flags is argv and not COMMANDS.keys().isdisjoint(unknown)
        hint = "; the command comes before all flags" if late else ""
        parser_of(command).error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    overrides: dict[str, dict[str, Any]] = {}
    for name, value in vars(found).items():
        section, dot, key = name.partition(".")
        if dot and section != "config" and value is not None:
            # A flag that may be repeated and is given once is a single value, as in the file.
            given = value[0] if isinstance(value, list) and len(value) == 1 else value
            overrides.setdefault(section, {})[key.replace("-", "_").replace(".", "_")] = given
    shard = _shard(parser_of(command), getattr(found, "shard", None), getattr(found, "total_shards", None))
    simulation = Simulation()
    if command in ("demo", "simulate"):
        simulation = Simulation(found.teams, found.agents, found.seed, found.faults, tuple(found.reverse_assumption))
    online = getattr(found, "online", False)
    return Arguments(command, getattr(found, "config.file", None), overrides, simulation, shard, online)


def parser_of(command: str) -> argparse.ArgumentParser:
    """The flags of one command, which docs/configuration.md lists; "" for a command line without a valid one."""
    parser = _Parser(
        prog=f"cyberun-exporter {command}".rstrip() if command != "serve" else "cyberun-exporter",
        description="Prometheus exporter for Cyberun Cloud." if command in ("", "serve") else COMMANDS[command],
        epilog=_overview() if command in ("", "serve") else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    if command in ("serve", "check", "once", "health"):
        parser.add_argument("--config.file", type=Path, metavar="FILE", help="YAML configuration")
    if command in ("serve", "check", "once"):
        parser.add_argument(
            "--shard", type=_number, metavar="N", help="which shard of the teams to poll, counted from 0 (0)"
        )
        parser.add_argument("--total-shards", type=_count, metavar="N", help="number of shards (1)")
    _add_web(parser, command)
    if command == "check":
        parser.add_argument("--online", action="store_true", help="also poll every team once and explain what is wrong")
    if command != "metrics":
        parser.add_argument("--log.level", metavar="LEVEL", help="debug, info, warn or error")
        parser.add_argument("--log.format", metavar="FORMAT", help="logfmt or json")
    if command in ("demo", "simulate"):
        _add_simulation(parser)
    return parser


def _add_web(parser: argparse.ArgumentParser, command: str) -> None:
    if command not in ("metrics", "once", "check"):
        parser.add_argument(
            "--web.listen-address",
            action="append",
            metavar="ADDRESS",
            help="host and port, such as :10042; may be repeated",
        )
    if command in ("serve", "check"):
        parser.add_argument(
            "--web.config.file", metavar="FILE", help="TLS and authentication, see docs/web-configuration.md"
        )
    if command == "serve":
        parser.add_argument(
            "--web.enable-lifecycle",
            action="store_const",
            const=True,
            help="allow POST /-/reload to reload the configuration",
        )
    if command in ("serve", "demo"):
        parser.add_argument("--web.telemetry-path", metavar="PATH", help="path of the metrics, such as /metrics")


def _shard(parser: argparse.ArgumentParser, number: int | None, total: int | None) -> Shard:
    if number is None and total not in (None, 1):
        parser.error(
            f"flag --total-shards: found {total} without --shard; allowed: both,"
            " because without --shard every process would poll the first shard"
        )
    shard = Shard(number or 0, total or 1)
    if shard.number >= shard.total:
        parser.error(f"flag --shard: found {shard.number}; allowed: below --total-shards, {shard.total}")
    return shard


class _Parser(argparse.ArgumentParser):
    """Does not print a credential that was given as a flag by mistake, because terminals and logs keep output."""

    def error(self, message: str) -> NoReturn:
        super().error(redact(message))


class _Version(argparse.Action):
    """Looks up the version only on demand, because that takes longer than a health check."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"cyberun-exporter {exporter.__version__} (Python {python})")
        parser.exit()


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--teams", type=_count, default=3, metavar="N", help="simulated teams (3)")
    parser.add_argument("--agents", type=_count, default=36, metavar="N", help="simulated agents over all teams (36)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same fleet (0)")
    parser.add_argument("--faults", default="", metavar="FAULTS", help="faults to simulate; see docs/simulator.md")
    parser.add_argument(
        "--reverse-assumption",
        action="append",
        default=[],
        metavar="NAME",
        help="behave the other way where the documentation is silent; may be repeated; see docs/simulator.md",
    )


def _count(text: str) -> int:
    return _number(text, least=1)


def _number(text: str, least: int = 0) -> int:
    if not text.isdecimal() or not least <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number from {least} to {LARGEST}")
    return int(text)


def _overview() -> str:
    return "commands:\n" + "\n".join(f"  {name:<10} {meaning}" for name, meaning in COMMANDS.items())
