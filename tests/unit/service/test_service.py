import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from exporter.collect.schedule import GRACE
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.errors import ConfigError, Unauthorized
from exporter.service.budget import MAX_REQUESTS_PER_POLL
from exporter.service.credentials import open_credential, origin_key
from exporter.service.discovery import Discovery, Findings, FoundTeam
from exporter.service.service import Service, started
from exporter.service.shard import Shard
from fixtures import TEAM_ID

ENVIRON = {"SK": "sk-MARKER", "DK": "dk-MARKER", "JWT": "eyJMARKER.x.y"}
NOWHERE = "http://127.0.0.1:9/api"
RENDER = {"name": "render", "token_env": "SK"}


def settings(
    teams: Sequence[dict[str, Any]] = (RENDER,), discover: Sequence[dict[str, Any]] = (), **sections: Any
) -> Settings:
    api = {"base_url": NOWHERE, **sections.pop("api", {})}
    return load(None, {}, {"teams": list(teams), "discover": list(discover), "api": api, **sections})


def serving(one: Settings, shard: Shard | None = None) -> Any:
    return started(one, ENVIRON, shard or Shard())


@pytest.fixture
def session(tmp_path: Path) -> dict[str, Any]:
    """A team with a session, whose file only one process may have open."""
    path = tmp_path / "operator"
    path.touch(mode=0o600)
    path.write_text("rt-MARKER\n", encoding="utf-8")
    return {"name": "film", "team_id": TEAM_ID, "refresh_token_file": str(path)}


def is_free(session: dict[str, Any]) -> bool:
    """Whether another process could open the session now."""
    try:
        open_credential(settings([session]).teams[0], ENVIRON, lock=True).release()
    except ConfigError:
        return False
    return True


