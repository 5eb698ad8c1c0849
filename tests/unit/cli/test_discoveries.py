import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.credentials import origin_key
from exporter.cli.discoveries import Discoveries
from exporter.config import Settings, load
from fixtures.fakes import FakeClient, FakeClock, make_credential

A, B, C = (f"019abc12-4567-7890-abcd-ef123456789{digit}" for digit in "abc")


class FakePlatform:
    """Gives clients that see the teams of their credential. Mutable: tests change who is in which team."""

    def __init__(self, **teams: Mapping[str, str]) -> None:
        self.teams: dict[str, Mapping[str, str]] = teams
        self.clock = FakeClock()
        self.discoveries = Discoveries(self.clock.clock, FakeClient(clock=self.clock).counters)
        self.clients: dict[str, FakeClient] = {}

    def team(self, name: str, credential: Any, team_id: str | None) -> FakeClient:
        assert team_id is None
        listed = self.teams[credential.name]
        me = {"team_list": [{"id": team_id, "display_name": name} for team_id, name in listed.items()]}
        self.clients[name] = FakeClient(name, self.discoveries._counters, self.clock, me=me)
        return self.clients[name]

    async def find(self, settings: Settings, *, same: bool = True, kinds: str = "jwt") -> list[str]:
        """Reconfigure, look, and say which teams are polled with which credential."""
        sources = {}
        for origin in (*settings.teams, *settings.discover):
            source = sources[origin_key(origin)] = Named(kinds, origin.token_env or "")
            assert source.renews is False
        self.discoveries.reconfigure(settings.discover, sources, self, same_platform=same)  # type: ignore[arg-type]  # a fake
        await self.discoveries.look()
        return self.polled(settings)

    def polled(self, settings: Settings) -> list[str]:
        """Which teams are polled with which credential."""
        return [f"{team.name} {team.token_env}" for team in self.discoveries.teams(settings)]


class Named:
    """A credential that says where it is from."""

    renews = False

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = make_credential(kind).kind, name


def settings(*discover: dict[str, Any], teams: list[dict[str, Any]] | None = None) -> Settings:
    return load(None, {}, {"teams": teams or [], "discover": list(discover)})


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({}, ["Render", "Render-test", "Film"]),
        ({"include": ["Render"]}, ["Render"]),
        ({"include": ["Render.*", "Fi.m"]}, ["Render", "Render-test", "Film"]),
        ({"include": ["render"]}, []),
        ({"include": ["(?i)render"]}, ["Render"]),
        ({"exclude": [".*-test", "Fi"]}, ["Render", "Film"]),
        ({"include": ["Render.*"], "exclude": [".*-test"]}, ["Render"]),
    ],
)
async def test_who_is_wanted(choice: dict[str, Any], names: list[str]) -> None:
    """Patterns are for whole names; all are wanted without any to include, and who is excluded is out."""
    platform = FakePlatform(ONE={A: "Render", B: "Render-test", C: "Film"})
    assert await platform.find(settings({"token_env": "ONE", **choice})) == [f"{name} ONE" for name in names]


async def test_a_found_team_is_configured_like_its_discovery() -> None:
    """It has the credential and the interval of its discovery, and the platform's id."""
    platform = FakePlatform(ONE={A: "Render"})
    one = settings({"token_env": "ONE", "interval": "7s"})
    await platform.find(one)
    (team,) = platform.discoveries.teams(one)
    assert (team.name, team.team_id, team.interval, team.token_env) == ("Render", A, 7.0, "ONE")
    assert (team.token_file, team.agents_path, team.expected_agents) == (None, None, ())


async def test_a_file_is_handed_on() -> None:
    """A discovery's files are those of its teams."""
    (discover,) = settings({"refresh_token_file": "secrets/operator"}).discover
    team = discover.team("Render", A)
    assert team is not None
    assert (team.refresh_token_file, team.token_file) == (Path("secrets/operator"), None)


async def test_a_taken_name_is_left_to_whoever_has_it(caplog: pytest.LogCaptureFixture) -> None:
    """Configured teams come first, then the first discovery, then the oldest team; the log says so, once."""
    platform = FakePlatform(ONE={B: "Film", A: "Render", C: "Film"}, TWO={"not-seen": "x", C: "Film"})
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"}, teams=[{"name": "Render", "token_env": "KEY"}])
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        assert await platform.find(both) == ["Film ONE"]
    told = [(record.__dict__["fields"]["team"], record.__dict__["fields"]["why"]) for record in caplog.records]
    assert told == [
        (A, "the name Render is taken"),
        (C, "the name Film is taken"),
        ("not-seen", "no usable name or id"),
    ]


