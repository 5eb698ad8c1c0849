"""The commands: arguments, wiring, exit codes."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from exporter import log
from exporter.cli import arguments, check, demo, health, online, serve
from exporter.cli.arguments import Arguments
from exporter.config import Settings, load, load_web
from exporter.demo import FaultError
from exporter.errors import ConfigError
from exporter.expose.reference import markdown

FINE, FAILED, BAD_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 fine, 1 failed while running, 2 bad usage or configuration.
    """
    given = arguments.parse(sys.argv[1:] if argv is None else argv)
    try:
        # A broken pipe is how `once | head` ends.
        with suppress(BrokenPipeError, KeyboardInterrupt):
            return _run(given)
    except ConfigError as error:
        print(*error.mistakes, sep="\n", file=sys.stderr)
        return BAD_USAGE
    except FaultError as error:
        print(f"flag --faults: {error}", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"cyberun-exporter: {error}", file=sys.stderr)
    return FAILED


def _run(given: Arguments) -> int:
    if given.command == "metrics":
        print(markdown(), end="")
        return FINE
    if given.command == "simulate":
        return asyncio.run(demo.simulate(given))
    if given.command == "demo":
        return asyncio.run(demo.demo(given))
    if given.command == "health":
        return health.health(load_web(given.config_file, os.environ, given.overrides))
    settings = load(given.config_file, os.environ, given.overrides)
    log.configure(settings.log.level, settings.log.format)
    return _run_configured(given, settings)


def _run_configured(given: Arguments, settings: Settings) -> int:
    match given.command:
        case "check":
            check.check(settings, os.environ, given.shard)
            return asyncio.run(online.online(settings, os.environ, given.shard)) if given.online else FINE
        case "once":
            return asyncio.run(serve.once(settings, os.environ, given.shard))
        case _:

            def reload() -> Settings:
                return load(given.config_file, os.environ, given.overrides)

            return asyncio.run(serve.serve(settings, os.environ, given.shard, reload))
