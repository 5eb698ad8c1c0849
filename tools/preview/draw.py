"""From a panel and its answers to HTML."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tools.preview import charts, look, tables
from tools.preview.data import Series, Window


def panel(panel: Mapping[str, Any], answers: tables.Answers, window: Window, width: int, height: int) -> str:
    """The inside of a panel; sizes in pixels."""
    if not any(answers):
        empty = panel["fieldConfig"]["defaults"].get("noValue", "No data")
        return f'<div class="empty">{html.escape(empty)}</div>'
    if panel["type"] == "table":
        return tables.table(panel, answers)
    return _KINDS[panel["type"]](panel, [series for answer in answers for series in answer], window, width, height)


def _defaults(panel: Mapping[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = panel["fieldConfig"]["defaults"]
    return defaults


def stat(panel: Mapping[str, Any], series: Sequence[Series], _window: Window, _width: int, _height: int) -> str:
    """One value on its colour."""
    defaults, value = _defaults(panel), series[0].last
    named = look.mapped(value, defaults.get("mappings", ()))
    shown, color = named or (
        look.text(value, defaults["unit"], defaults.get("decimals")),
        look.by_threshold(value, defaults["thresholds"]["steps"]),
    )
    return f'<div class="stat" style="background:{color}">{html.escape(shown)}</div>'


def bargauge(panel: Mapping[str, Any], series: Sequence[Series], _window: Window, _width: int, _height: int) -> str:
    """A horizontal bar for each series."""
    defaults = _defaults(panel)
    top = defaults.get("max", max(each.last for each in series) or 1)
    rows = []
    for each in series:
        color = look.by_threshold(each.last, defaults["thresholds"]["steps"])
        shown = look.text(each.last, defaults["unit"], defaults.get("decimals"))
        rows.append(
            f"<div><u>{html.escape(each.name)}</u>"
            f"<s><i style='width:{100 * each.last / top:.1f}%;background:{color}'></i></s>"
            f"<b style='color:{color}'>{shown}</b></div>"
        )
    return f'<div class="bars">{"".join(rows)}</div>'


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Sequence[Series], Window, int, int], str]]] = {
    "stat": stat,
    "timeseries": charts.timeseries,
    "state-timeline": charts.timeline,
    "heatmap": charts.heatmap,
    "bargauge": bargauge,
}
