"""A team's limits, from what the platform says about a credential's user."""

from collections.abc import Mapping
from typing import Final

from exporter.fleet.text import label_text
from exporter.platform.account import Me

MAX_QUOTAS: Final = 50
"""More are no quotas but a mistake, or an attack on whoever stores the series."""


def own_quotas(me: Me, team_id: str | None) -> Mapping[str, float]:
    """The limits of the team by name: its own ones, else the user's. -1 means unlimited: left out (inferred)."""
    team = next((team for team in me.team_list or () if team and team.id == team_id), None)
    stated = (team and team.quotas) or me.quotas or {}
    limits = {label_text(name): limit for name, limit in stated.items() if _is_limit(limit)}
    return dict(sorted(limits.items())[:MAX_QUOTAS])


def _is_limit(value: object) -> bool:
    # Compared before anything else: an integer may be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63
