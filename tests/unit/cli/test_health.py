import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web

from exporter.cli.arguments import Arguments, parse
from exporter.cli.health import health, run, running_exporters
from exporter.config.address import ListenAddress
from exporter.config.running import Running
from exporter.errors import ConfigError
from exporter.web.access import AccessControl
from exporter.web.serve import listening
from support import free_port

pytestmark = pytest.mark.loopback


def ask(port: int, host: str | None = "127.0.0.1", *, tls: bool = False) -> int:
    return health(Running((ListenAddress(host, port),), tls=tls))


@contextmanager
def answering(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every connection with these bytes; gives its port and the first lines of the requests."""
    asked: list[bytes] = []

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65536).partition(b"\r\n")[0])
            self.request.sendall(raw)
            self.request.shutdown(socket.SHUT_WR)
            self.request.recv(65536)  # or the connection would be reset, and with it an answer that was not yet read

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def healthy() -> Iterator[tuple[int, list[bytes]]]:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (port, asked):
        yield port, asked


@pytest.mark.parametrize(
    ("status", "code"), [(HTTPStatus.OK, 0), (HTTPStatus.SERVICE_UNAVAILABLE, 1), (HTTPStatus.NOT_FOUND, 1)]
)
def test_exit_code(status: HTTPStatus, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0 if the exporter answers that it is healthy, else 1 with the reason."""
    with answering(f"HTTP/1.1 {status.value} X\r\nContent-Length: 0\r\n\r\n".encode()) as (port, asked):
        assert ask(port) == code
    assert asked == [b"GET /-/healthy HTTP/1.1"]
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


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail.example ESMTP\r\n", b"HTTP/2 200\r\n"])
def test_another_program_is_not_healthy(raw: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else listens on the port is not a healthy exporter, and the line says that it does not speak HTTP."""
    with answering(raw) as (port, _):
        assert ask(port) == 1
    assert "the answer is not HTTP" in capsys.readouterr().err


@pytest.mark.parametrize("tls", [False, True], ids=["expected HTTP", "expected TLS"])
@pytest.mark.parametrize(
    "section",
    [{}, *({"client_auth_type": "RequireAndVerifyClientCert", "max_version": each} for each in ("TLS12", "TLS13"))],
    ids=["no client certificate", "TLS 1.2 requires one", "TLS 1.3 requires one"],
)
async def test_tls(tmp_path: Path, section: dict[str, str], tls: bool) -> None:  # noqa: FBT001  a parameter of the test
    """An exporter with TLS is healthy, whatever we expected, also if it hangs up because we have no certificate."""
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "server.key")
    section = {"cert_file": "server.pem", "key_file": "server.key", **section}
    if "client_auth_type" in section:
        section["client_ca_file"] = "ca.pem"
    (tmp_path / "web.yml").write_text(yaml.safe_dump({"tls_server_config": section}), encoding="utf-8")

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/-/healthy", answer)
    context = AccessControl(tmp_path / "web.yml").ssl_context
    async with listening(app, ("127.0.0.1", 0), ssl_context=context) as ((_, port),):
        assert await asyncio.to_thread(ask, port, tls=tls) == 0


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


@pytest.mark.parametrize(
    ("others", "own", "expected"),
    [
        (1, (), "theirs"),
        (0, (), "ours"),
        (2, (), "ours"),
        (1, ("--web.listen-address",), "ours"),
        (1, ("--config.file",), "ours"),
    ],
)
def test_who_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int, own: tuple[str, ...], expected: str
) -> None:
    """Without flags the only exporter that runs here is asked where its own say; else ours and the environment do."""
    with healthy() as (theirs, asked_theirs), healthy() as (ours, asked_ours):
        (tmp_path / "own.yaml").write_text(f"web: {{listen_address: '127.0.0.1:{ours}'}}", encoding="utf-8")
        values = {"--web.listen-address": f"127.0.0.1:{ours}", "--config.file": str(tmp_path / "own.yaml")}
        for number in range(others):
            process(tmp_path, number + 1, "cyberun-exporter", f"--web.listen-address=127.0.0.1:{theirs}")
        monkeypatch.setattr("exporter.cli.health.running_exporters", lambda: running_exporters(tmp_path))
        if not own:
            monkeypatch.setenv("CYBERUN_EXPORTER_WEB__LISTEN_ADDRESS", f"127.0.0.1:{ours}")
        assert run(parse(["health", *(f"{flag}={values[flag]}" for flag in own)])) == 0
    assert {"theirs": asked_theirs, "ours": asked_ours} == {
        "theirs": [],
        "ours": [],
        expected: [b"GET /-/healthy HTTP/1.1"],
    }
