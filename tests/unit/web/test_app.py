import base64
import gzip
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from exporter.status import ExporterStatus, TeamStatus
from exporter.web.app import make_app
from exporter.web.negotiate import OPENMETRICS_TYPE, TEXT_TYPE

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.web.conftest import HeldSource

StatusOf = Callable[..., ExporterStatus]

PATHS = ("/", "/metrics", "/api/v1/status", "/-/healthy", "/-/ready")
MEGABYTE = 1024 * 1024


async def test_metrics_as_text(client: ClientSession, source: "HeldSource") -> None:
    """By default a client gets the text format, uncompressed, with its length, and not cacheable."""
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == TEXT_TYPE
        assert answer.headers["Content-Length"] == str(len(source.text_body))
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == source.text_body


async def test_metrics_as_prometheus_asks(client: ClientSession, source: "HeldSource") -> None:
    """Prometheus gets OpenMetrics, compressed, with the format's content type."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"}
    async with client.get("/metrics", headers=headers) as answer:
        assert answer.headers["Content-Type"] == OPENMETRICS_TYPE
        assert answer.headers["Content-Encoding"] == "gzip"
        body = await answer.read()
    assert gzip.decompress(body) == source.openmetrics_body
    assert answer.headers["Content-Length"] == str(len(body))
    assert source.asked == [True]


@pytest.mark.parametrize("length", [0, 1, MEGABYTE, MEGABYTE + 1, 3 * MEGABYTE + 17])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_body_arrives_whole(client: ClientSession, source: "HeldSource", length: int, coding: str) -> None:
    """Whatever the length and coding, exactly the bytes of the exposition arrive."""
    source.text_body = random.Random(1).randbytes(length)  # noqa: S311  data that does not compress, repeatable
    for _ in range(2):  # the second time on the same connection
        async with client.get("/metrics", headers={"Accept-Encoding": coding}) as answer:
            body = await answer.read()
        assert answer.headers["Content-Length"] == str(len(body))
        assert (gzip.decompress(body) if coding == "gzip" else body) == source.text_body


@pytest.mark.parametrize("path", PATHS)
async def test_head(client: ClientSession, source: "HeldSource", path: str) -> None:
    """HEAD answers with GET's status and headers without a body, even if the body would be streamed."""
    source.text_body = b"x" * 2 * MEGABYTE
    async with client.get(path) as got, client.head(path) as asked:
        assert asked.status == got.status == 200
        assert await asked.read() == b""
        leave_out = {"Date"}
        assert {k: v for k, v in asked.headers.items() if k not in leave_out} == {
            k: v for k, v in got.headers.items() if k not in leave_out
        }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
async def test_other_methods(client: ClientSession, path: str, method: str) -> None:
    """Only GET and HEAD are allowed, and the answer says so in a line."""
    async with client.request(method, path) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert await answer.text() == "Method not allowed. Allowed here: GET, HEAD.\n"


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/-/reload2", "/%3Cscript%3E"])
async def test_unknown_paths(client: ClientSession, path: str) -> None:
    """An unknown path gives 404 and one line of plain text without any part of the request."""
    async with client.get(path) as answer:
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert await answer.text() == "Not found. / links to every page.\n"


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_headers_of_every_answer(client: ClientSession, path: str) -> None:
    """No response reveals versions, may be cached, or may be interpreted as another type."""
    async with client.get(path) as answer:
        assert answer.headers["Server"] == "cyberun-exporter"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_page_runs_nothing(client: ClientSession) -> None:
    """The page's policy allows only its own style, by hash, and no framing."""
    async with client.get("/") as answer:
        html = await answer.text()
    policy = answer.headers["Content-Security-Policy"]
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "style=" not in html


async def test_page_with_half_characters(client: ClientSession, source: "HeldSource", down_team: TeamStatus) -> None:
    """Text that UTF-8 cannot encode does not break the page or the JSON."""
    source.current = replace(source.current, teams=(replace(down_team, name="\ud800"),))
    for path in ("/", "/?team=%ED%A0%80", "/api/v1/status"):
        async with client.get(path) as answer:
            assert answer.status == 200
            await answer.text()


async def test_links_of_the_page_lead_somewhere(client: ClientSession) -> None:
    """Every internal link on the page answers 200."""
    async with client.get("/") as answer:
        links = re.findall('href="[.](/[^"]*)"', await answer.text())
    assert {"/metrics", "/api/v1/status", "/-/healthy", "/-/ready", "/?team=render"} <= set(links)
    for link in links:
        async with client.get(link) as answer:
            assert answer.status == 200


async def test_ready_once_every_team_was_tried(
    client: ClientSession, source: "HeldSource", up_team: TeamStatus, new_team: TeamStatus, down_team: TeamStatus
) -> None:
    """`/-/ready` names the teams that were not polled yet; a failed poll counts as polled."""
    source.current = replace(source.current, teams=(up_team, new_team))
    async with client.get("/-/ready") as answer:
        assert answer.status == 503
        assert await answer.text() == "Not ready: not polled yet: archive.\n"
    source.current = replace(source.current, teams=(up_team, down_team))
    async with client.get("/-/ready") as answer:
        assert (answer.status, await answer.text()) == (200, "Ready.\n")


async def test_healthy(client: ClientSession, source: "HeldSource") -> None:
    """Health depends on the poll schedule, not on the platform."""
    async with client.get("/-/healthy") as answer:
        assert (answer.status, await answer.text()) == (200, "Healthy.\n")
    source.alive = False
    async with client.get("/-/healthy") as answer:
        assert answer.status == 503


async def test_telemetry_path(source: "HeldSource") -> None:
    """The metrics are at the configured path, and the page links to it; "/" replaces the page."""
    async with TestClient(TestServer(make_app(source, telemetry_path="/m"))) as client:
        assert (await client.get("/metrics")).status == 404
        assert (await client.get("/m")).headers["Content-Type"] == TEXT_TYPE
        assert 'href="./m"' in await (await client.get("/")).text()
    async with TestClient(TestServer(make_app(source, telemetry_path="/"))) as client:
        assert (await client.get("/")).headers["Content-Type"] == TEXT_TYPE
