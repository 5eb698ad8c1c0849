import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from exporter.status import DiscoveryStatus, ExporterStatus, LeftOutTeam, TeamStatus
from exporter.web import status_json

StatusOf = Callable[..., ExporterStatus]
NOW = 1_760_000_000.0

DOCS = Path(__file__).parents[3] / "docs" / "http-api.md"


def rendered(status: ExporterStatus) -> dict[str, Any]:
    document: dict[str, Any] = json.loads("".join(status_json.render(status)))
    return document


@pytest.fixture
def document(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus, new_team: TeamStatus) -> dict[str, Any]:
    left_out = (LeftOutTeam("zoo", "the name zoo is taken"),)
    discovery = DiscoveryStatus("discover[0]", False, NOW - 9, NOW - 99, "auth", "401: no", 2, left_out, 1)
    return rendered(replace(status_of(up_team, down_team, new_team), discoveries=(discovery,)))


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Yield the path of every key, such as `teams[].name`."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield at + key
            yield from paths(below, f"{at}{key}.")
    elif isinstance(value, list):
        for below in value:
            yield from paths(below, f"{at.removesuffix('.')}[].")


def test_documented_keys_are_the_real_ones(document: dict[str, Any]) -> None:
    """The page `docs/http-api.md` lists exactly the keys of the response."""
    documented = re.findall(r"^\| `([a-z_.\[\]]+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(set(paths(document)))


def test_values_are_those_of_the_status(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """The response is the status, field by field, and the properties computed from it."""
    status = status_of(up_team, down_team)
    document = rendered(status)
    plain = json.loads(json.dumps(asdict(status)))
    for team in document["teams"]:
        del team["up"], team["attempted"], team["backoff_until"]
    assert document.pop("ready") is True
    assert document == plain


def test_what_is_computed(document: dict[str, Any]) -> None:
    """`up`, `attempted`, `backoff_until` and `ready` are included, so programs need not compute them."""
    states = {team["name"]: (team["up"], team["attempted"], team["backoff_until"]) for team in document["teams"]}
    assert states == {
        "render": (True, True, None),
        "film": (False, True, 1_760_000_130.0),
        "archive": (False, False, None),
    }
    assert document["ready"] is False


def test_no_teams(status_of: StatusOf) -> None:
    """An exporter without teams answers valid JSON."""
    assert rendered(status_of())["teams"] == []


def test_credentials_in_errors_are_masked(status_of: StatusOf, down_team: TeamStatus) -> None:
    """A credential that the platform repeats is masked in the JSON."""
    tasks, agents = down_team.collectors
    error = "502: https://bob:hunter2@vault.internal/ refused Bearer rt-0123456789"
    leaking = replace(tasks, attempts=(replace(tasks.attempts[0], error=error),))
    document = rendered(status_of(replace(down_team, collectors=(leaking, agents))))
    said = document["teams"][0]["collectors"][0]["attempts"][0]["error"]
    assert said == "502: https://***@vault.internal/ refused Bearer ***"
