from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.service.choice import Choice, Outcome, choose
from exporter.service.credentials import origin_key
from exporter.service.discovery import Discovery, Findings, FoundTeam
from exporter.status import LeftOutTeam
from fixtures.fakes import FakeClient, make_credential

A, B, C = (f"019abc12-4567-7890-abcd-ef123456789{digit}" for digit in "abc")


def settings(*discover: dict[str, Any], teams: Sequence[dict[str, Any]] = ()) -> Settings:
    return load(None, {}, {"teams": list(teams), "discover": list(discover)})


def chosen(one: Settings, kind: str = "jwt", **found: Mapping[str, str]) -> Choice:
    """What is chosen when each credential, named by its variable, sees these teams: ids and names."""
    discoveries, credentials = {}, {}
    for discover in one.discover:
        teams = tuple(FoundTeam(team_id, name) for team_id, name in found[discover.token_env or ""].items())
        client: Any = FakeClient()
        discoveries[origin_key(discover)] = Discovery("", client, Findings(teams), lambda: 0.0, lambda: 0.5)
        credentials[origin_key(discover)] = make_credential(kind)
    return choose(one, credentials, discoveries)


def polled(choice: Choice) -> list[str]:
    """Which teams are polled with which credential."""
    return [f"{team.name} {team.token_env}" for team in choice.teams]


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
    """Patterns are for whole names; all are wanted without any to include, and who is excluded is out."""
    choice = chosen(settings({"token_env": "ONE", **patterns}), ONE={A: "Render", B: "Render-test", C: "Film"})
    assert polled(choice) == [f"{name} ONE" for name in names]


def test_a_found_team_is_configured_like_its_discovery() -> None:
    """It has the credential and the interval of its discovery, and the platform's id."""
    (team,) = chosen(settings({"token_env": "ONE", "interval": "7s"}), ONE={A: "Render"}).teams
    assert (team.name, team.team_id, team.interval, team.token_env) == ("Render", A, 7.0, "ONE")
    assert (team.token_file, team.agents_path, team.expected_agents) == (None, None, ())


def test_a_file_is_handed_on() -> None:
    """A discovery's files are those of its teams."""
    (discover,) = settings({"refresh_token_file": "secrets/operator"}).discover
    team = discover.team("Render", A)
    assert team is not None
    assert (team.refresh_token_file, team.token_file) == (Path("secrets/operator"), None)


def test_a_taken_name_is_left_to_whoever_has_it() -> None:
    """Configured teams come first, then the first discovery, then the oldest team; who is left out is told."""
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"}, teams=[{"name": "Render", "token_env": "KEY"}])
    choice = chosen(both, ONE={A: "Render", B: "Film", C: "Film"}, TWO={"not-seen": "x", C: "Film"})
    assert polled(choice) == ["Film ONE"]
    assert choice.left_out == {
        A: "the name Render is taken",
        C: "the name Film is taken",
        "not-seen": "no usable name or id",
    }


def test_a_team_is_polled_once() -> None:
    """A team that is configured by its id, or seen with two credentials, has one set of series; that is no news."""
    both = settings({"token_env": "ONE"}, {"token_env": "TWO"}, teams=[{"name": "r", "team_id": A, "token_env": "J"}])
    choice = chosen(both, ONE={A: "Render", B: "Film"}, TWO={B: "Film", C: "Audio"})
    assert (polled(choice), choice.left_out) == (["Film ONE", "Audio TWO"], {})


@pytest.mark.parametrize("name", ["x" * 101, " padded", "line\nbreak", "sk-0123456789abcdef"])
def test_a_name_that_cannot_be_a_label_is_left_out(name: str) -> None:
    """What could not be configured is not polled under a name made up; it is told by the team's id."""
    choice = chosen(settings({"token_env": "ONE"}), ONE={A: name, B: "Film"})
    assert (polled(choice), list(choice.left_out)) == (["Film ONE"], [A])


def test_a_device_key_reads_one_team() -> None:
    """The platform lists the teams of the key's user but answers for one of them: with several nothing is polled."""
    found = {A: "Render", B: "Film"}
    choice = chosen(settings({"token_env": "ONE"}), "device", ONE=found)
    why = "a device key reads one team; include that one alone of Render, Film"
    assert choice == Choice(
        (Outcome(0, (LeftOutTeam("Render", why), LeftOutTeam("Film", why)), 0),), (), {"discover[0]": why}
    )
    narrowed = settings({"token_env": "ONE", "include": ["Film"]})
    assert polled(chosen(narrowed, "device", ONE=found)) == ["Film ONE"]


def test_what_becomes_of_each_team_is_told() -> None:
    """Each entry says how many of its teams are polled and how many its patterns exclude, and who is left out, why."""
    one = settings({"token_env": "ONE", "exclude": ["Film"]}, {"token_env": "TWO"})
    choice = chosen(one, ONE={A: "Render", B: "Film"}, TWO={A: "Render", C: "Render"})
    assert choice.outcomes == (Outcome(1, (), 1), Outcome(1, (LeftOutTeam("Render", "the name Render is taken"),), 0))


def test_two_choices_of_one_credential() -> None:
    """Each takes its own of what the credential sees."""
    two = settings(
        {"token_env": "ONE", "include": ["Render"], "interval": "5s"}, {"token_env": "ONE", "exclude": ["Render"]}
    )
    choice = chosen(two, ONE={A: "Render", B: "Film"})
    assert [(team.name, team.interval) for team in choice.teams] == [("Render", 5.0), ("Film", None)]
