"""Panels with a time axis: lines, timelines and heatmaps, from the panel and its answers to HTML."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools.preview import look
from tools.preview.axes import FOOT, LEFT, Axes
from tools.preview.data import Series, Window


def timeseries(panel: Mapping[str, Any], series: Sequence[Series], window: Window, width: int, height: int) -> str:
    """Lines, areas or bars over time, with a legend."""
    defaults = panel["fieldConfig"]["defaults"]
    custom, beside = defaults["custom"], panel["options"]["legend"]["placement"] == "right"
    colors = _colors(panel, series)
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    shapes = _stacked(series) if stacked else [(each, [(t, 0.0, v) for t, v in each.points]) for each in series]
    width, height = (width - 250, height) if beside else (width, height - 20 * (1 + len(series) * 130 // width))
    top = max((v for _, points in shapes for _, _, v in points if math.isfinite(v)), default=1)
    low = min((v for _, points in shapes for _, _, v in points if math.isfinite(v)), default=0)
    low, top = (
        min(defaults.get("min", low), low),
        defaults.get("max", max(_round_up(top), custom.get("axisSoftMax", 0))),
    )
    axes = Axes(window, low, top if top > low else low + 1, width, height)
    parts = [axes.grid(defaults["unit"])]
    for each, points in shapes:
        parts.append(axes.shape(points, colors[each.name], area=stacked, bars=custom.get("drawStyle") == "bars"))
    if "thresholdsStyle" in custom:
        levels = (step for step in defaults["thresholds"]["steps"][1:] if low <= step["value"] <= axes.top)
        parts += [axes.level(step["value"], look.color(step["color"])) for step in levels]
    legend = _legend(series, colors, defaults["unit"], beside=beside)
    return f'<div class="{"beside" if beside else "below"}">{axes.svg(parts)}{legend}</div>'


def _colors(panel: Mapping[str, Any], series: Sequence[Series]) -> dict[str, str]:
    chosen = {
        override["matcher"]["options"]: look.color(each["value"]["fixedColor"])
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "color"
    }
    names = sorted({each.name for each in series} - set(chosen))
    return {name: look.PALETTE[i % len(look.PALETTE)] for i, name in enumerate(names)} | chosen


def _stacked(series: Sequence[Series]) -> list[tuple[Series, list[tuple[float, float, float]]]]:
    bottom: dict[float, float] = {}
    shapes = []
    for each in series:
        points = []
        for time, value in each.points:
            below = bottom.get(time, 0.0)
            bottom[time] = below + value
            points.append((time, below, below + value))
        shapes.append((each, points))
    return shapes


def _round_up(value: float) -> float:
    """A round number that is a little higher."""
    if value <= 0 or not math.isfinite(value):
        return 1
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= value or step == 10)  # noqa: PLR2004  the last


def _legend(series: Sequence[Series], colors: Mapping[str, str], unit: str, *, beside: bool) -> str:
    items = []
    for each in series:
        peak = max((value for _, value in each.points if math.isfinite(value)), default=math.nan)
        values = f"<b>{look.text(each.last, unit)}</b><b>{look.text(peak, unit)}</b>" if beside else ""
        items.append(
            f'<span><i style="background:{colors[each.name]}"></i><u>{html.escape(each.name)}</u>{values}</span>'
        )
    head = '<span class="head"><u></u><b>last</b><b>max</b></span>' if beside else ""
    return f'<div class="legend">{head}{"".join(items)}</div>'


def timeline(panel: Mapping[str, Any], series: Sequence[Series], window: Window, width: int, height: int) -> str:
    """A row of coloured states for each series."""
    defaults, left = panel["fieldConfig"]["defaults"], 190
    mappings = defaults.get("mappings", ())
    tall = (height - FOOT - 22) / len(series)
    scale = (width - left - 8) / (window.end - window.start)
    parts, seen = [], {}
    for row, each in enumerate(series):
        y = row * tall
        if tall > 9 or row % 2 == 0:  # noqa: PLR2004  names overlap below
            parts.append(
                f'<text x="{left - 8}" y="{y + tall / 2 + 4:.1f}" text-anchor="end">{html.escape(each.name)}</text>'
            )
        for start, end, value in _states(each, window.step):
            name, color = look.mapped(value, mappings) or (look.text(value, defaults["unit"]), "#888")
            seen[name] = color
            start = max(start, window.start)  # noqa: PLW2901  what began before the window begins with it
            parts.append(
                f'<rect x="{left + (start - window.start) * scale:.1f}" y="{y + tall * 0.1:.1f}"'
                f' width="{max((end - start) * scale, 1):.1f}" height="{tall * 0.8:.1f}" fill="{color}"/>'
            )
    legend = "".join(f'<span><i style="background:{color}"></i><u>{name}</u></span>' for name, color in seen.items())
    return f'<svg width="{width}" height="{height - 22}">{"".join(parts)}</svg><div class="legend">{legend}</div>'


def _states(series: Series, step: float) -> list[tuple[float, float, float]]:
    states: list[tuple[float, float, float]] = []
    for time, value in series.points:
        if states and states[-1][2] == value and time - states[-1][1] <= step:
            states[-1] = (states[-1][0], time, value)
        else:
            states.append((time - step, time, value))
    return states


def heatmap(panel: Mapping[str, Any], series: Sequence[Series], window: Window, width: int, height: int) -> str:
    """How many values each bucket took, over time."""
    buckets = sorted(series, key=lambda each: float(each.labels["le"]))
    scheme, unit = panel["options"]["color"]["scheme"], panel["fieldConfig"]["defaults"]["unit"]
    below: dict[float, float] = {}
    cells: list[tuple[int, float, float]] = []
    for row, bucket in enumerate(buckets):
        for time, value in bucket.points:
            count = value - below.get(time, 0.0)
            below[time] = value
            if count > 0.001:  # noqa: PLR2004  rounding
                cells.append((row, time, count))
    most = max((count for _, _, count in cells), default=1)
    tall, axes = (height - FOOT) / len(buckets), Axes(window, 0, 1, width, height)
    wide = axes.x(window.step) - axes.x(0)
    parts = [
        f'<rect x="{axes.x(time) - wide:.1f}" y="{(len(buckets) - 1 - row) * tall:.1f}" width="{wide - 1:.1f}"'
        f' height="{tall - 1:.1f}" fill="{look.shade(count / most, scheme)}"/>'
        for row, time, count in cells
        if axes.x(time) - wide >= LEFT
    ]
    for row, bucket in enumerate(buckets):
        bound = float(bucket.labels["le"])
        label = look.text(bound, unit) if math.isfinite(bound) else "more"
        parts.append(
            f'<text x="{LEFT - 6}" y="{(len(buckets) - 0.5 - row) * tall + 4:.1f}" text-anchor="end">{label}</text>'
        )
    return axes.svg([*parts, axes.times()])
