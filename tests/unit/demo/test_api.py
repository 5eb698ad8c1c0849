import base64
import json
import ssl
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from exporter.demo import ASSUMED, SimulatedPlatform, SimulatedTeam

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.demo.conftest import Asker, Clock

AskerOf = Callable[[str, aiohttp.ClientSession], "Asker"]

RUNTIME = ("/r/tasks", "/r/agents")
MANAGEMENT = ("/agents",)


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("render", "/r/tasks", 200),
        ("render", "/r/agents", 200),
        ("render", "/agents", 403),
        ("render", "/users/me", 403),
        ("research", "/r/tasks", 200),
        ("research", "/r/agents", 200),
        ("research", "/agents", 200),
        ("research", "/users/me", 200),
        ("batch", "/r/tasks", 400),
        ("batch", "/r/agents", 400),
        ("batch", "/agents", 400),
        ("batch", "/users/me", 200),
    ],
)
async def test_who_may_ask_what_without_a_team(
    ask: "Asker", platform: SimulatedPlatform, name: str, path: str, status: int
) -> None:
    """Integration keys only reach runtime paths, device keys reach all; a JWT needs a team except for its user."""
    reply = await ask(path, platform.teams[name].token)
    assert reply.status == status
    assert ("error_message" in reply.json) == (status != 200)


@pytest.mark.parametrize("path", [*RUNTIME, *MANAGEMENT])
async def test_a_session_is_bound_by_the_header(ask: "Asker", platform: SimulatedPlatform, path: str) -> None:
    """X-Team-ID chooses among the user's teams; any other team is answered with 403."""
    batch, render = platform.teams["batch"], platform.teams["render"]
    assert (await ask(path, batch.token, team_id=batch.team_id)).status == 200
    assert (await ask(path, batch.token, team_id=render.team_id)).status == 403


