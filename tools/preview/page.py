"""Lays a dashboard out as one HTML page."""

import html
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tools.preview import draw
from tools.preview.data import Prometheus

WIDTH: Final = 1600
_GAP: Final = 8
_ROW: Final = 30
_TOP: Final = 60
_STYLE: Final = Path(__file__).with_name("page.css")


def page(dashboard: Mapping[str, Any], prometheus: Prometheus) -> tuple[str, int]:
    """The page and its height in pixels."""
    sections = "".join(_section(panel, prometheus) for panel in dashboard["panels"])
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    height = _TOP + bottom * (_ROW + _GAP) + _GAP
    style = _STYLE.read_text(encoding="utf-8")
    body = f'<body style="height:{height}px">{_header(dashboard)}{sections}</body>'
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{body}', height


def _header(dashboard: Mapping[str, Any]) -> str:
    variables = "".join(f"<span>{each['label']}: All</span>" for each in dashboard["templating"]["list"][1:])
    title = html.escape(dashboard["title"])
    return f"<header><h1>{title}</h1>{variables}<em>Preview, not Grafana · simulated fleet</em></header>"


def _section(panel: Mapping[str, Any], prometheus: Prometheus) -> str:
    place, column = panel["gridPos"], (WIDTH - _GAP) / 24
    width, height = round(place["w"] * column) - _GAP, place["h"] * (_ROW + _GAP) - _GAP
    left, top = round(_GAP + place["x"] * column), _TOP + place["y"] * (_ROW + _GAP)
    box = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<section class="row" style="{box}"><h3>▾ {title}</h3></section>'
    # The dashboards' only intervals are whole minutes.
    least = 60.0 * float(panel.get("interval", "0m").removesuffix("m"))
    answers = [prometheus.ask(target, least) for target in panel["targets"]]
    window = replace(prometheus.window, step=max(prometheus.window.step, least))
    inside = draw.panel(panel, answers, window, width - 2, height - 36)
    return f'<section style="{box}"><h3>{title}</h3>{inside}</section>'
