import asyncio
import base64
import gzip
import json
import logging
import socket
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from exporter.catalog import Scope
from exporter.errors import ConfigError, RequestTimeout, SchemaMismatch
from exporter.platform.client import Limits
from exporter.platform.credentials import Credential
from exporter.platform.pacing import Pacer
from exporter.platform.trust import Trust
from support.scripted import KEY, MARKER, NOW, Client, Script, Server, Wiring, credential, healthy, serving

pytestmark = pytest.mark.loopback

JWT = f"eyJhbGciOiJIUzI1NiJ9.{MARKER}.c2ln"


def packed(body: bytes) -> bytes:
    """The body as gzip, always the same bytes, because it is part of names of tests."""
    return gzip.compress(body, mtime=0)


def answering(status: int = 200, body: bytes = b"{}", encoding: str = "", **headers: str) -> Script:
    """Answer with this; an underscore in a header's name stands for a hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if encoding:
        sent["Content-Encoding"] = encoding

    async def script(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=sent)

    return script


def raw(*parts: bytes, hang: bool = False) -> Script:
    """Write these bytes to the connection, then close it or keep it open."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        for part in parts:
            request.transport.write(part)
        if hang:
            await asyncio.Event().wait()
        request.transport.close()
        return web.Response()

    return script


async def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    """Send without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 10_000)


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
    server.script = answering(body=packed(b"{}"), encoding="gzip")
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


# Statuses


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (201, "decode"),
        (204, "decode"),
        (206, "decode"),
        (301, "redirect"),
        (302, "redirect"),
        (304, "redirect"),
        (307, "redirect"),
        (308, "redirect"),
        (400, "http_4xx"),
        (401, "auth"),
        (403, "forbidden"),
        (404, "not_found"),
        (418, "http_4xx"),
        (429, "rate_limited"),
        (500, "http_5xx"),
        (503, "http_5xx"),
        (599, "http_5xx"),
        (799, "http_5xx"),
    ],
)
async def test_a_status_has_its_reason(server: Server, client: Client, status: int, reason: str) -> None:
    """A status is one request and one failure with the status in its text; a redirect is not followed."""
    server.script = answering(status, b"", Location="/api/v1/elsewhere")
    error = await client.failure("/agents")
    assert (error.reason, str(error), error.retry_after) == (reason, f"GET /agents: {status}", None)
    assert len(server.requests) == 1
    assert client.log.requests == [("render", "/agents")]
    assert client.log.failures == [("render", "/agents", reason)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error_message": "the licence lacks agents"}', ": the licence lacks agents"),
        (
            b'{"error_message": "not licensed", "missing_feature": "agents", "x": 1}',
            ": missing_feature agents: not licensed",
        ),
        (b'{"error_message": "the licence lacks agents", "feature": "agents"}', ": the licence lacks agents"),
        (b'{"feature": "agents", "features": "more"}', ": feature agents"),
        (json.dumps({"error_message": "a\nb\r\n\tc \0\x1b[31m \u202e\u2028 \ud800d"}).encode(), ": a b c [31m d"),
        (json.dumps({"error_message": f"unknown key {KEY}, sorry"}).encode(), ": unknown key ***, sorry"),
        (json.dumps({"error_message": f"{MARKER[:3]}{KEY}{MARKER[:3]}"}).encode(), ": MAR***"),
        (
            json.dumps({"error_message": "old dk-abcdef-0123456789 or eyJabc.def.g0123456789"}).encode(),
            ": old dk-*** or eyJ***",
        ),
        (json.dumps({"error_message": "disk-full on task-7"}).encode(), ": disk-full on task-7"),
        (json.dumps({"error_message": "x" * 200}).encode(), ": " + "x" * 200),
        (json.dumps({"error_message": "x" * 201}).encode(), ": " + "x" * 199 + "…"),
        (json.dumps({"error_message": "x" * 195 + KEY}).encode(), ": " + "x" * 195 + "***"),
        (json.dumps({"error_message": " "}).encode(), ""),
        (b'{"error_message": 7}', ""),
        (b'{"error": "x"}', ""),
        (b'["error_message"]', ""),
        (b'{"error_message": "cut', ""),
        (b"<html>Bad gateway</html>", ""),
        (b"[" * 50_000, ""),
        (b'{"error_message": ' + b"9" * 5000 + b"}", ""),
        (b"\xff\xfe", ""),
        (json.dumps({"error_message": "x" * 70_000}).encode(), ""),
    ],
)
async def test_the_platforms_words_are_one_short_printable_line(
    server: Server, client: Client, body: bytes, words: str
) -> None:
    """Error messages are kept without control characters and credentials, up to 200 characters, or left out."""
    server.script = answering(403, body)
    assert str(await client.failure()) == f"GET /r/tasks: 403{words}"


async def test_compressed_words_are_read_too(server: Server, client: Client) -> None:
    """An error answer may be compressed like any other."""
    server.script = answering(500, packed(b'{"error_message": "down"}'), encoding="gzip")
    assert str(await client.failure()) == "GET /r/tasks: 500: down"


@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
async def test_any_failure_answer_may_ask_to_wait(server: Server, client: Client, status: int) -> None:
    """Retry-After comes with the error."""
    server.script = answering(status, Retry_After="7")
    assert (await client.failure()).retry_after == 7


@pytest.mark.parametrize("hour", ["12", "13", "14"])
async def test_a_date_to_wait_for_is_one_of_the_platforms_clock(server: Server, client: Client, hour: str) -> None:
    """However wrong the platform's clock is, the wait is the difference between its two dates."""
    day = f"Mon, 10 Feb 2025 {hour}"
    server.script = answering(503, Date=f"{day}:30:00 GMT", Retry_After=f"{day}:31:00 GMT")
    assert (await client.failure()).retry_after == pytest.approx(59.5, abs=0.3)


