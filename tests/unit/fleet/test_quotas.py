from typing import Any

import pytest

from exporter.fleet.quotas import MAX_QUOTAS, own_quotas
from exporter.platform.account import Me

DOCUMENTED = {
    "global": {"features": {}, "quotas": {"max_users": 10, "max_agents": -1, "max_concurrent_tasks": 200}},
    "account": {"features": {}, "quotas": {"max_owned_teams": 0}},
    "teams": {
        "t1": {"features": {}, "quotas": {"max_agents": 4, "max_concurrent_tasks": -1}},
        "t2": {"max_agents": 8, "can_invite": True},
    },
}


@pytest.mark.parametrize(
    ("team_id", "own"),
    [("t1", {"teams.max_agents": 4}), ("t2", {"teams.max_agents": 8}), ("t3", {}), (None, {})],
)
def test_documented_shape(team_id: str | None, own: dict[str, float]) -> None:
    """Each limit keeps its namespace; the team's are its own, nested or flat, and never those of another team."""
    common = {"account.max_owned_teams": 0, "global.max_concurrent_tasks": 200, "global.max_users": 10}
    assert own_quotas(Me(feature_flags=DOCUMENTED), team_id) == {**common, **own}


def test_a_single_team_needs_no_id() -> None:
    """A key is bound to one team: where only one is listed, its limits are the team's own without a configured id."""
    flags = {"teams": {"t1": {"quotas": {"max_agents": 4}}}}
    assert own_quotas(Me(feature_flags=flags), None) == {"teams.max_agents": 4}
    assert own_quotas(Me(feature_flags=flags), "t2") == {}


@pytest.mark.parametrize(
    "flags",
    [
        None,
        {},
        {"teams": None},
        {"teams": [1]},
        {"teams": {"t1": None}},
        {"teams": {"t1": {"quotas": [1]}}},
        {"global": "many"},
        {"account": {"quotas": None}},
        {"quotas": {"max_agents": 1}},
    ],
    ids=repr,
)
def test_other_shapes(flags: Any) -> None:
    """Values with an undocumented shape are not limits."""
    assert own_quotas(Me(feature_flags=flags), "t1") == {}


@pytest.mark.parametrize(
    "value",
    [-1, -0.5, None, "16", True, False, [], {}, float("nan"), float("inf"), -float("inf"), 2**63, 10**400, -(10**400)],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_limit(value: Any) -> None:
    """Unlimited (-1), and what is no finite number, has no series."""
    assert own_quotas(Me(feature_flags={"global": {"bad": value, "good": 0}}), None) == {"global.good": 0}


def test_quotas_are_bounded_and_in_order() -> None:
    """A huge list of quotas or a huge name makes only few and short series."""
    many = {f"q{i:05}{'x' * 1000}": i for i in range(5000, 0, -1)}
    quotas = own_quotas(Me(feature_flags={"global": {"quotas": many}}), None)
    assert len(quotas) == MAX_QUOTAS
    assert list(quotas) == sorted(quotas)
    assert max(map(len, quotas)) == 128
