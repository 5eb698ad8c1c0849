"""A team's limits, from the platform's answer about a credential's user."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from exporter.fleet.text import label_text
from exporter.platform.account import Me

MAX_QUOTAS: Final = 50
"""Maximum number of quotas accepted; more would be a mistake, or an attempt to flood Prometheus with series."""


def own_quotas(me: Me, team_id: str | None) -> Mapping[str, float]:
    """The limits that apply to the team, by name prefixed with the namespace, such as `teams.max_agents`.

    They are under `feature_flags`: `global` for the deployment, `account` for the user, `teams` by team id. -1 means
    unlimited and is left out; 0 means disabled.

    Args:
        me: the answer of `/users/me`.
        team_id: None if it is not configured; team limits are then used only if the answer names a single team.
    """
    flags = _mapping(me.feature_flags)
    namespaces = {
        "global": _mapping(flags.get("global")),
        "account": _mapping(flags.get("account")),
        "teams": _own(_mapping(flags.get("teams")), team_id),
    }
    limits = {label_text(name): limit for name, limit in _limits(namespaces)}
    return dict(sorted(limits.items())[:MAX_QUOTAS])


def _own(teams: Mapping[str, Any], team_id: str | None) -> Mapping[str, Any]:
    if team_id is None and len(teams) == 1:
        return _mapping(next(iter(teams.values())))
    return _mapping(teams.get(team_id)) if team_id else {}


def _limits(namespaces: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for namespace, flags in namespaces.items():
        # The structure inside a team is inferred by analogy; it may also be a flat mapping.
        quotas = _mapping(flags["quotas"]) if "quotas" in flags else flags
        for name, limit in quotas.items():
            if _is_limit(limit):
                yield f"{namespace}.{name}", limit


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_limit(value: object) -> bool:
    # Compare first: an integer may be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63
