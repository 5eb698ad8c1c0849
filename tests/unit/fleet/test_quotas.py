from typing import Any

import pytest

from exporter.fleet.quotas import MAX_QUOTAS, own_quotas
from exporter.platform.account import Me, OwnTeam

TEAM = OwnTeam("t1", "Render", {"gpus": 4})
OTHER_TEAM = OwnTeam("t2", "Film", {"gpus": 8})


@pytest.mark.parametrize(
    ("me", "team_id", "quotas"),
    [
        (Me(), None, {}),
        (Me(quotas={"tasks": 16}), None, {"tasks": 16}),
        (Me(quotas={"tasks": 16}), "t1", {"tasks": 16}),
        (Me([TEAM, OTHER_TEAM], {"tasks": 16}), "t1", {"gpus": 4}),
        (Me([None, OTHER_TEAM, TEAM], {"tasks": 16}), "t2", {"gpus": 8}),
        (Me([TEAM], {"tasks": 16}), "t3", {"tasks": 16}),
        (Me([TEAM], {"tasks": 16}), None, {"tasks": 16}),
        (Me([OwnTeam("t1", quotas={})], {"tasks": 16}), "t1", {"tasks": 16}),
        (Me([OwnTeam(quotas={"gpus": 1})]), "t1", {}),
    ],
)
def test_whose_quotas(me: Me, team_id: str | None, quotas: dict[str, float]) -> None:
    """The team's own limits where it states some, else the user's; never those of another team."""
    assert own_quotas(me, team_id) == quotas


@pytest.mark.parametrize(
    "value",
    [-1, -0.5, None, "16", True, False, [], {}, float("nan"), float("inf"), -float("inf"), 2**63, 10**400, -(10**400)],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_limit(value: Any) -> None:
    """Unlimited (-1), and what is no finite number, has no series."""
    assert own_quotas(Me(quotas={"bad": value, "good": 0}), None) == {"good": 0}


def test_quotas_are_bounded_and_in_order() -> None:
    """An endless list of quotas, or a name without end, makes few and short series."""
    quotas = own_quotas(Me(quotas={f"q{i:05}{'x' * 1000}": i for i in range(5000, 0, -1)}), None)
    assert len(quotas) == MAX_QUOTAS
    assert list(quotas) == sorted(quotas)
    assert max(map(len, quotas)) == 128
