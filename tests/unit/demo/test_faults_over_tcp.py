import asyncio
import gzip
import json
import math
import time
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from exporter.demo import SimulatedPlatform, SimulatedTeam, answers

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.demo.conftest import Asker, Clock

TASKS = "/r/tasks"
KEY = {"Authorization": "Bearer sk-render"}
BROKEN = (aiohttp.ClientError, ConnectionError)


@pytest.fixture
async def raw(ask: "Asker", team: SimulatedTeam) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that neither decompresses nor follows redirects, on a platform with 30 waiting tasks and 5 agents."""
    team.add_tasks(30, status="waiting")
    team.add_tasks(10, status="running")
    team.add_agents(5)
    async with aiohttp.ClientSession(ask.url.removesuffix("/api/v1"), auto_decompress=False, headers=KEY) as session:
        yield session


async def get(session: aiohttp.ClientSession, **query: str) -> tuple[aiohttp.ClientResponse, bytes]:
    params = {"status": "waiting", **query}
    async with session.get("/api/v1/r/tasks", params=params, allow_redirects=False) as response:
        return response, await response.read()


def plain(body: bytes) -> Any:
    return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


@pytest.mark.parametrize(
    ("value", "status", "retry_after"),
    [
        (500, 500, None),
        ("429/30", 429, "30"),
        ("429/30s", 429, "30"),
        ("503/@60", 503, "Fri, 15 Jan 2027 08:01:00 GMT"),
        ("429/soon", 429, "soon"),
        ("204", 204, None),
        ("999", 999, None),
    ],
)
async def test_status(
    raw: aiohttp.ClientSession, platform: SimulatedPlatform, value: Any, status: int, retry_after: str | None
) -> None:
    """A status is answered, with its Retry-After in either form, for the path and team it was set for."""
    platform.faults.set("status", team="render", path=TASKS, value=value)
    response, _ = await get(raw)
    assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
    assert platform.journal[-1].status == status
    async with raw.get("/api/v1/r/agents") as response:
        assert response.status == 200
    platform.faults.clear()
    assert (await get(raw))[0].status == 200


async def test_latency(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """The answer comes late, but complete."""
    platform.faults.set("latency", value="80ms")
    started = time.monotonic()
    _, body = await get(raw)
    assert time.monotonic() - started >= 0.08
    assert len(plain(body)["task_list"]) == 20


async def test_drip(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """The body comes in small parts over a long time, but complete."""
    platform.faults.set("drip", value="2ms")
    started = time.monotonic()
    _, body = await get(raw)
    assert time.monotonic() - started >= 0.1
    assert len(plain(body)["task_list"]) == 20


@pytest.mark.parametrize(("kind", "headers_seen"), [("hang", False), ("hang_body", True)])
async def test_hangs_end_with_the_server(
    platform: SimulatedPlatform, team: SimulatedTeam, kind: str, *, headers_seen: bool
) -> None:
    """A request hangs, before or within the body, as long as the server runs, and breaks at once when it stops."""
    team.add_tasks(20, status="waiting")
    platform.faults.set(kind)
    statuses = []

    async def fetch(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.get(url + TASKS, headers=KEY) as response:
            statuses.append(response.status)
            await response.read()

    async with platform.serve() as url:
        fetching = asyncio.create_task(fetch(url))
        done, _ = await asyncio.wait({fetching}, timeout=0.15)
        assert not done
        assert bool(statuses) == headers_seen
        started = time.monotonic()
    assert time.monotonic() - started < 30, "aiohttp's own patience is a minute"
    with pytest.raises(BROKEN):
        await fetching


async def test_hang_ends_with_the_client(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """A client may give up a hanging request: only an entry without a status remains, in the journal."""
    await get(raw)
    tasks = len(asyncio.all_tasks())
    platform.faults.set("hang", times=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(get(raw), 0.05)
    assert platform.journal[-1].status is None
    async with asyncio.timeout(1):
        while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0.01)
    assert (await get(raw))[0].status == 200


@pytest.mark.parametrize("kind", ["reset", "reset_body"])
async def test_resets(raw: aiohttp.ClientSession, platform: SimulatedPlatform, kind: str) -> None:
    """The connection breaks before or within the answer; the next connection works."""
    platform.faults.set(kind)
    with pytest.raises(BROKEN):
        await get(raw)
    platform.faults.clear()
    assert (await get(raw))[0].status == 200


@pytest.mark.parametrize(
    ("kind", "content"),
    [("empty", b""), ("html", b"<!doctype html>"), ("truncated", b'{"task_list": [')],
)
async def test_not_json(raw: aiohttp.ClientSession, platform: SimulatedPlatform, kind: str, content: bytes) -> None:
    """The status is 200, with a complete body that is not JSON."""
    platform.faults.set(kind)
    response, body = await get(raw)
    body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    assert response.status == 200
    assert body.startswith(content)
    with pytest.raises(ValueError, match="char"):
        json.loads(body)


async def test_endless(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """The body never ends, however much is read."""
    platform.faults.set("endless")
    async with raw.get("/api/v1/r/tasks") as response:
        assert "Content-Encoding" not in response.headers
        for _ in range(50):
            assert await response.content.readexactly(100_000)
        response.close()
    platform.faults.clear()
    assert (await get(raw))[0].status == 200


async def test_gzip_bomb(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """A small body decompresses to a large one: valid gzip and valid JSON for a client with enough memory."""
    platform.faults.set("gzip_bomb", value="16MiB")
    response, body = await get(raw)
    assert response.headers["Content-Encoding"] == "gzip"
    unpacked = zlib.decompress(body, 31)
    assert len(body) * 500 < len(unpacked)
    assert len(unpacked) > 16 << 20
    assert len(json.loads(unpacked)["task_list"]) == 20


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_wrong_encoding(raw: aiohttp.ClientSession, platform: SimulatedPlatform, encoding: str) -> None:
    """The header claims an encoding that the body does not have."""
    platform.faults.set("encoding", value=encoding)
    response, body = await get(raw)
    assert response.headers["Content-Encoding"] == encoding
    assert json.loads(body)


async def test_redirect(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """The answer redirects within the server; the journal shows a client that follows."""
    platform.faults.set("redirect")
    response, _ = await get(raw)
    assert (response.status, response.headers["Location"]) == (302, "/_simulate/elsewhere")
    async with raw.get("/_simulate/elsewhere") as response:
        pass
    assert platform.journal.count(path="/_simulate/elsewhere") == 1


@pytest.mark.parametrize("value", [b"\xff\x00", "[]"])
async def test_body(raw: aiohttp.ClientSession, platform: SimulatedPlatform, value: Any) -> None:
    """A body given by a test is sent as it is."""
    platform.faults.set("body", value=value)
    _, body = await get(raw)
    assert body == (value.encode() if isinstance(value, str) else value)


async def test_date(raw: aiohttp.ClientSession, platform: SimulatedPlatform, clock: "Clock") -> None:
    """The Date header is off by as much as was set."""
    clock.now = 100
    platform.faults.set("date", value="-40s")
    assert (await get(raw))[0].headers["Date"] == "Thu, 01 Jan 1970 00:01:00 GMT"


@pytest.mark.parametrize(
    ("lie", "total"),
    [
        ("+5", 35),
        ("-5", 25),
        ("-99", 0),
        ("float", 30.5),
        ("string", "30"),
        ("null", None),
        ("negative", -1),
        ("missing", "nothing"),
    ],
)
async def test_total(raw: aiohttp.ClientSession, platform: SimulatedPlatform, lie: str, total: object) -> None:
    """The total is wrong; the items are unchanged."""
    platform.faults.set("total", value=lie)
    answer = plain((await get(raw))[1])
    assert answer["page_meta"].get("total_count", "nothing") == total
    assert len(answer["task_list"]) == 20


async def test_ignore_filter(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Tasks of all statuses are listed and counted."""
    platform.faults.set("ignore_filter")
    answer = plain((await get(raw, per_page="100"))[1])
    assert {task["task_status"] for task in answer["task_list"]} == {"waiting", "running"}
    assert answer["page_meta"]["total_count"] == 40