async def test_the_header_is_ignored_for_keys(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """A key answers for its own team whatever the header says."""
    team.add_agent("mine")
    reply = await ask("/r/agents", team.token, team_id=platform.teams["batch"].team_id)
    assert [agent["agent_id"] for agent in reply.json["agent_list"]] == ["mine"]


@pytest.mark.parametrize("token", [None, "", "ak-agent", "sk-unknown", "eyJ.unknown.jwt"])
@pytest.mark.parametrize("path", [*RUNTIME, *MANAGEMENT, "/users/me"])
async def test_unknown_credentials(ask: "Asker", path: str, token: str | None) -> None:
    """Missing, unknown and agent credentials are answered with 401 everywhere."""
    reply = await ask(path, token)
    assert (reply.status, list(reply.json)) == (401, ["error_message"])


async def test_revoked_and_expired(ask: "Asker", platform: SimulatedPlatform, clock: "Clock") -> None:
    """A revoked key is refused from the next request on; a JWT once it has expired."""
    platform.access.revoke("sk-render")
    assert (await ask("/r/tasks", "sk-render")).status == 401
    batch = platform.teams["batch"]
    clock.now += 3599
    assert (await ask("/agents", batch.token, team_id=batch.team_id)).status == 200
    clock.now += 1
    assert (await ask("/agents", batch.token, team_id=batch.team_id)).status == 401


async def test_a_second_key(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """A team may have several keys, of both kinds."""
    key = platform.access.add_key(team, "device")
    assert key.startswith("dk-")
    assert (await ask("/agents", key)).status == 200


async def test_refresh_rotates(ask: "Asker", platform: SimulatedPlatform, clock: "Clock") -> None:
    """Refreshing returns a new pair; the old refresh token is no longer valid, the old access token still is."""
    batch = platform.teams["batch"]
    old_token, old_refresh = batch.token, batch.refresh_token
    clock.now += 60
    reply = await ask.refresh({"refresh_token": old_refresh})
    assert reply.status == 200
    assert reply.json == {"access_token": batch.token, "refresh_token": batch.refresh_token, "expires_in": 3600}
    assert old_token != batch.token
    assert (await ask.refresh({"refresh_token": old_refresh})).status == 401
    for token in (old_token, batch.token):
        assert (await ask("/r/tasks", token, team_id=batch.team_id)).status == 200
    assert (await ask.refresh({"refresh_token": batch.refresh_token})).status == 200


@pytest.mark.parametrize("body", [{}, [], None, {"refresh_token": 5}, {"refresh_token": ""}])
async def test_refresh_needs_a_token(ask: "Asker", body: object) -> None:
    """A body without a refresh token is answered with 400."""
    assert (await ask.refresh(body)).status == 400


def test_a_jwt_says_when_it_expires(platform: SimulatedPlatform, clock: "Clock") -> None:
    """The payload of the token has `exp` in Unix seconds."""
    token = platform.teams["batch"].token
    assert token.startswith("eyJ")
    claims = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"] == clock.now + 3600


async def test_users_me(ask: "Asker", platform: SimulatedPlatform) -> None:
    """A user sees each of their teams with id and name, and the limits by namespace."""
    research, render = platform.teams["research"], platform.teams["render"]
    reply = await ask("/users/me", research.token)
    quotas = {"max_agents": 5, "max_workflows": -1}
    assert reply.json["team_list"] == [{"id": research.team_id, "display_name": "Research"}]
    assert reply.json["feature_flags"]["teams"] == {research.team_id: {"features": [], "quotas": quotas}}
    user = platform.access.add_user("ada", [render, research])
    reply = await ask("/users/me", user.access_token)
    assert [team["id"] for team in reply.json["team_list"]] == [render.team_id, research.team_id]


@pytest.mark.parametrize("status", ["pending", "waiting", "queued", "running", "completed", "failed", "cancelled"])
async def test_status_filter(ask: "Asker", team: SimulatedTeam, status: str) -> None:
    """The filter lists and counts only the tasks of one status; without it, all are listed."""
    mine = team.add_task(status=status)
    team.add_task(status="provisioning")
    reply = await ask("/r/tasks", team.token, status=status)
    assert [task["id"] for task in reply.json["task_list"]] == [mine]
    assert reply.json["page_meta"] == {"current_page": 1, "per_page": 20, "total_count": 1}
    assert (await ask("/r/tasks", team.token)).json["page_meta"]["total_count"] == 2


@pytest.mark.parametrize("status", ["provisioning", "done", "", "RUNNING"])
async def test_unknown_filter(ask: "Asker", team: SimulatedTeam, status: str) -> None:
    """The filter accepts seven statuses; anything else is answered with 400."""
    reply = await ask("/r/tasks", team.token, status=status)
    assert (reply.status, list(reply.json)) == (400, ["error_message"])


async def test_paging(ask: "Asker", team: SimulatedTeam) -> None:
    """Pages have no gaps or overlaps; past the end they are empty and still state the total."""
    expected = team.add_agents(45)
    seen = []
    for page in range(1, 4):
        reply = await ask("/r/agents", team.token, current_page=str(page))
        seen += [agent["agent_id"] for agent in reply.json["agent_list"]]
        assert reply.json["page_meta"] == {"current_page": page, "per_page": 20, "total_count": 45}
    assert seen == expected
    reply = await ask("/r/agents", team.token, current_page="4", per_page="100")
    assert reply.json == {"agent_list": [], "page_meta": {"current_page": 4, "per_page": 100, "total_count": 45}}


@pytest.mark.parametrize(
    ("name", "value"),
    [("current_page", value) for value in ("0", "-1", "x", "1.5", "", "\u0661", "9" * 5000)]
    + [("per_page", value) for value in ("0", "101", "x")],
)
async def test_paging_out_of_range(ask: "Asker", team: SimulatedTeam, name: str, value: str) -> None:
    """Pages start at 1 and hold 1 to 100 items; anything else is answered with 400."""
    for path in RUNTIME:
        assert (await ask(path, team.token, **{name: value})).status == 400


async def test_unknown_paths(ask: "Asker", team: SimulatedTeam) -> None:
    """Paths and methods outside the API are answered with 404 and a message."""
    for path in ("/nothing", "/auth/refresh", "/../r/tasks"):
        assert (await ask(path, team.token)).status == 404


async def test_gzip_only_if_asked(ask: "Asker", team: SimulatedTeam) -> None:
    """A large answer is compressed for clients that accept gzip, and only for them."""
    team.add_tasks(20)
    headers = {"Authorization": f"Bearer {team.token}"}
    bodies = []
    async with aiohttp.ClientSession(auto_decompress=False) as raw:
        for accepted in ("gzip", "identity"):
            async with raw.get(ask.url + "/r/tasks", headers=headers | {"Accept-Encoding": accepted}) as response:
                bodies.append(await response.read())
                assert response.headers.get("Content-Encoding", "identity") == accepted
    assert zlib.decompress(bodies[0], 31) == bodies[1]


async def test_date_is_simulated(ask: "Asker", team: SimulatedTeam, clock: "Clock") -> None:
    """The Date header comes from the simulated clock."""
    clock.now = 0
    assert (await ask("/r/tasks", team.token)).headers["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize("field", ["status", None])
async def test_status_field(asker: AskerOf, field: str | None) -> None:
    """A task may name its status in another field or leave it out; the filter works anyway."""
    platform = SimulatedPlatform(assumed=replace(ASSUMED, status_field=field))
    team = platform.add_team("render")
    team.add_task(status="running")
    async with platform.serve() as url, aiohttp.ClientSession() as session:
        reply = await asker(url, session)("/r/tasks", team.token, status="running")
    (task,) = reply.json["task_list"]
    assert "task_status" not in task
    assert task.get("status") == (field and "running")


async def test_journal(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam, clock: "Clock") -> None:
    """Each request is recorded with its time, team, path template, query and status; never with a credential."""
    await ask("/r/tasks", team.token, status="running")
    await ask("/agents", team.token)
    await ask("/agents", "ak-x")
    first, second, third = platform.journal
    assert (first.time, first.team, first.method, first.path) == (clock.now, "render", "GET", "/r/tasks")
    assert (first.query, first.status, first.credential_kind) == ({"status": "running"}, 200, "integration")
    assert (second.status, third.status, third.team, third.credential_kind) == (403, 401, None, None)
    assert platform.journal.count(path="/agents") == 2
    assert platform.journal.count(team="render") == 2
    assert platform.journal.count(team="render", path="/agents") == 1
    assert "sk-render" not in repr(list(platform.journal))
    platform.journal.clear()
    assert len(platform.journal) == 0


async def test_serving_again_on_the_same_port(asker: AskerOf, platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """A platform can be stopped and served again at the same address."""
    async with platform.serve() as url:
        port = int(url.split(":")[2].split("/")[0])
    async with platform.serve(port=port) as again, aiohttp.ClientSession() as session:
        assert again == url
        assert (await asker(url, session)("/r/tasks", team.token)).status == 200


async def test_tls_gives_https(platform: SimulatedPlatform) -> None:
    """With a TLS context the base URL is https."""
    async with platform.serve(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as url:
        assert url.startswith("https://127.0.0.1:")


def test_team_names_are_unique(platform: SimulatedPlatform) -> None:
    """A second team with the same name is a mistake."""
    with pytest.raises(ValueError, match="'render' already"):
        platform.add_team("render")
