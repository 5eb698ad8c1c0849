"""Requests of a team with a session, over TCP."""

import json
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from aiohttp import web

from exporter.errors import PlatformError, Unauthorized
from exporter.platform.client import Limits, Platform
from exporter.platform.clock import Clock
from exporter.platform.pacing import Pacer
from exporter.platform.session import RETRY_DELAY, Session
from exporter.platform.trust import Trust
from support.issuer import TokenIssuer
from support.scripted import MARKER, NOW, Log, Script, Server, everything_in

pytestmark = pytest.mark.loopback


@dataclass(slots=True)
class Wire:
    """A session and its client, with a server that exchanges tokens. Mutable."""

    session: Session
    platform: Platform
    log: Log
    now: list[float]


@pytest.fixture
async def wire(server: Server, issuer: TokenIssuer) -> Wire:
    now = [NOW]
    log = Log()
    platform = Platform(
        server.base_url,
        limits=Limits(5.0, 100_000),
        pacer=Pacer(1000, 8),
        log=log,
        trust=Trust(None),
        user_agent="cyberun-exporter/1.0.0",
        clock=lambda: now[0],
    )
    return Wire(Session.open(issuer.file, clock=Clock(lambda: now[0], lambda: now[0] - NOW)), platform, log, now)


def refreshing_with(status: int, body: str) -> Script:
    """Answer a refresh with this, and refuse every other request."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        refreshing = request.path.endswith("/auth/refresh")
        return web.Response(status=status if refreshing else 401, text=body if refreshing else "{}")

    return script


PAIR = f'"refresh_token": "rt-{MARKER}-1"'


@pytest.mark.parametrize(
    ("answer", "saved", "reason"),
    [
        ((200, ""), "0", "decode"),
        ((200, "<html>"), "0", "decode"),
        ((200, "[]"), "0", "schema"),
        ((200, "[" * 150_000), "0", "too_large"),
        ((200, "[" * 50_000), "0", "decode"),
        ((200, f"[{'[],' * 33_000}[]]"), "0", "schema"),
        ((200, f'{{"access_token": "eyJ{MARKER}"}}'), "0", "schema"),
        ((200, '{"refresh_token": 7, "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "with space", "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "\\n", "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "é", "access_token": "a"}'), "0", "schema"),
        ((200, "{" + PAIR + "}"), "1", "schema"),
        ((200, "{" + PAIR + ', "access_token": "a\\r\\nX-Evil: 1"}'), "1", "schema"),
        ((401, f'{{"error_message": "no rt-{MARKER}-0 here"}}'), "0", "auth"),
        ((500, ""), "0", "http_5xx"),
        ((429, ""), "0", "rate_limited"),
    ],
)
async def test_answers_that_are_no_pair_of_tokens(
    server: Server, wire: Wire, issuer: TokenIssuer, answer: tuple[int, str], saved: str, reason: str
) -> None:
    """Each failure counts under its reason and the path of the refresh, and quotes nothing; a refresh token is kept."""
    server.script = refreshing_with(*answer)
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        for _ in range(2):
            with pytest.raises(PlatformError) as caught:
                await client.get("/r/tasks", {})
            assert MARKER not in everything_in(caught.value)
    assert issuer.saved == f"rt-{MARKER}-{saved}"
    assert wire.log.requests == [("render", "/auth/refresh")]
    refused = ("render", "/r/tasks", caught.value.reason)
    assert wire.log.failures == [("render", "/auth/refresh", reason), refused, refused]
    assert caught.value.reason == reason


@pytest.mark.parametrize("lifetime", ["null", '"3600"', "0", "-5", "true", "1e400", "9" * 400, "NaN"])
async def test_a_pair_with_an_odd_lifetime_is_used(server: Server, wire: Wire, lifetime: str) -> None:
    """With an invalid lifetime the JWT's expiry is unknown, and the refresh token is not lost."""
    body = "{" + PAIR + f', "access_token": "eyJ{MARKER}", "expires_in": {lifetime}}}'

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/auth/refresh"):
            assert (request.method, request.headers.get("Authorization")) == ("POST", None)
            return web.Response(text=body)
        assert request.headers["Authorization"] == f"Bearer eyJ{MARKER}"
        assert request.headers["X-Team-ID"] == "019abc12"
        return web.Response(text="{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        assert await platform.team("render", wire.session, "019abc12").get("/agents", {}) == b"{}"
    assert wire.session.expires_at is None


async def test_a_refusal_renews_and_asks_once_more(server: Server, wire: Wire) -> None:
    """After a 401 the request is sent once more, with the new JWT; a second 401 is final."""
    pairs = iter(range(1, 100))

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/auth/refresh"):
            n = next(pairs)
            return web.json_response({"refresh_token": f"rt-{n}", "access_token": f"eyJ{n}", "expires_in": 3600})
        good = request.headers["Authorization"] == "Bearer eyJ2"
        return web.Response(status=200 if good else 401, text="{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        with pytest.raises(Unauthorized, match="GET /agents: 401"):  # refused while it is young
            await client.get("/agents", {})
        wire.now[0] += RETRY_DELAY
        assert await client.get("/agents", {}) == b"{}"
    paths = [request.path.removeprefix("/api/v1") for request in server.requests]
    assert paths == ["/auth/refresh", "/agents", "/agents", "/auth/refresh", "/agents"]


async def test_no_failure_of_a_request_leads_to_the_jwt(server: Server, wire: Wire) -> None:
    """The refused JWT is in no frame of the error, even if its renewal fails."""
    exchanged: list[bool] = []

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if not request.path.endswith("/auth/refresh"):
            return web.Response(status=401)
        exchanged.append(True)
        pair = {"refresh_token": f"rt-{MARKER}-1", "access_token": f"eyJ{MARKER}", "expires_in": 3600}
        return web.json_response(pair if len(exchanged) == 1 else {}, status=200 if len(exchanged) == 1 else 503)

    server.script = script
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        for age in (0.0, RETRY_DELAY):
            wire.now[0] += age
            with pytest.raises(PlatformError) as caught:
                await client.get("/r/tasks", {})
            assert MARKER not in everything_in(caught.value)
    assert caught.value.reason == "http_5xx"


async def test_a_pair_may_be_created(server: Server, wire: Wire) -> None:
    """A 201 is accepted too, because some servers answer a POST with it."""
    made = json.dumps({"refresh_token": f"rt-{MARKER}-1", "access_token": f"eyJ{MARKER}", "expires_in": 3600})

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        refreshing = request.path.endswith("/auth/refresh")
        return web.Response(status=201 if refreshing else 200, text=made if refreshing else "{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        assert await platform.team("render", wire.session, "019abc12").get("/agents", {}) == b"{}"
