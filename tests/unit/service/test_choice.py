from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from exporter.config.load import load
from exporter.config.mistakes import words
from exporter.config.settings import Settings
from exporter.config.types import TeamId, TeamName
from exporter.service.choice import Choice, choose
from exporter.service.credentials import origin_key
from exporter.service.discovery import Discovery, Findings, FoundTeam
from fixtures.fakes import FakeClient, make_credential

A, B, C = (f"019abc12-4567-7890-abcd-ef123456789{digit}" for digit in "abc")


def settings(*discover: dict[str, Any], teams: Sequence[dict[str, Any]] = ()) -> Settings:
    return load(None, {}, {"teams": list(teams), "discover": list(discover)})


def chosen(one: Settings, kind: str = "jwt", **found: Mapping[str, str]) -> tuple[Choice, ...]:
    """The choices if each credential, named by its variable, has these teams: ids and names."""
    discoveries, credentials = {}, {}
    for discover in one.discover:
        teams = tuple(FoundTeam(team_id, name) for team_id, name in found[discover.token_env or ""].items())
        client: Any = FakeClient()
        discoveries[origin_key(discover)] = Discovery(
            "",
            client=client,
            findings=Findings(teams),
            counters=client.counters,
            clock=lambda: 0.0,
            random=lambda: 0.5,
        )
        credentials[origin_key(discover)] = make_credential(kind)
    return choose(one, credentials, discoveries)


def polled(choices: Sequence[Choice]) -> list[str]:
    """The polled teams by credential."""
    return [f"{team.name} {team.token_env}" for choice in choices for team in choice.teams]


def left_out(choices: Sequence[Choice]) -> dict[str, str]:
    """The teams that are left out, by id, with the reason."""
    return {team.team_id: why for choice in choices for team, why in choice.left_out.items()}


@pytest.mark.parametrize(
    ("patterns", "names"),
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
def test_who_is_wanted(patterns: dict[str, Any], names: list[str]) -> None:
    """Patterns match whole names; without `include` all teams are wanted, except the excluded ones."""
    choices = chosen(settings({"token_env": "ONE", **patterns}), ONE={A: "Render", B: "Render-test", C: "Film"})
    assert polled(choices) == [f"{name} ONE" for name in names]


def test_a_found_team_is_configured_like_its_discovery() -> None:
    """A discovered team has the credential and the interval of its discovery, and the platform's id."""
    one = settings({"token_env": "ONE", "interval": "7s", "token_expires": "2027-01-31"})
    ((team,),) = (choice.teams for choice in chosen(one, ONE={A: "Render"}))
    assert (team.name, team.team_id, team.interval, team.token_env) == ("Render", A, 7.0, "ONE")
    assert (team.token_file, team.agents_path, team.expected_agents) == (None, None, ())
    assert team.token_expires == 1_801_353_600.0


def test_a_file_is_handed_on() -> None:
    """Discovered teams use the files of their discovery."""
    (discover,) = settings({"refresh_token_file": "secrets/operator"}).discover
    team = discover.team("Render", A)
    assert team is not None
    assert (team.refresh_token_file, team.token_file) == (Path("secrets/operator"), None)


def test_a_configured_name_is_left_to_the_team_that_has_it() -> None:
    """A team with the name of a configured one, or of a discovery, is left out: it may be the same team."""
    one = settings({"token_env": "ONE", "name": "Film"}, teams=[{"name": "Render", "token_env": "KEY"}])
    choices = chosen(one, ONE={A: "Render", B: "Film", C: "Audio"})
    assert polled(choices) == ["Audio ONE"]
    assert left_out(choices) == {
        A: "its name is already used by a configured team",
        B: "its name is already used by a discovery",
    }


def test_found_teams_of_one_name_both_get_in() -> None:
    """Of teams with the same name the first keeps it, and the others have their id appended."""
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"})
    choices = chosen(both, ONE={A: "Film", B: "Film"}, TWO={"team_01HX": " Film\u00a0", A: "Film"})
    assert polled(choices) == ["Film ONE", f"Film ({B}) ONE", "Film (team_01HX) TWO"]
    assert left_out(choices) == {}
    assert [choice.polled for choice in choices] == [("Film", f"Film ({B})"), ("Film (team_01HX)", "Film")]


def test_a_team_is_polled_once() -> None:
    """A team that is configured by its id, or found with two credentials, is polled once."""
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"}, teams=[{"name": "r", "team_id": A, "token_env": "J"}])
    choices = chosen(both, ONE={A: "Render", B: "Film"}, TWO={B: "Film", C: "Audio"})
    assert (polled(choices), left_out(choices)) == (["Film ONE", "Audio TWO"], {})
    assert [choice.polled for choice in choices] == [("r", "Film"), ("Film", "Audio")]


@pytest.mark.parametrize("name", ["x" * 101, "line\nbreak", "sk-0123456789abcdef", "\u00a0"])
def test_a_name_that_cannot_be_a_label_is_left_out(name: str) -> None:
    """A team whose name or id could not be configured is left out, and the reason says which and what is allowed."""
    choices = chosen(settings({"token_env": "ONE"}), ONE={A: name, B: "Film", "a b": "Audio"})
    assert polled(choices) == ["Film ONE"]
    assert left_out(choices) == {
        A: f"its name cannot be used; allowed: {words(TeamName)}",
        "a b": f"its id cannot be used; allowed: {words(TeamId)}",
    }


def test_a_device_key_reads_one_team() -> None:
    """With a device key and several wanted teams nothing is polled, because the key reads only one of them."""
    found = {A: "Render", B: "Film"}
    choices = chosen(settings({"token_env": "ONE"}), "device", ONE=found)
    assert polled(choices) == []
    assert set(left_out(choices).values()) == {"a device key reads only one team, so include only that one"}
    (narrowed,) = chosen(settings({"token_env": "ONE", "include": ["Film"]}), "device", ONE=found)
    assert (polled([narrowed]), narrowed.not_wanted) == (["Film ONE"], (FoundTeam(A, "Render"),))


def test_two_choices_of_one_credential() -> None:
    """Two discoveries with the same credential and different patterns each choose their own teams."""
    two = settings(
        {"token_env": "ONE", "include": ["Render"], "interval": "5s"}, {"token_env": "ONE", "exclude": ["Render"]}
    )
    choices = chosen(two, ONE={A: "Render", B: "Film"})
    assert [(team.name, team.interval) for choice in choices for team in choice.teams] == [
        ("Render", 5.0),
        ("Film", None),
    ]
