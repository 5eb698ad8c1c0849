"""What the statuses and bodies of the platform's answers become."""

import asyncio
import gzip
import json

import pytest

from exporter.platform.client import Limits
from support.scripted import (
    KEY,
    MARKER,
    Client,
    Server,
    Wiring,
    answering,
    credential,
    endless,
    healthy,
    raw,
)

pytestmark = pytest.mark.loopback


def packed(body: bytes) -> bytes:
    """The body as gzip, always the same bytes, because it is part of names of tests."""
    return gzip.compress(body, mtime=0)


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
