"""The commands: arguments, exit codes and output.

Each command is a module of the same name with a function `run`. It is loaded only when it is called, so a health check
does not load the server.
"""

import gc
import io
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from exporter.cli import arguments
from exporter.errors import ConfigError
from exporter.redact import redact

FAILED, BAD_USAGE = 1, 2
PRINTING = ("check", "metrics", "once", "simulate")
"""Commands whose purpose is to print something: without standard output they fail."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 for a failure while running, 2 for bad usage or configuration.
    """
    given = arguments.parse(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal cannot show
    elif sys.stdout is None and given.command in PRINTING:  # started with `>&-`
        print("cyberun-exporter: standard output is closed", file=sys.stderr)
        return FAILED
    if given.command in ("serve", "demo"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing to reload yet, and it must not end the process
    try:
        # `once | head` ends with a broken pipe.
        with suppress(BrokenPipeError, KeyboardInterrupt):
            code: int = _loaded(given.command).run(given)
            return code
    except ConfigError as error:
        print(*map(redact, error.mistakes), sep="\n", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"cyberun-exporter: {redact(str(error))}", file=sys.stderr)
    return FAILED


def _loaded(command: str) -> Any:
    """The command's module, loaded without the garbage collections that would take a tenth of the start."""
    gc.disable()
    try:
        return import_module(f"exporter.cli.{command}")
    finally:
        gc.freeze()
        gc.enable()
