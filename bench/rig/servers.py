"""Finds, starts on loopback, queries and stops the programs that the exporter is measured against or with."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

_BESIDE_PATH = ("/usr/sbin", str(Path(__file__).parents[2] / ".tools" / "bin"))
"""Where Debian puts servers, and where `make` puts what the system lacks."""
_START = 60.0
"""Seconds a program may take to get ready."""


def program(name: str) -> str | None:
    """The path of a program, or None (after printing that it is missing)."""
    path = shutil.which(name, path=os.pathsep.join((os.environ["PATH"], *_BESIDE_PATH)))
    if path is None:
        print(f"not measured: {name} is not installed")
    return path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def get(port: int, path: str) -> bytes:
    """The body of what 127.0.0.1 answers to one request.

    Raises:
        OSError: nobody listens, or the status is not 200.
    """
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != HTTPStatus.OK:
        raise OSError(f"{path}: {answer.status}")
    return body


@contextmanager
def running(command: Sequence[str], folder: Path, port: int, ready: str) -> Iterator[int]:
    """A program in the foreground, from the moment it answers the path `ready` until the block ends; yields its pid.

    Raises:
        RuntimeError: it ended or was not ready in time; the text is what it printed.
    """
    log = folder / f"{port}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as process,  # noqa: S603  chosen by the script
    ):
        try:
            if not _answers(process, port, ready):
                raise RuntimeError(log.read_text(encoding="utf-8"))
            yield process.pid
        finally:
            process.terminate()


def _answers(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
    until = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < until:
        try:
            get(port, path)
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def cpu_of(pid: int) -> float:
    """CPU seconds a process has used, in steps of 10 ms; for this process, use `time.process_time`."""
    # The second field is a name in parentheses, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
