"""What a request to the platform sends, and what is reported about it."""

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp import web

from exporter.catalog import Scope
from exporter.errors import SchemaMismatch
from support.scripted import (
    JWT,
    KEY,
    MARKER,
    Client,
    Server,
    Wiring,
    answering,
    credential,
)

pytestmark = pytest.mark.loopback


# What is sent


@pytest.mark.parametrize(
    ("token", "team_id"), [(KEY, None), (f"dk-{MARKER}", None), (JWT, "019abc12")], ids=["sk", "dk", "jwt"]
)
async def test_a_request_carries_what_the_platform_wants(server: Server, token: str, team_id: str | None) -> None:
    """Requests have the bearer credential, JSON, gzip and our name; the team's id only with a JWT."""
    async with Wiring(credential(token)).client(server.base_url) as client:
        assert await client.get("/r/tasks", {"status": "pending", "per_page": 100}) == b"{}"
    (request,) = server.requests
    assert (request.method, request.path_qs) == ("GET", "/api/v1/r/tasks?status=pending&per_page=100")
    assert dict(request.headers) == {
        "Host": request.host,
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "cyberun-exporter/1.0.0",
    } | ({"X-Team-ID": team_id} if team_id else {})


async def test_a_jwt_without_a_team_sends_no_empty_team(server: Server) -> None:
    """A team id that is not configured is not sent; the platform says what is missing."""
    async with Wiring(credential(JWT)).client(server.base_url) as client:
        await client.platform.team("other", credential(JWT), None).get("/agents", {})
    assert "X-Team-ID" not in server.requests[0].headers


async def test_a_base_url_may_end_with_a_slash(server: Server) -> None:
    """The base URL may end in a slash or not."""
    async with Wiring(credential()).client(server.base_url + "/") as client:
        await client.get("/agents")
    assert server.requests[0].path_qs == "/api/v1/agents"


async def test_cookies_are_forgotten(server: Server, client: Client) -> None:
    """Cookies are never sent back."""
    server.script = answering(Set_Cookie="session=1; Path=/")
    await client.get()
    await client.get()
    assert "Cookie" not in server.requests[1].headers


async def test_netrc_is_not_asked(
    server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password for the platform's host in ~/.netrc neither replaces the credential nor stops the request."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    await client.get()
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_one_connection_serves_one_request_after_another(server: Server, client: Client) -> None:
    """Connections are reused, even after error answers, whose bodies are read completely."""
    await client.get()
    server.script = answering(500, b'{"error_message": "down"}')
    await client.failure()
    server.script = answering(body=gzip.compress(b"{}"), encoding="gzip")
    await client.get()
    assert len(server.connections) == 1


async def test_a_proxy_is_asked_for_the_platform(server: Server) -> None:
    """The proxy gets its own password and the absolute URL; its password is not sent as our credential."""
    proxy = server.base_url.replace("//", "//me:pass@").removesuffix("/api/v1")
    async with Wiring(credential(), proxy=proxy).client("http://platform.example/api/v1") as client:
        await client.get("/agents")
    (request,) = server.requests
    assert str(request.url) == "http://platform.example/api/v1/agents"
    assert request.headers["Proxy-Authorization"] == "Basic bWU6cGFzcw=="
    assert request.headers["Authorization"] == f"Bearer {KEY}"


# What is reported


async def test_a_failure_found_later_counts_like_any_other(client: Client) -> None:
    """Callers can count a contradiction that only several pages together show."""
    await client.get()
    client.team.count_contradiction(Scope.TASKS, SchemaMismatch("more tasks than the total"))
    assert client.log.failures == [("render", "/r/tasks", "schema")]


@pytest.mark.parametrize(
    ("date", "skews"),
    [
        ("Mon, 10 Feb 2025 13:30:00 GMT", [0.25]),
        ("Mon, 10 Feb 2025 13:28:20 GMT", [-99.75]),
        ("soon", []),
        ("", []),
    ],
)
async def test_the_platforms_clock_is_compared_with_ours(
    server: Server, client: Client, date: str, skews: list[float]
) -> None:
    """The skew compares the middle of the platform's second with that of the request, for any answer with a date."""
    server.script = answering(500, Date=date)
    await client.failure()
    assert client.log.skews == pytest.approx(skews, abs=0.2)


async def test_a_slow_answer_is_no_wrong_clock(server: Server, client: Client) -> None:
    """Half of the response time is subtracted, because the date was written at about that time."""

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return await answering(Date="Mon, 10 Feb 2025 13:30:00 GMT")(request)

    server.script = slow
    await client.get()
    ((_, seconds),) = client.log.answers
    assert client.log.skews == pytest.approx([0.25 + seconds / 2], abs=0.1)
