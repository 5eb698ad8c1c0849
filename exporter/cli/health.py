"""`health`: ask the exporter on this machine, for the health check of an image.

It loads nothing of the server, because an image runs it every few seconds next to GPU work.
"""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from exporter.cli.arguments import Arguments, parse
from exporter.config.address import ListenAddress, parse_addresses
from exporter.config.running import Running, find
from exporter.errors import ConfigError

TIMEOUT: Final = 5.0
"""Seconds to wait for a connection and for the response."""
PROGRAM: Final = "cyberun-exporter"
REQUEST: Final = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
MAX_LINE: Final = 1024
"""Maximum bytes read of the answer's first line."""
OK: Final = 200


def run(given: Arguments) -> int:
    """Ask the running exporter; 0 when it is healthy, else 1.

    Without flags it uses those of the running exporter, such as the ones that a container was started with.

    Raises:
        ConfigError: the flag is not an address. Asking the default one instead could find another exporter.
    """
    if (flag := given.overrides.get("web", {}).get("listen_address")) is not None:
        _refuse_mistake(flag)
    if not given.overrides.get("web") and given.config_file is None:
        others = list(running_exporters())
        given = others[0] if len(others) == 1 else given
    return health(find(given.config_file, os.environ, given.overrides))


def _refuse_mistake(flag: object) -> None:
    try:
        parse_addresses(flag)
    except ValueError:
        mistake = f"flag --web.listen-address: found {flag!r}; allowed: a host and port, such as 127.0.0.1:10042"
        raise ConfigError([mistake]) from None


def health(running: Running) -> int:
    """Ask the running exporter's health check; 0 when it is healthy, else 1.

    Both HTTP and TLS are tried, because the configuration may have changed since the exporter read it. The certificate
    is not verified, because it is not issued for the loopback address. An exporter that closes the connection because
    we have no client certificate counts as healthy: its event loop is running.
    """
    address = running.addresses[0]  # one event loop serves all addresses
    problems: list[str] = []
    for ask in (_ask_https, _ask_http) if running.tls else (_ask_http, _ask_https):
        try:
            status = ask(address)
        except OSError as error:
            problems.append(str(error))
            continue
        if status == OK:
            return 0
        problems.append(f"status {status}")
        break
    print(f"{_host(address)}:{address.port}: {'; '.join(dict.fromkeys(problems))}", file=sys.stderr)
    return 1


def running_exporters(proc: Path = Path("/proc")) -> Iterator[Arguments]:
    """The arguments of each serving exporter on this machine that we are allowed to see."""
    for folder in proc.glob("[0-9]*"):
        # Processes of other users, or that end meanwhile, cannot be read.
        with suppress(OSError, SystemExit):
            words = (folder / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
            if (flags := _flags(words)) is not None:
                yield _anchored(parse(flags), folder)


def _flags(words: list[str]) -> list[str] | None:
    """What follows the program's name in a command line; None when another program or command is called."""
    called = [i for i, word in enumerate(words[:3]) if word.rpartition("/")[2] == PROGRAM]
    called += [2] if words[1:3] == ["-m", "exporter"] else []
    flags = words[called[0] + 1 :] if called else []
    serves = not flags or flags[0].startswith("-") or flags[0] in ("serve", "demo")
    return flags if called and serves else None


def _anchored(found: Arguments, folder: Path) -> Arguments:
    """The same with the path on its command line resolved against its own working folder."""
    if found.config_file is None:
        return found
    return found._replace(config_file=(folder / "cwd").readlink() / found.config_file)


def _host(address: ListenAddress) -> str:
    return address.host or "127.0.0.1"


def _ask_http(address: ListenAddress) -> int:
    with socket.create_connection((_host(address), address.port), timeout=TIMEOUT) as connection:
        return _status(connection)


def _ask_https(address: ListenAddress) -> int:
    import ssl  # noqa: PLC0415  takes half the time of a health check, and most do not need it

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((_host(address), address.port), timeout=TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=_host(address)) as connection,
        ):
            return _status(connection)
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        # It closed the connection because we have no certificate. A stuck exporter, or one without TLS, would not.
        return OK


def _status(connection: socket.socket) -> int:
    """Send the request and read the status line. `http.client` would load ssl and the e-mail parser."""
    connection.sendall(REQUEST)
    with connection.makefile("rb") as answer:
        line = answer.readline(MAX_LINE)
    if not line:
        raise ConnectionResetError("the connection was closed without an answer")
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", line)
    if found is None:
        raise OSError("the answer is not HTTP")
    return int(found[1])
