"""Unit tests may neither open a socket nor sleep. Modules that use TCP have the mark `loopback`."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import pytest

LOOPBACK: Final = ("127.", "::1", "localhost")
_SLEEP: Final = asyncio.sleep


@pytest.fixture(autouse=True)
def _confined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = request.node.get_closest_marker("loopback") is not None
    for name in ("bind", "connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _checked(getattr(socket.socket, name), loopback=marked))
    if not marked:
        monkeypatch.setattr(time, "sleep", _no_sleep)
        monkeypatch.setattr(asyncio, "sleep", _sleep_in_made_up_time)


def _checked(method: Callable[..., Any], *, loopback: bool) -> Callable[..., Any]:
    def call(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX:
            assert loopback, "this unit test opens a socket; its module lacks: pytestmark = pytest.mark.loopback"
            stays = method.__name__ == "bind" or address[0].startswith(LOOPBACK)
            assert stays, f"this unit test leaves the machine: {address[0]}"
        return method(self, address)

    return call


def _no_sleep(seconds: float) -> NoReturn:
    pytest.fail(f"this unit test sleeps for {seconds} s")


async def _sleep_in_made_up_time(seconds: float, result: Any = None) -> Any:
    # Who is cancelled before has not slept; a loop with a clock of its own does not wait either.
    await _SLEEP(seconds)
    if seconds > 0 and type(asyncio.get_running_loop()).time is asyncio.BaseEventLoop.time:
        _no_sleep(seconds)
    return result
