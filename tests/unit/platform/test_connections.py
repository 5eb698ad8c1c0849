"""Connections to the platform: which are reused, and when a request is sent again."""

import asyncio
import json
import socket
from hashlib import sha256
from typing import Any

import pytest

from exporter.platform import watched
from exporter.platform.pacing import Pacer
from support.raw import RawConnection, RawRequest, answer, connected, healthy, raw_platform
from support.scripted import KEY, credential

pytestmark = pytest.mark.loopback


def asked_by(token: str) -> bytes:
    """An answer that names its credential without repeating it."""
    return json.dumps({"asked by": sha256(token.encode()).hexdigest()}).encode()


async def reset_when_reused(connection: RawConnection, _: RawRequest) -> None:
    """Answer the first request of each connection; then the connection is dead."""
    if connection.requests > 1:
        connection.reset()
    else:
        await connection.send(answer())


async def close_when_reused(connection: RawConnection, _: RawRequest) -> None:
    """The same, but with a clean close."""
    if connection.requests > 1:
        connection.writer.close()
    else:
        await connection.send(answer())


@pytest.mark.parametrize("handler", [reset_when_reused, close_when_reused])
async def test_a_dead_idle_connection_costs_a_request_and_no_poll(handler: Any) -> None:
    """A GET that received no byte on an idle connection is sent again on a new one; both requests are counted."""
    async with raw_platform(handler) as platform, connected(platform) as client:
        for _ in range(3):
            await client.get()
        assert len(client.log.requests) == len(platform.requests) == len(client.log.answers) == 4
        assert client.log.failures == []


async def test_a_repetition_waits_for_the_pace() -> None:
    """The repetition needs a permit like any other request."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    pacer = Pacer(1, 8, clock=lambda: 0.0, sleep=sleep)
    async with raw_platform(reset_when_reused) as platform, connected(platform, pacer=pacer) as client:
        await client.get()
        await client.get()
    assert waits == [1.0, 2.0]


async def test_it_is_sent_again_once() -> None:
    """A platform that breaks every connection but the first answer fails the poll after one repetition."""

    async def once_ever(connection: RawConnection, _: RawRequest) -> None:
        if connection.number == connection.requests == 1:
            await connection.send(answer())
        else:
            connection.reset()

    async with raw_platform(once_ever) as platform, connected(platform) as client:
        await client.get()
        assert (await client.failure()).reason == "connect"
        assert len(platform.requests) == 3
        assert [reason for _, _, reason in client.log.failures] == ["connect"]


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_has_begun_is_not_asked_for_again(begun: bytes) -> None:
    """After one byte of an answer, the request is not repeated."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(begun if connection.requests > 1 else answer())
        if connection.requests > 1:
            connection.writer.close()

    async with raw_platform(handler) as platform, connected(platform) as client:
        await client.get()
        assert (await client.failure()).reason == "connect"
        assert len(platform.requests) == 2


async def test_a_new_connection_that_breaks_is_a_failure() -> None:
    """A platform that accepts and closes connections gets one request."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        connection.reset()

    async with raw_platform(handler) as platform, connected(platform) as client:
        assert (await client.failure()).reason == "connect"
        assert len(platform.requests) == 1


@pytest.mark.parametrize(
    "late", [answer({"agent_list": "of another team"}), b"HTTP/1.1 200 OK\r\n", b"\0", b"H"], ids=lambda data: data[:20]
)
async def test_bytes_on_an_idle_connection_make_it_unusable(late: bytes) -> None:
    """A late duplicate of one team's answer is never read as the answer to another team."""
    sent = asyncio.Queue[None]()

    async def handler(connection: RawConnection, request: RawRequest) -> None:
        await connection.send(answer(asked_by(request.token)))
        await asyncio.sleep(0.05)
        await connection.send(late)
        sent.put_nowait(None)

    async with raw_platform(handler) as platform, connected(platform) as client:
        other = client.platform.team("other", credential("sk-other"), None)
        for team, token in [(client.team, KEY), (other, "sk-other")] * 3:
            assert await team.get("/r/tasks", {}) == asked_by(token)
            await sent.get()
            await asyncio.sleep(0.05)
        assert len(platform.connections) == 6


@pytest.mark.parametrize(
    "rest", [answer({"agent_list": "of another team"}), b"HTTP/1.1 200 OK\r\n\r\n", answer("x" * 100_000)]
)
async def test_bytes_right_after_an_answer_make_its_connection_unusable(rest: bytes) -> None:
    """A duplicate answer in the same packet is not used for the next request either."""

    async def handler(connection: RawConnection, request: RawRequest) -> None:
        await connection.send(answer(asked_by(request.token)) + rest)

    async with raw_platform(handler) as platform, connected(platform) as client:
        for _ in range(3):
            assert await client.get() == asked_by(KEY)
        assert len(platform.connections) == 3


async def test_bytes_that_are_not_parsed_yet_make_their_connection_unusable() -> None:
    """An answer may end where a step of parsing ends; what came behind it is seen all the same."""
    head = len(answer(b"")) + len("8000") - len("0")
    whole = answer(b"x" * (watched.STEP - head))
    assert len(whole) == watched.STEP

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        await connection.send(whole + answer({"agent_list": "of another team"}))

    async with raw_platform(handler) as platform, connected(platform) as client:
        for _ in range(3):
            assert set(await client.get()) == set(b"x")
        assert len(platform.connections) == 3


async def test_an_idle_connection_is_watched_by_tcp() -> None:
    """Connections use TCP keep-alive, because middleboxes silently drop idle ones."""
    async with raw_platform(healthy) as platform, connected(platform) as client:
        await client.get()
        sessions = client.platform._sessions
        assert sessions is not None
        [[(protocol, _)]] = sessions.pooled.connector._conns.values()  # type: ignore[union-attr]  # there is one
        assert protocol.transport is not None
        found = protocol.transport.get_extra_info("socket")
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == watched.KEEPALIVE_AFTER


async def test_a_connection_has_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is older than the limit after an answer is not used again, however often it was used."""
    async with raw_platform(healthy) as platform, connected(platform) as client:
        for _ in range(3):
            await client.get()
        assert len(platform.connections) == 1
        monkeypatch.setattr(watched, "AGE_LIMIT", 0.0)
        for _ in range(3):
            await client.get()
        assert len(platform.connections) == 3
        assert client.log.failures == []