async def test_a_status_counts_although_its_body_hangs(server: Server) -> None:
    """Only the message is missing; reason and Retry-After are there."""
    server.script = raw(b"HTTP/1.1 429 Slow\r\nRetry-After: 9\r\nContent-Length: 9\r\n\r\n{", hang=True)
    async with Wiring(credential(), Limits(0.3, 1000)).client(server.base_url) as client:
        error = await client.failure()
    assert (error.reason, error.retry_after) == ("rate_limited", 9)


# Bodies


BODY = b'{"task_list": []}' * 100


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", packed(BODY)),
        ("GZip", packed(BODY)),
        ("x-gzip", packed(BODY)),
        ("gzip", packed(b" " * (100_000 - len(BODY)) + BODY)),
    ],
)
async def test_a_body_comes_whole_and_decompressed(server: Server, client: Client, encoding: str, body: bytes) -> None:
    """A body may have exactly the maximum size, compressed or not."""
    server.script = answering(body=body, encoding=encoding)
    assert (await client.get()).lstrip() == BODY
    assert client.log.failures == []


@pytest.mark.parametrize(
    ("encoding", "body", "reason", "words"),
    [
        ("", b"", "decode", "the body is empty"),
        ("gzip", b"", "decode", "the gzip body is cut short"),
        ("gzip", packed(b""), "decode", "the body is empty"),
        ("gzip", BODY, "decode", "the gzip body is damaged"),
        ("gzip", packed(BODY)[:-1], "decode", "the gzip body is cut short"),
        ("gzip", packed(BODY)[:20], "decode", "the gzip body is cut short"),
        ("gzip", packed(BODY)[:-8] + b"\0" * 8, "decode", "the gzip body is damaged"),
        ("gzip", packed(BODY) + b"x", "decode", "the gzip body has trailing data"),
        ("gzip", packed(BODY) * 2, "decode", "the gzip body has trailing data"),
        ("br", BODY, "decode", "the body has a content encoding that was not requested"),
        ("deflate", BODY, "decode", "the body has a content encoding that was not requested"),
        ("gzip, gzip", packed(packed(BODY)), "decode", "the body has a content encoding that was not requested"),
        ("", b" " * 100_001, "too_large", "the body is larger than 100000 bytes"),
        ("gzip", packed(b" " * 100_001), "too_large", "the body is larger than 100000 bytes"),
        ("gzip", packed(b" " * 50_000_000), "too_large", "the body is larger than 100000 bytes"),
        ("gzip", b"\x1f\x8b" + b" " * 100_001, "too_large", "the body is larger than 100000 bytes"),
    ],
)
async def test_a_bad_body_has_its_reason(
    server: Server, client: Client, encoding: str, body: bytes, reason: str, words: str
) -> None:
    """A body that cannot be decoded or is too large, compressed or not, is refused; the next answer is fine."""
    server.script = answering(body=body, encoding=encoding)
    error = await client.failure()
    assert (error.reason, str(error)) == (reason, f"GET /r/tasks: 200, but {words}")
    server.script = healthy
    assert await client.get() == b"{}"


async def test_a_credential_that_an_answer_repeats_is_masked(server: Server, client: Client) -> None:
    """What a list says becomes labels, so the credential that it was read with must not be in it."""
    server.script = answering(body=b'{"agent_list": ["%s", "x-%s"]}' % ((KEY.encode(),) * 2))
    assert await client.get("/agents") == b'{"agent_list": ["***", "x-***"]}'


async def test_an_endless_body_is_left_at_the_limit(server: Server, client: Client) -> None:
    """The rest of an endless body is not read: the connection is closed."""
    server.script = endless
    assert (await client.failure()).reason == "too_large"
    await asyncio.wait_for(server.gone.wait(), 5)