@pytest.mark.parametrize(
    ("kind", "asked", "served"), [("per_page", 5, 7), ("per_page_cap", 5, 5), ("per_page_cap", 9, 7)]
)
async def test_per_page(
    raw: aiohttp.ClientSession, platform: SimulatedPlatform, kind: str, asked: int, served: int
) -> None:
    """The page size differs from the requested one, and pages are cut by it."""
    platform.faults.set(kind, value=7)
    first, second = [plain((await get(raw, per_page=str(asked), current_page=page))[1])["task_list"] for page in "12"]
    assert (len(first), len(second)) == (served, served)
    assert not {task["id"] for task in first} & {task["id"] for task in second}


@pytest.mark.parametrize(("shift", "total", "distinct"), [(3, 33, 17), (-3, 27, 20)])
async def test_shift(
    raw: aiohttp.ClientSession, platform: SimulatedPlatform, shift: int, total: int, distinct: int
) -> None:
    """Items added before the next page repeat some items, removed ones hide some; the total follows."""
    platform.faults.set("shift", value=shift)
    pages = [plain((await get(raw, per_page="10", current_page=page))[1]) for page in "12"]
    assert [page["page_meta"]["total_count"] for page in pages] == [30, total]
    assert len({task["id"] for page in pages for task in page["task_list"]}) == distinct


