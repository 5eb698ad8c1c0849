"""Credentials that change, are refused or vanish between two requests."""

import asyncio
import base64
import json
import logging
from pathlib import Path

import pytest
from aiohttp import web

from exporter.platform.credentials import Credential
from exporter.platform.pacing import Pacer
from support.scripted import (
    KEY,
    MARKER,
    NOW,
    Client,
    Script,
    Server,
    Wiring,
    answering,
    credential,
    healthy,
    raw,
    reset,
)

pytestmark = pytest.mark.loopback


# The scripts write the file between request and answer, as a rotation elsewhere would.


def rotate(path: Path, number: int) -> None:
    """Put the credential with that number into the file."""
    path.write_text(f"{KEY}-{number}")


def accepting(*tokens: str) -> Script:
    """Answer 401 to all other credentials."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        known = request.headers["Authorization"].removeprefix("Bearer ") in tokens
        return web.json_response({} if known else {"error_message": "who?"}, status=200 if known else 401)

    return script


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A credential file for its owner only."""
    path = tmp_path / "token"
    rotate(path, 1)
    path.chmod(0o600)
    return path


async def test_a_rotated_credential_is_read_and_tried_once(server: Server, token_file: Path) -> None:
    """After a 401 the file is read again; both requests are counted, and no failure."""

    async def rotating(request: web.BaseRequest) -> web.StreamResponse:
        rotate(token_file, 2)
        return await accepting(f"{KEY}-2")(request)

    server.script = rotating
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        assert await client.get() == b"{}"
    assert len(server.requests) == len(client.log.requests) == len(client.log.answers) == 2
    assert client.log.failures == []


async def test_requests_refused_together_all_take_the_new_credential(server: Server, token_file: Path) -> None:
    """All concurrent requests use a new credential, whichever of them read the file first."""
    both = asyncio.Event()

    async def rotating(request: web.BaseRequest) -> web.StreamResponse:
        if len(server.requests) == 2:
            rotate(token_file, 2)
            both.set()
        await both.wait()
        return await accepting(f"{KEY}-2")(request)

    server.script = rotating
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        assert set(await asyncio.gather(client.get(), client.get())) == {b"{}"}
    assert len(server.requests) == 4


async def test_the_same_credential_is_not_tried_again(server: Server, token_file: Path) -> None:
    """A 401 with nothing new to try is final."""
    server.script = accepting()
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        assert str(await client.failure()) == "GET /r/tasks: 401: who?"
    assert len(server.requests) == len(client.log.failures) == 1


@pytest.mark.parametrize(("ends", "told"), [(NOW - 1, "; the JWT has expired"), (NOW + 1, ""), (None, "")])
async def test_an_expired_jwt_is_named_as_expired(server: Server, ends: float | None, told: str) -> None:
    """A 401 for an expired token is explained by the token's expiry."""
    claims = base64.urlsafe_b64encode(json.dumps({} if ends is None else {"exp": ends}).encode()).decode()
    server.script = answering(401)
    async with Wiring(credential(f"eyJhbGciOiJIUzI1NiJ9.{claims}.{MARKER}")).client(server.base_url) as client:
        assert str(await client.failure()) == f"GET /r/tasks: 401{told}"


async def test_a_second_401_is_final(server: Server, token_file: Path) -> None:
    """A request is repeated once, even if the file changes all the time; one failure is counted."""

    async def rotating(request: web.BaseRequest) -> web.StreamResponse:
        rotate(token_file, len(server.requests) + 1)
        return await accepting()(request)

    server.script = rotating
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        assert (await client.failure()).reason == "auth"
    assert len(server.requests) == 2
    assert len(client.log.failures) == 1


async def test_a_repetition_waits_for_a_permit(server: Server, token_file: Path) -> None:
    """The repetition needs a permit like any other request, and occupies one place at a time."""

    async def rotating(request: web.BaseRequest) -> web.StreamResponse:
        rotate(token_file, 2)
        return await accepting(f"{KEY}-2")(request)

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server.script = rotating
    pacer = Pacer(1, 1, clock=lambda: 0.0, sleep=sleep)
    wiring = Wiring(Credential.from_file(token_file, clock=lambda: NOW), pacer=pacer)
    async with wiring.client(server.base_url) as client:
        await asyncio.wait_for(client.get(), 5)
    assert waits == [1.0]


async def test_a_lost_credential_file_is_an_auth_failure_without_a_request(server: Server, token_file: Path) -> None:
    """Without a usable credential the failure names the file, and nothing is sent."""
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        token_file.rename(token_file.with_name("elsewhere"))  # noqa: ASYNC240  a test may block
        error = await client.failure()
    assert error.reason == "auth"
    assert str(error).startswith(f"GET /r/tasks: no usable credential: {token_file}: no such file; ")
    assert server.requests == client.log.requests == []


async def test_a_credential_file_lost_during_a_401_is_named(server: Server, token_file: Path) -> None:
    """If the file became unusable after a 401, that is the reported cause."""

    async def lose(request: web.BaseRequest) -> web.StreamResponse:
        token_file.write_text("")  # noqa: ASYNC240  a test may block
        return await accepting()(request)

    server.script = lose
    async with Wiring(Credential.from_file(token_file, clock=lambda: NOW)).client(server.base_url) as client:
        assert str(await client.failure()).startswith(f"GET /r/tasks: no usable credential: {token_file}: is empty; ")


async def test_nothing_logged_holds_a_credential(
    server: Server, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The credential is in no log line, ours or of libraries, at any level, and in no repr."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    for script in (healthy, reset, answering(401, KEY.encode(), Set_Cookie=f"a={KEY}"), raw(KEY.encode())):
        server.script = script
        if script is healthy:
            await client.get()
        else:
            await client.failure()
    assert not any(MARKER in text for text in [caplog.text, repr(client.platform), repr(client.team)])