async def test_a_length_beyond_the_limit_is_not_waited_for(server: Server, client: Client) -> None:
    """A Content-Length above the limit is enough to refuse the body."""
    server.script = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", hang=True)
    assert (await client.failure()).reason == "too_large"
    await asyncio.wait_for(server.gone.wait(), 5)


# Connections


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
GONE = "the platform closed the connection without an answer"
NO_HTTP = "the answer is not valid HTTP, or its headers are too large"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (reset, GONE),
        (raw(), GONE),
        (raw(b"HTTP/1.1 20"), GONE),
        (raw(HEAD + b"{"), "the connection broke before the last byte"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
            "the connection broke before the last byte",
        ),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"), NO_HTTP),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + KEY.encode() + b"x" * 70_000 + b"\r\n\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n"), NO_HTTP),
    ],
)
async def test_a_broken_connection_is_one_failed_request(
    server: Server, client: Client, script: Script, words: str
) -> None:
    """The request is not repeated by aiohttp itself."""
    server.script = script
    error = await client.failure()
    assert (error.reason, str(error)) == ("connect", f"GET /r/tasks: {words}")
    assert len(server.requests) == len(client.log.requests) == len(client.log.answers) == 1


async def test_nobody_there_is_a_failed_connection() -> None:
    """A refused connection has a clear message, without the address."""
    async with serving() as server:
        pass
    async with Wiring(credential()).client(server.base_url) as client:
        error = await client.failure()
    assert (error.reason, str(error)) == ("connect", "GET /r/tasks: no connection: Connection refused")


async def test_a_peer_that_hangs_up_during_the_handshake_is_named() -> None:
    """A connection that ends during the handshake has a message, although asyncio's error has none."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as peer:
        port = peer.sockets[0].getsockname()[1]
        async with Wiring(credential()).client(f"https://127.0.0.1:{port}/api/v1") as client:
            error = await client.failure()
    words = "the peer closed the connection during the TLS handshake"
    assert (error.reason, str(error)) == ("connect", f"GET /r/tasks: {words}")


async def test_a_host_that_is_no_name_is_a_failed_connection() -> None:
    """A name that cannot even be looked up fails like any platform that cannot be reached."""
    async with Wiring(credential()).client(f"http://{'a' * 64}.invalid/api/v1") as client:
        assert (await client.failure()).reason == "connect"


async def test_a_name_that_nobody_knows_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's message distinguishes an unknown name from a platform that is down."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with Wiring(credential()).client("http://platform.example/api/v1") as client:
        error = await client.failure()
    assert (error.reason, str(error)) == ("connect", "GET /r/tasks: no connection: Name or service not known")


async def test_a_proxy_that_refuses_is_a_failed_connection(server: Server) -> None:
    """A proxy's refusal is reported as the proxy's status, not the platform's."""
    server.script = answering(407)
    proxy = server.base_url.removesuffix("/api/v1")
    async with Wiring(credential(), proxy=proxy).client("https://platform.example/api/v1") as client:
        error = await client.failure()
    assert (error.reason, str(error)) == (
        "connect",
        "GET /r/tasks: the proxy refused the connection with status 407",
    )
    assert [request.method for request in server.requests] == ["CONNECT"]
    assert "Authorization" not in server.requests[0].headers


async def test_closing_costs_nobody_an_answer(server: Server) -> None:
    """Requests under way and those waiting for a permit are completed; then the connections are closed."""
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def script(_: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        return web.Response(body=b"{}")

    server.script = script
    async with Wiring(credential(), pacer=Pacer(1000, 1)).client(server.base_url) as client:
        asked = [asyncio.create_task(client.get()) for _ in range(3)]
        await arrived.wait()
    assert len(server.requests) == 1
    gate.set()
    assert await asyncio.gather(*asked) == [b"{}"] * 3
    assert client.platform._sessions is None


@pytest.mark.parametrize("script", [raw(hang=True), raw(HEAD + b"{", hang=True), raw(b"HTTP/1.1 200", hang=True)])
async def test_a_platform_that_hangs_is_left_in_time(server: Server, script: Script) -> None:
    """A platform that hangs, before or during the answer, is a timeout, and the connection is closed."""
    server.script = script
    async with Wiring(credential(), Limits(0.2, 1000)).client(server.base_url) as client:
        error = await client.failure()
        await asyncio.wait_for(server.gone.wait(), 5)
        assert (error.reason, str(error)) == ("timeout", "GET /r/tasks: no complete answer within 0.2 s")
        ((path, seconds),) = client.log.answers
        assert path == "/r/tasks"
        assert 0.2 <= seconds < 2


async def test_waiting_for_a_turn_is_not_counted_as_waiting_for_the_platform(server: Server) -> None:
    """The time of a request that waits for a permit starts when it is sent."""
    answered: list[float] = []
    now = asyncio.get_running_loop().time

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0 if answered else 0.3)
        answered.append(now())
        return web.Response(body=b"{}")

    server.script = slow
    async with Wiring(credential(), Limits(30, 1000), Pacer(1000, 1)).client(server.base_url) as client:
        assert set(await asyncio.gather(client.get(), client.get())) == {b"{}"}
    [(_, first), (_, second)] = client.log.answers
    assert first >= 0.3
    assert second <= now() - answered[0]