def unusable(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Sections that cannot be used."""
    if what == "proxy":
        monkeypatch.setenv("http_proxy", "ftp://proxy")  # the lower case one goes first
        return {"api": {"base_url": "http://platform.invalid"}}
    if what == "ca":
        (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
        return {"api": {"ca_file": str(tmp_path / "ca.pem")}}
    return {"teams": [RENDER, {"name": "audio", "token_env": "UNSET"}]}


UNUSABLE = pytest.mark.parametrize("what", ["proxy", "ca", "credential"])


@UNUSABLE
async def test_a_start_that_fails_keeps_nothing(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """After a bad credential, CA or proxy, the sessions that were already opened are released."""
    bad = unusable(what, tmp_path, monkeypatch)
    with pytest.raises(ConfigError):
        async with serving(settings([session, *bad.pop("teams", ())], **bad)):
            pass
    assert is_free(session)


@UNUSABLE
async def test_a_reload_that_fails_changes_nothing(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """After a failed reload assembly, teams and schedule are unchanged, and new resources are released."""
    async with serving(settings(collect={"interval": "7s"})) as service:
        before, team = service.assembly, service.exporter.team("render")
        bad = unusable(what, tmp_path, monkeypatch)
        with pytest.raises(ConfigError):
            await service.apply(settings([session, *bad.pop("teams", ())], **bad))
        assert service.assembly is before
        assert [each.name for each in service.exporter.status().teams] == ["render"]
        assert service.exporter.team("render") is team
        assert team.rules.interval == 7.0
        assert is_free(session)
        await service.apply(settings([RENDER, session]))
        assert not is_free(session)
    assert is_free(session)


async def test_what_stays_the_same_is_kept(session: dict[str, Any]) -> None:
    """An unchanged configuration keeps connections, credentials and teams with their data; changed rules apply."""
    async with serving(settings([RENDER, session])) as service:
        before, teams = service.assembly, [service.exporter.team(name) for name in ("render", "film")]
        await service.apply(settings([session, RENDER], collect={"max_agents": 5}))
        assert service.assembly.platform is before.platform
        assert service.assembly.credentials == before.credentials
        assert [service.exporter.team(name) for name in ("render", "film")] == teams
        assert {team.rules.agents.max_agents for team in teams} == {5}
        assert not is_free(session)


async def test_a_session_that_is_configured_no_more_is_let_go(session: dict[str, Any]) -> None:
    """A session that is no longer configured can be opened by another process at once."""
    async with serving(settings([RENDER, session])) as service:
        await service.apply(settings())
        await asyncio.gather(*service._retiring)
        assert is_free(session)
        assert service.exporter.team("film") is None


async def test_other_limits_are_another_connection() -> None:
    """Any change under `api` needs new connections; teams keep their data unless the platform changes."""
    async with serving(settings()) as service:
        platform, team = service.assembly.platform, service.exporter.team("render")
        await service.apply(settings(api={"timeout": "20s"}))
        assert service.assembly.platform is not platform
        assert service.exporter.team("render") is team
        await service.apply(settings(api={"base_url": "http://127.0.0.1:10/api"}))
        assert service.exporter.team("render") is not team


async def test_the_schedule_is_stuck_only_after_the_longest_wait() -> None:
    """The health check allows for the wait for permits, for example of a hundred teams at one request a second."""
    teams = [{"name": f"team-{number}", "token_env": "SK"} for number in range(100)]
    async with serving(settings(teams, api={"timeout": "7s", "max_requests_per_second": 1})) as service:
        assert service._schedule.stuck_after == 7 + GRACE + 100 * MAX_REQUESTS_PER_POLL
        await service.apply(settings())
        assert service._schedule.stuck_after == 10 + GRACE + MAX_REQUESTS_PER_POLL / 10


async def test_a_shard_polls_its_own_teams() -> None:
    """A shard polls only its own teams, configured or discovered, and needs only their credentials."""
    names = [f"team-{number}" for number in range(20)]
    teams = [{"name": name, "token_env": f"T{number}"} for number, name in enumerate(names)]
    shard = Shard(1, 3)
    environ = {f"T{number}": "sk-x" for number, name in enumerate(names) if shard.holds(name)} | ENVIRON
    async with started(settings(teams, [{"token_env": "JWT"}]), environ, shard) as service:
        find(service, "JWT", {f"id-{number}": f"found-{number}" for number in range(20)})
        await service.update_teams()
        polled = [team.name for team in service.exporter.status().teams]
        assert polled == [name for name in (*names, *(f"found-{n}" for n in range(20))) if shard.holds(name)]


def find(service: Service, variable: str, teams: dict[str, str]) -> None:
    """Make a discovery have found these teams: ids and names."""
    key = next(origin_key(each) for each in service.assembly.settings.discover if each.token_env == variable)
    found = tuple(
        FoundTeam(f"019abc12-4567-7890-abcd-{hash(team_id) % 16**12:012x}", name) for team_id, name in teams.items()
    )
    service.assembly.discoveries[key].findings = Findings(found, attempted=True)


async def test_found_teams_outlive_a_reload() -> None:
    """With another position or other patterns findings are kept, unless the platform changes."""
    async with serving(settings([], [{"token_env": "DK"}, {"token_env": "JWT"}])) as service:
        find(service, "JWT", {"a": "film"})
        await service.update_teams()
        film = service.exporter.team("film")
        assert film is not None
        assert not service.exporter.status().discovered  # the other one was not asked yet
        await service.apply(settings([], [{"token_env": "JWT"}]))
        assert service.exporter.team("film") is film
        assert service.exporter.status().discovered
        await service.apply(settings([], [{"token_env": "JWT"}], api={"base_url": "http://127.0.0.1:10/api"}))
        assert service.exporter.status().teams == ()
        assert not service.exporter.status().discovered


async def test_one_credential_is_asked_once() -> None:
    """Two entries with one credential share its discovery, which is counted under the first one's name."""
    two: list[dict[str, Any]] = [
        {"token_env": "JWT", "include": ["a"]},
        {"token_env": "DK"},
        {"token_env": "JWT", "exclude": ["a"]},
    ]
    async with serving(settings([], two)) as service:
        assert [each.name for each in service.assembly.discoveries.values()] == ["discover[0]", "discover[1]"]
        assert set(service.counters.paths) == {"discover[0]", "discover[1]"}
        await service.apply(settings([], [{"token_env": "DK"}]))
        assert set(service.counters.paths) == {"discover[0]"}


async def test_who_is_left_out_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A team that is left out is logged once, not after every attempt."""
    caplog.set_level(logging.WARNING)
    async with serving(settings(discover=[{"token_env": "JWT"}])) as service:
        find(service, "JWT", {"a": "render"})
        for _ in range(3):
            await service.update_teams()
    assert [record.__dict__["fields"]["why"] for record in caplog.records] == [
        "its name is already used by a configured team"
    ]


async def test_a_name_that_is_a_credential_is_masked() -> None:
    """Nobody reads a credential in the status, though somebody gave it to a team as its name."""
    async with serving(settings(discover=[{"token_env": "JWT"}])) as service:
        find(service, "JWT", {"a": "sk-0123456789abcdef0123"})
        await service.update_teams()
        [discovery] = service.exporter.discoveries
    assert [each.name for each in discovery.left_out] == ["sk-***"]


async def test_a_discovery_that_wants_nobody_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A discovery that wants none of its teams logs their names on one line, so that patterns can be corrected."""
    caplog.set_level(logging.WARNING)
    async with serving(settings([], [{"token_env": "JWT", "include": ["nobody"]}])) as service:
        find(service, "JWT", {"a": "render", "b": "film\n"})
        for _ in range(3):
            await service.update_teams()
    [record] = caplog.records
    assert record.getMessage() == "no discovered team is wanted"
    assert sorted(record.__dict__["fields"]["found"].split(", ")) == ["film", "render"]


async def test_a_reload_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All discoveries run, also those added by a reload; removed ones stop."""
    asked: list[str] = []
    looked = asyncio.Event()

    async def look(discovery: Discovery) -> None:
        asked.append(discovery.name)
        discovery.findings = Findings(attempted=True)
        looked.set()

    monkeypatch.setattr(Discovery, "look", look)
    async with serving(settings([], [{"token_env": "JWT"}])) as service:
        running = asyncio.create_task(service.run())
        await looked.wait()
        assert asked == ["discover[0]"]
        looked.clear()
        await service.apply(settings([], [{"token_env": "DK"}, {"token_env": "JWT"}]))
        await looked.wait()
        await asyncio.sleep(0)
        assert asked == ["discover[0]", "discover[0]", "discover[1]"]
        running.cancel()
        await asyncio.wait((running,))


async def test_once_nothing_could_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`discover_once` returns whether all discoveries succeeded."""

    async def look(discovery: Discovery) -> None:
        failure = Unauthorized("401: no") if discovery.name == failing else None
        discovery.findings = Findings(attempted=True, failure=failure)

    monkeypatch.setattr(Discovery, "look", look)
    async with serving(settings([], [{"token_env": "JWT"}, {"token_env": "DK"}])) as service:
        failing = "discover[1]"
        assert not await service.discover_once()
        good, bad = service.exporter.status().discoveries
        assert (good.success, good.reason, bad.success, bad.reason, bad.error) == (True, None, False, "auth", "401: no")
        failing = ""
        assert await service.discover_once()


async def test_a_reload_reads_the_ca_bundle(tmp_path: Path) -> None:
    """A reload reads the CA bundle again even if connections stay; an unusable bundle is a mistake."""
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    api = {"ca_file": str(bundle)}
    async with serving(settings(api=api)) as service:
        platform = service.assembly.platform
        before = await platform.trust.context()
        trustme.CA().cert_pem.write_to_path(str(bundle))
        await service.apply(settings(api=api))
        assert service.assembly.platform is platform
        assert await platform.trust.context() is not before
        bundle.write_text("garbage")
        with pytest.raises(ConfigError, match="not a PEM certificate bundle"):
            await service.apply(settings(api=api))