async def test_a_team_is_polled_once() -> None:
    """A team that is configured by its id, or seen with two credentials, has one set of series; that is no news."""
    platform = FakePlatform(ONE={A: "Render", B: "Film"}, TWO={B: "Film", C: "Audio"})
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"}, teams=[{"name": "r", "team_id": A, "token_env": "J"}])
    assert await platform.find(both) == ["Film ONE", "Audio TWO"]
    assert platform.discoveries._left_out == {}


@pytest.mark.parametrize("name", ["x" * 101, " padded", "line\nbreak", "sk-0123456789abcdef"])
async def test_a_name_that_cannot_be_a_label_is_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What could not be configured is not polled under a name made up; the log names the team by its id."""
    platform = FakePlatform(ONE={A: name, B: "Film"})
    assert await platform.find(settings({"token_env": "ONE"})) == ["Film ONE"]
    assert [record.__dict__["fields"]["team"] for record in caplog.records] == [A]


async def test_a_device_key_reads_one_team(caplog: pytest.LogCaptureFixture) -> None:
    """The platform lists the teams of the key's user but answers for one of them: with several nothing is polled."""
    platform = FakePlatform(ONE={A: "Render", B: "Film"})
    assert await platform.find(settings({"token_env": "ONE"}), kinds="device") == []
    (record,) = caplog.records
    assert record.__dict__["fields"] == {
        "team": "discover[0]",
        "why": "a device key reads one team; include that one alone of Render, Film",
    }
    narrowed = settings({"token_env": "ONE", "include": ["Film"]})
    assert await platform.find(narrowed, kinds="device") == ["Film ONE"]


async def test_what_was_found_outlives_a_reload() -> None:
    """Other patterns, another place in the list: the teams stay without a new look, unless the platform is another."""
    platform = FakePlatform(ONE={A: "Render"}, TWO={B: "Film"})
    first = settings({"token_env": "ONE"}, {"token_env": "TWO"})
    await platform.find(first)
    second = settings({"token_env": "TWO", "interval": "9s"})
    sources: Any = {origin_key(origin): Named("jwt", "TWO") for origin in second.discover}
    platform.discoveries.reconfigure(second.discover, sources, platform, same_platform=True)  # type: ignore[arg-type]  # a fake
    assert platform.polled(second) == ["Film TWO"]
    assert platform.discoveries.attempted
    platform.discoveries.reconfigure(second.discover, sources, platform, same_platform=False)  # type: ignore[arg-type]  # a fake
    assert platform.polled(second) == []
    assert not platform.discoveries.attempted


async def test_requests_are_counted_under_the_place_in_the_list() -> None:
    """`discover[N]` stands in for the team's name, from 0 on, and ends with the entry."""
    platform = FakePlatform(ONE={A: "Render"}, TWO={B: "Film"})
    counters = platform.discoveries._counters
    await platform.find(settings({"token_env": "ONE"}, {"token_env": "TWO"}))
    assert counters.requests == {("discover[0]", "/users/me"): 1, ("discover[1]", "/users/me"): 1}
    await platform.find(settings({"token_env": "TWO"}))
    assert counters.requests == {("discover[0]", "/users/me"): 2}
    assert {team for team, *_ in counters.failures} == {"discover[0]"}


async def test_one_credential_is_asked_once() -> None:
    """Two choices among the teams of one credential share its looks."""
    platform = FakePlatform(ONE={A: "Render", B: "Film"})
    two = settings(
        {"token_env": "ONE", "include": ["Render"], "interval": "5s"}, {"token_env": "ONE", "exclude": ["Render"]}
    )
    assert await platform.find(two) == ["Render ONE", "Film ONE"]
    assert [team.interval for team in platform.discoveries.teams(two)] == [5.0, None]
    assert list(platform.clients) == ["discover[0]"]
    assert platform.clients["discover[0]"].asked("/users/me") == 1


async def test_looks_go_on_and_start_anew_when_reconfigured() -> None:
    """Every credential is asked at once, also those that a reload brings; those that go are not asked any more."""
    platform = FakePlatform(ONE={A: "Render"}, TWO={B: "Film"})
    told = asyncio.Event()

    async def tell() -> None:
        told.set()

    async def look_again(one: Settings) -> None:
        told.clear()
        sources: Any = {origin_key(each): Named("jwt", each.token_env or "") for each in one.discover}
        platform.discoveries.reconfigure(one.discover, sources, platform, same_platform=True)  # type: ignore[arg-type]  # a fake
        await told.wait()

    first, second = settings({"token_env": "ONE"}), settings({"token_env": "TWO"})
    looking = asyncio.create_task(platform.discoveries.keep_looking(tell))
    await asyncio.sleep(0)
    await look_again(first)
    assert platform.polled(first) == ["Render ONE"]
    await look_again(second)
    assert platform.polled(second) == ["Film TWO"]
    looking.cancel()
    await asyncio.wait((looking,))
    assert looking.cancelled()