async def test_a_cancelled_request_leaves_nothing_behind(server: Server) -> None:
    """For a cancelled request the connection is closed, the place is free, and no failure is counted."""
    server.script = raw(HEAD + b"{", hang=True)
    async with Wiring(credential(), pacer=Pacer(1000, 1)).client(server.base_url) as client:
        task = asyncio.create_task(client.get())
        await asyncio.wait_for(server.asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)
        server.script = healthy
        assert await client.get() == b"{}"
        assert client.log.failures == []


# Credentials
#
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


async def test_a_repetition_waits_for_its_turn(server: Server, token_file: Path) -> None:
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


# TLS


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """Its certificate."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """The TLS context of a server with that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_private_authority_can_be_trusted(authority: trustme.CA, ca_file: Path) -> None:
    """With the authority's bundle the platform's certificate is accepted."""
    async with (
        serving(tls=certified(authority, "127.0.0.1")) as server,
        Wiring(credential(), trust=Trust(ca_file)).client(server.base_url) as client,
    ):
        assert await client.get() == b"{}"


@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("127.0.0.1", "the system's", "unable to get local issuer certificate"),
        ("platform.example", "ours", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
)
async def test_a_certificate_that_is_not_believed_is_a_tls_failure(
    authority: trustme.CA, ca_file: Path, name: str, trusted: str, words: str
) -> None:
    """An unknown authority and another host's certificate have different messages."""
    async with (
        serving(tls=certified(authority, name)) as server,
        Wiring(credential(), trust=Trust(ca_file if trusted == "ours" else None)).client(server.base_url) as client,
    ):
        error = await client.failure()
    assert error.reason == "tls"
    assert words in str(error)
    assert server.requests == []


async def test_a_platform_without_tls_is_a_tls_failure(server: Server) -> None:
    """HTTPS to a plain HTTP port is explained."""
    async with Wiring(credential()).client(server.base_url.replace("http:", "https:")) as client:
        failure = await client.failure()
    assert failure.reason == "tls"
    assert "the server does not speak TLS; the base URL may need http:" in str(failure)


async def test_a_bundle_is_trusted_alone(ca_file: Path) -> None:
    """With a bundle, the system's authorities are not trusted."""
    context = await Trust(ca_file).context()
    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "not a PEM certificate bundle"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a PEM certificate bundle"),
        (b"\0\xff", "not a PEM certificate bundle"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_a_configuration_mistake(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """An unusable bundle is one line that names the file."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Trust(path)
    expected = f"{path}: {problem}; expected the certificates of the authorities to trust"
    assert caught.value.mistakes == (expected,)


class NotingPacer(Pacer):
    """A pacer that records which requests were likely to hang. Mutable."""

    def __init__(self) -> None:
        super().__init__(1000, 8)
        self.likely: list[bool] = []
        self.slow: list[bool] = []

    def request_permit(self, *, likely_to_hang: bool = False, slow: bool = False) -> AbstractAsyncContextManager[None]:
        self.likely.append(likely_to_hang)
        self.slow.append(slow)
        return super().request_permit(likely_to_hang=likely_to_hang, slow=slow)


async def test_a_team_is_suspect_from_a_timeout_to_its_next_answer(server: Server) -> None:
    """After a request that hung, the next ones share the places for hanging teams, until one is answered."""
    wiring = Wiring(credential(), limits=Limits(timeout=0.2, max_response_bytes=1000), pacer=NotingPacer())
    async with wiring.client(server.base_url) as client:
        server.script = raw(hang=True)
        with pytest.raises(RequestTimeout):
            await client.get("/r/tasks", {})
        server.script = answering()
        for _ in range(2):
            await client.get("/r/tasks", {})
    assert isinstance(wiring.pacer, NotingPacer)
    assert wiring.pacer.likely == [False, True, False]


async def test_a_team_is_slow_from_a_slow_answer_on_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow answer affects the next few requests, each half as much as the one before."""
    monkeypatch.setattr("exporter.platform.team.SLOW", 0.1)

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.Response(body=b"{}")

    wiring = Wiring(credential(), pacer=NotingPacer())
    async with wiring.client(server.base_url) as client:
        server.script = slow
        await client.get()
        server.script = healthy
        for _ in range(6):
            await client.get()
    assert isinstance(wiring.pacer, NotingPacer)
    assert wiring.pacer.slow[:3] == [False, True, True]
    assert wiring.pacer.slow[-1] is False
