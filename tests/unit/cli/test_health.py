from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from exporter.cli.arguments import Arguments
from exporter.cli.health import health, run, running_exporters
from exporter.config.address import ListenAddress
from exporter.config.running import Running
from exporter.errors import ConfigError
from support import free_port

pytestmark = pytest.mark.loopback


def ask(port: int, host: str | None = "127.0.0.1") -> int:
    return health(Running((ListenAddress(host, port),), tls=False))


def answer_once(raw: bytes) -> tuple[int, list[str]]:
    """The result of asking a server that answers with these bytes, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode(errors="replace").split(" ")[1])
            self.wfile.write(raw)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        code = ask(server.server_port)
        thread.join()
    return code, asked


@pytest.mark.parametrize(
    ("status", "code"), [(HTTPStatus.OK, 0), (HTTPStatus.SERVICE_UNAVAILABLE, 1), (HTTPStatus.NOT_FOUND, 1)]
)
def test_exit_code(status: HTTPStatus, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0 if the exporter answers that it is healthy, else 1 with the reason."""
    found, asked = answer_once(f"HTTP/1.1 {status.value} X\r\nContent-Length: 0\r\n\r\n".encode())
    assert (found, asked) == (code, ["/-/healthy"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (str(status.value) in printed.err) == bool(code)


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an answer the exporter is not healthy, and the line names the address."""
    port = free_port()
    assert ask(port) == 1
    err = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("address", ["10042", "localhost", "", [":1", "x"]])
def test_an_address_that_is_none_is_bad_usage(address: Any) -> None:
    """No other address is asked instead: another exporter may listen there, and be healthy."""
    with pytest.raises(ConfigError, match=r"^flag --web\.listen-address: found .+; allowed: a host and port"):
        run(Arguments("health", overrides={"web": {"listen_address": address}}))


def test_every_interface_is_asked_on_loopback(capsys: pytest.CaptureFixture[str]) -> None:
    """An exporter that listens on every interface is asked on loopback."""
    assert ask(free_port(), host=None) == 1
    assert "127.0.0.1:" in capsys.readouterr().err


def process(proc: Path, number: int, *words: str) -> Path:
    """Makes a process as /proc shows it; returns its working folder."""
    folder, cwd = proc / str(number), proc / f"cwd-of-{number}"
    folder.mkdir()
    cwd.mkdir()
    (folder / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
    (folder / "cwd").symlink_to(cwd)
    return cwd


@pytest.mark.parametrize(
    "program", [("/opt/bin/python", "/opt/bin/cyberun-exporter"), ("cyberun-exporter",), ("python", "-m", "exporter")]
)
@pytest.mark.parametrize("command", [(), ("serve",), ("demo",)])
def test_flags_of_the_running_exporter_are_found(
    tmp_path: Path, program: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """The arguments of a running exporter are found, however it was started."""
    process(tmp_path, 1, *program, *command, "--web.listen-address=:7")
    (found,) = running_exporters(tmp_path)
    assert found.overrides == {"web": {"listen_address": ":7"}}


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/bin/python", "/usr/bin/cyberun-exporter", "health"),
        ("/usr/bin/python", "/usr/bin/cyberun-exporter", "check", "--config.file=a"),
        ("/usr/bin/python", "/usr/bin/other"),
        ("vi", "notes", "about", "cyberun-exporter"),
        ("/usr/bin/cyberun-exporter", "--no-such-flag"),
        (),
    ],
)
def test_other_processes_are_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Another command, another program and a kernel thread are not serving exporters."""
    process(tmp_path, 1, *words)
    (tmp_path / "2").mkdir()  # one that has just ended
    assert list(running_exporters(tmp_path)) == []


def test_its_files_are_relative_to_its_own_folder(tmp_path: Path) -> None:
    """A health check may have another working folder."""
    cwd = process(tmp_path, 7, "cyberun-exporter", "--config.file=exporter.yaml")
    (found,) = running_exporters(tmp_path)
    assert found.config_file == cwd / "exporter.yaml"
