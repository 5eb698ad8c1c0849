"""Links to other dashboards that pass on the time range, the data source and what was clicked."""

from collections.abc import Sequence
from typing import Any, Final

OVERVIEW: Final = "cyberun-overview"
AGENTS: Final = "cyberun-agents"
TASKS: Final = "cyberun-tasks"
EXPORTER: Final = "cyberun-exporter"

_TITLES: Final = {OVERVIEW: "Overview", AGENTS: "Agents", TASKS: "Tasks", EXPORTER: "Exporter"}
_CARRIED: Final = ("datasource", "job", "instance", "team_name")


def dashboard(uid: str) -> dict[str, Any]:
    """To a dashboard that shows the same as this one."""
    return _link(f"Show {_TITLES[uid]}", uid, [])


def row(uid: str, title: str, keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """To a dashboard that shows what a row of a table is about.

    Args:
        uid: of the dashboard.
        title: of the column that is clicked on.
        keys: label and column of what is handed over.
    """
    return _link(f"{_TITLES[uid]} of this {title.lower()}", uid, keys)


def panel(uid: str, number: int, title: str) -> dict[str, Any]:
    """To one panel of a dashboard, on the whole page."""
    return _link(title, uid, [], f"viewPanel={number}")


def _link(title: str, uid: str, keys: Sequence[tuple[str, str]], *more: str) -> dict[str, Any]:
    given = {label for label, _ in keys}
    parts = [f"var-{label}=${{__data.fields.{column}:percentencode}}" for label, column in keys]
    parts += [f"${{{name}:queryparam}}" for name in _CARRIED if name not in given]
    # The second uid is the slug: without one Grafana loads the page twice.
    return {"title": title, "url": f"/d/{uid}/{uid}?{'&'.join([*more, *parts, '${__url_time_range}'])}"}
