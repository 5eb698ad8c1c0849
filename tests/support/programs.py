"""A program under test: started, requested over HTTP, and always stopped."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

import aiohttp
import pytest

T = TypeVar("T")

IN_TIME: Final = 20.0
"""Seconds from SIGTERM to the end of a program, on a busy machine. tests/unit/cli/test_stopping.py counts the five that
are documented; what must not be waited for takes a minute."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def required(program: str) -> str:
    """The path of a program that the test needs; if it is missing, the test is skipped, and fails in CI."""
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not on PATH; tools/get-prometheus fetches it where it can"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


async def content(program: str, *arguments: str, directory: Path | None = None) -> str:
    """Runs a program, which must succeed, and returns its output; skips the test if it is missing."""
    process = await asyncio.create_subprocess_exec(
        required(program),
        *arguments,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    return output.decode()


async def wait_until(predicate: Callable[[], Awaitable[T]], *, within: float = 30, every: float = 0.05) -> T:
    """Asks again and again until the answer is truthy, and returns it.

    Args:
        predicate: an asynchronous function; a refused or broken connection counts as "not yet".
        within: seconds.
        every: seconds between two looks.

    Raises:
        TimeoutError: the last answer was still falsy.
    """
    answer: object = None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while loop.time() < deadline:
        try:
            value = await predicate()
        except aiohttp.ClientConnectionError as error:
            answer = error
        else:
            if value:
                return value
            answer = value
        await asyncio.sleep(every)
    raise TimeoutError(f"not within {within} s; the last answer was {answer!r}")


async def wait_out(
    pending: Callable[[], Awaitable[Collection[object]]], *, within: float = 30, every: float = 0.05
) -> None:
    """Repeats the call until nothing is pending.

    Args:
        pending: an asynchronous function that says what is still missing.
        within: seconds.
        every: seconds between two looks.

    Raises:
        TimeoutError: something still is; the text says what.
    """
    left: Collection[object] = ()

    async def nothing_left() -> bool:
        nonlocal left
        left = await pending()
        return not left

    try:
        await wait_until(nothing_left, within=within, every=every)
    except TimeoutError:
        raise TimeoutError(f"not within {within} s: {left}") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a GET or POST gave, whatever its status."""

    status: int
    headers: Mapping[str, str]
    text: str


class Program:
    """A subprocess that serves HTTP on 127.0.0.1. Mutable: it starts, runs and ends once.

    An asynchronous context manager; leaving it stops the program and prints its log, which pytest shows for
    tests that fail.
    """

    ready_path = "/-/ready"

    def __init__(self, command: list[str], *, directory: Path, port: int, environment: Mapping[str, str]) -> None:
        self.command = command
        self.directory = directory
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._environment = environment
        self._log = directory / f"{Path(command[0]).name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def logs(self) -> str:
        """All it wrote so far, on either stream."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running.pid

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, cwd=self.directory, env=dict(self._environment), stdout=log, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            print(f"--- {' '.join(self.command)}\n{self.logs}")  # noqa: T201  shown by pytest on failure

    async def wait_ready(self, *, within: float = 60) -> None:
        """Until its readiness page answers 200.

        Raises:
            TimeoutError: it did not become ready.
            AssertionError: it ended instead.
        """

        async def ready() -> bool:
            assert self._running.returncode is None, f"ended with {self._running.returncode}:\n{self.logs}"
            return (await self.get(self.ready_path)).status == 200

        await wait_until(ready, within=within)

    async def get(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.request(method, self.url + path, headers=headers) as response,
        ):
            return Answer(response.status, response.headers, await response.text())

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, as long as it has not ended."""
        # The process object's own method may collect the exit code before asyncio does, which then reports 255.
        if self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running.pid, number)

    async def stop(self) -> int:
        """Sends SIGTERM unless it has ended, and returns its exit code.

        Raises:
            AssertionError: it did not end in time; it was killed then.
        """
        if self._running.returncode is None:
            self.send_signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Waits until it has ended, and returns its exit code.

        Raises:
            AssertionError: it did not end in time; it was killed then.
        """
        process = self._running
        try:
            return await asyncio.wait_for(process.wait(), IN_TIME)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"{self.command[0]} ran on for {IN_TIME} s") from None