async def test_duplicate(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Some items of the page are listed twice."""
    platform.faults.set("duplicate", value=2)
    items = plain((await get(raw))[1])["task_list"]
    assert (len(items), len({task["id"] for task in items})) == (22, 20)


@pytest.mark.parametrize(("value", "nameless"), [("3", 3), ("all", 20)])
async def test_no_id(raw: aiohttp.ClientSession, platform: SimulatedPlatform, value: str, nameless: int) -> None:
    """Some or all items lack an id."""
    platform.faults.set("no_id", value=value)
    items = plain((await get(raw))[1])["task_list"]
    assert sum("id" not in task for task in items) == nameless


async def test_items(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """A list given by a test is paged like any other."""
    platform.faults.set("items", value=[1, None, {"id": "x"}])
    answer = plain((await get(raw, per_page="2", current_page="2"))[1])
    assert answer["task_list"] == [{"id": "x"}]
    assert answer["page_meta"]["total_count"] == 3


async def agents(session: aiohttp.ClientSession) -> list[Any]:
    async with session.get("/api/v1/r/agents") as response:
        items: list[Any] = plain(await response.read())["agent_list"]
        return items


@pytest.mark.parametrize(
    "variety", ["types", "nulls", "text", "surrogates", "long_text", "numbers", "times", "enums", "fields", "mixed"]
)
async def test_hostile_items_keep_their_id(
    raw: aiohttp.ClientSession, platform: SimulatedPlatform, team: SimulatedTeam, variety: str
) -> None:
    """Hostile items differ from the true ones in everything but their id."""
    true = team.agents().cut(0, 5)
    platform.faults.set("hostile", value=variety)
    items = await agents(raw)
    assert [item["agent_id"] for item in items] == [item["agent_id"] for item in true]
    assert items[0] != true[0]


async def test_hostile_values(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Each kind of hostile item contains what its name says."""

    async def first(variety: str) -> Any:
        platform.faults.set("hostile", value=variety)
        return (await agents(raw))[0]

    item = await first("text")
    assert (item["agent_status"], item["connected_at"]) == ("idle", "2027-01-15T08:00:00Z")
    text = item["agent_labels"][0]
    assert all(bad in text for bad in ('"', "\\", "\n", "\x00", "\u202e"))
    assert (await first("surrogates"))["tool"].startswith("\ud800")
    assert len((await first("long_text"))["tool"]) == 10_000_000
    assert set((await first("types"))["agent_labels"]) == {"0"}
    assert set((await first("nulls")).values()) == {"gpu-node-01", None}
    numbers = await first("numbers")
    assert numbers["gpu_capacity"] == 10**400
    assert math.isnan(numbers["running_count"])
    assert (await first("times"))["last_heartbeat"] == "not a time"
    assert (await first("enums"))["agent_status"] == "quantum-leap"
    assert "surprise" in await first("fields")


async def test_hostile_nesting(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Arrays nest deeper than parsers accept."""
    platform.faults.set("hostile", value="nesting")
    async with raw.get("/api/v1/r/agents") as response:
        body = gzip.decompress(await response.read())
    assert b"[" * 100_000 in body
    with pytest.raises(RecursionError):
        json.loads(body)


async def test_hostile_ids(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Ids have wrong types, and items are not objects."""
    platform.faults.set("hostile", value="ids")
    assert [item["agent_id"] for item in await agents(raw)] == [7, {}, [], "", " "]
    platform.faults.set("hostile", value="not_objects")
    assert await agents(raw) == [None, 5, "text", [], True]
    platform.faults.set("no_id", value="all")
    assert await agents(raw) == [None, 5, "text", [], True]


async def test_control_over_http(raw: aiohttp.ClientSession, platform: SimulatedPlatform) -> None:
    """Faults are set, shown and cleared over HTTP, as JSON or as text; the journal can be read and cleared."""
    one = {"kind": "status", "team": "render", "path": TASKS, "value": 503, "times": 2}
    async with raw.post("/_simulate/faults", json=one) as response:
        assert response.status == 200
    async with raw.post("/_simulate/faults", json={"faults": "*:/users/me:total=null,*:/agents:body=x"}) as response:
        shown = (await response.json())["faults"]
    assert [(fault["kind"], fault["team"], fault["times"]) for fault in shown] == [
        ("status", "render", 2),
        ("total", "*", None),
        ("body", "*", None),
    ]
    assert (await get(raw))[0].status == 503
    async with raw.get("/_simulate/requests", params={"team": "render", "path": TASKS}) as response:
        calls = await response.json()
    assert (calls["count"], calls["requests"][0]["status"]) == (1, 503)
    async with raw.delete("/_simulate/faults") as response:
        assert await response.json() == {"faults": []}
    assert len(platform.faults) == 0
    async with raw.delete("/_simulate/requests"), raw.get("/_simulate/faults"):
        assert len(platform.journal) == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"kind": 5}',
        '{"kind": "hang", "tame": "x"}',
        '{"kind": "hang", "times": "2"}',
        '{"kind": "hang", "team": 5}',
        '{"kind": "fire"}',
        '{"faults": "x"}',
    ],
)
async def test_control_refuses(raw: aiohttp.ClientSession, platform: SimulatedPlatform, body: str) -> None:
    """A fault that cannot be parsed is answered with 400 and the reason."""
    async with raw.post("/_simulate/faults", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error_message"]
    assert len(platform.faults) == 0


async def test_a_client_that_leaves_is_not_an_error(
    raw: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exporter may stop while it is answered: the simulated platform then logs no traceback."""

    async def send(request: web.Request, *_: object) -> web.StreamResponse:
        # What is certain here is a race with a real client: the connection is closing, and nothing has noticed yet.
        assert request.transport is not None
        request.transport.close()
        await web.StreamResponse().prepare(request)
        raise AssertionError("the connection was open")

    monkeypatch.setattr(answers, "send", send)
    with pytest.raises(BROKEN):
        await get(raw)
    assert not caplog.records
