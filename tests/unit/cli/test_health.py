from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from exporter.cli.health import health
from exporter.config import ListenAddress, Web
from support import free_port


def ask(port: int, host: str | None = "127.0.0.1") -> int:
    return health(Web().model_copy(update={"listen_address": ListenAddress(host, port)}))


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
    """0 when the exporter says that it is healthy; else 1, and why."""
    found, asked = answer_once(f"HTTP/1.1 {status.value} X\r\nContent-Length: 0\r\n\r\n".encode())
    assert (found, asked) == (code, ["/-/healthy"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (str(status.value) in printed.err) == bool(code)


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an answer the exporter is not healthy, and the line says whom we asked."""
    port = free_port()
    assert ask(port) == 1
    err = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in err
    assert len(err.splitlines()) == 1


def test_every_interface_is_asked_on_loopback(capsys: pytest.CaptureFixture[str]) -> None:
    """An exporter that listens on every interface is asked on this machine's own."""
    assert ask(free_port(), host=None) == 1
    assert "127.0.0.1:" in capsys.readouterr().err
