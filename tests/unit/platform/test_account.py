"""Reading what the platform says about the user."""

import json
from typing import Any

import pytest

from exporter.errors import PlatformError, SchemaMismatch, Undecodable
from exporter.platform import account


@pytest.mark.parametrize(
    ("answer", "teams", "flags"),
    [
        ({}, None, None),
        ({"team_list": None, "feature_flags": None}, None, None),
        ({"team_list": [{"id": "x", "display_name": "X"}]}, [account.OwnTeam("x", "X")], None),
        (
            {"team_list": [{"id": 7}, None, 1], "feature_flags": {"global": 4}},
            [account.OwnTeam(), None, None],
            {"global": 4},
        ),
        ({"team_list": {}, "feature_flags": []}, None, None),
        ({"team_list": [{"id": "x", "more": [1]}], "feature_flags": "many"}, [account.OwnTeam("x")], None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_me(answer: Any, teams: Any, flags: Any) -> None:
    """Every part of `/users/me` may be missing or wrong; the rest is read."""
    assert account.decode_me(json.dumps(answer).encode()) == account.Me(teams, flags)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", SchemaMismatch), (b"1", SchemaMismatch), (b"", Undecodable), (b"<html>", Undecodable)]
)
def test_me_that_is_no_object(body: bytes, kind: type[PlatformError]) -> None:
    """An answer that is not a JSON object is refused."""
    with pytest.raises(kind):
        account.decode_me(body)
