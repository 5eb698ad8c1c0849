import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from exporter.status import ExporterStatus, TeamStatus
from exporter.web.app import make_app
from exporter.web.routes import scrape_timeout
from exporter.web.serve import listening

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.web.conftest import HeldSource


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("10", 9.5),
        ("10.5", 10.0),
        ("1", 0.5),
        ("0.5", 0.25),
        ("30", 29.5),
        ("31", 29.5),
        ("1e9", 29.5),
        ("0", 29.5),
        ("-1", 29.5),
        ("nan", 29.5),
        ("inf", 29.5),
        ("", 29.5),
        ("soon", 29.5),
        ("10,10", 29.5),
    ],
)
def test_the_scrape_timeout_less_a_margin(header: str, seconds: float) -> None:
    """A probe ends before the scrape timeout; a meaningless header counts as missing."""
    assert scrape_timeout(header) == seconds


async def test_a_probe_is_of_one_configured_team(client: ClientSession, source: "HeldSource") -> None:
    """Only existing names are polled."""
    found = []
    for query in ("", "?team=", "?team=a&team=render", "?team=film", "?team=http://127.0.0.1/", "?team=render"):
        async with client.get(f"/probe{query}", headers={"X-Prometheus-Scrape-Timeout-Seconds": "3"}) as answer:
            found.append((answer.status, await answer.text()))
    assert [status for status, _ in found] == [400, 400, 400, 404, 404, 200]
    assert found[-1][1] == source.text_body.decode()
    assert {text for status, text in found if status == 404} == {"No such team; /sd lists the teams.\n"}
    assert source.probed == [("render", 2.5)]


async def test_discovery_lists_the_teams(
    client: ClientSession, source: "HeldSource", status_of: Callable[..., ExporterStatus], up_team: TeamStatus
) -> None:
    """There is a target for each team at the request's address, whatever characters its name has."""
    source.current = status_of(up_team, replace(up_team, name='Ä "&\\渲'))
    async with client.get("/sd", headers={"Host": "exporter.example:1"}) as answer:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert json.loads(await answer.text()) == [
            {
                "targets": ["exporter.example:1"],
                "labels": {"__scheme__": "http", "__metrics_path__": "/probe", "__param_team": name},
            }
            for name in ("render", 'Ä "&\\渲')
        ]


async def test_reload_where_it_is_not_enabled(client: ClientSession) -> None:
    """403 says how to enable reloads, and 405 that they need POST or PUT."""
    for method, status in (("POST", 403), ("PUT", 403), ("GET", 405), ("HEAD", 405)):
        async with client.request(method, "/-/reload") as answer:
            assert answer.status == status
            if status == 405:
                assert answer.headers["Allow"] == "POST, PUT"


@pytest.mark.parametrize(("mistakes", "status", "text"), [((), 200, "Reloaded.\n"), (("a", "b"), 500, "a\nb\n")])
async def test_reload_tells_the_mistakes(source: "HeldSource", mistakes: Sequence[str], status: int, text: str) -> None:
    """The response has a line for each mistake, or says that it is done."""
    calls = []

    async def reload() -> Sequence[str]:
        calls.append(1)
        return mistakes

    async with listening(make_app(source, reload=reload), ("127.0.0.1", 0)) as ((_, port),), ClientSession() as session:
        for method in ("POST", "PUT"):
            async with session.request(method, f"http://127.0.0.1:{port}/-/reload") as answer:
                assert (answer.status, await answer.text()) == (status, text)
    assert len(calls) == 2
