"""The modules that a command loads, seen in a process of its own."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from exporter.cli.arguments import COMMANDS

pytestmark = pytest.mark.loopback

LIBRARIES = ("aiohttp", "pydantic", "prometheus_client", "isal", "bcrypt", "yaml", "asyncio")
CALL = """
import sys
from exporter.cli import main
try:
    main({argv})
except SystemExit:
    pass
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


class Healthy(BaseHTTPRequestHandler):
    """Answers 200 to anything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def loaded(*argv: str) -> set[str]:
    """The modules that this call loads."""
    call = [sys.executable, "-c", CALL.format(argv=list(argv))]
    return set(subprocess.run(call, capture_output=True, text=True, check=True).stderr.split())


@pytest.mark.parametrize(
    "argv",
    [("health", "--web.listen-address=127.0.0.1:1"), ("--version",), ("--help",), ("check", "--help")],
    ids=" ".join,
)
def test_small_commands_load_no_library(argv: tuple[str, ...]) -> None:
    """A health check, which runs every few seconds next to GPU work, and help load no libraries."""
    assert loaded(*argv).isdisjoint(LIBRARIES)


def test_a_health_check_loads_nothing_that_takes_long() -> None:
    """A health check loads none of these slow modules; TLS only if the server does not speak plain HTTP."""
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        found = loaded("health", f"--web.listen-address=127.0.0.1:{server.server_port}")
        thread.join()
    assert "exporter.cli.health" in found
    own = {"dataclasses"} if sys.version_info[:2] == (3, 14) else set()  # argparse of that version loads them itself
    assert (found - own).isdisjoint({"importlib.metadata", "dataclasses", "ssl", "email", "hashlib"})


def test_serving_loads_what_it_uses() -> None:
    """`serve` loads neither the simulated platform nor, without need, the web configuration or error explanations."""
    found = loaded("serve", "--config.file=/nowhere")
    assert "exporter.web.app" in found
    assert not [name for name in found if name.startswith("exporter.demo")]
    assert found.isdisjoint({"exporter.web.access", "exporter.config.webfile", "bcrypt", "difflib"})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_module(command: str) -> None:
    """It has a function `run`."""
    call = [sys.executable, "-c", f"from exporter.cli.{command} import run"]
    subprocess.run(call, check=True)
