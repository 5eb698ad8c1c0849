"""Maps times and values to pixels, and draws on them as SVG."""

import html
import math
from collections.abc import Sequence
from typing import Final

from tools.preview import look
from tools.preview.data import Window

LEFT: Final = 58
FOOT: Final = 18


class Axes:
    """A picture with time to the right and values upwards."""

    def __init__(self, window: Window, low: float, top: float, width: int, height: int) -> None:
        self.window, self.low, self.top, self.width, self.height = window, low, top, width, height

    def x(self, time: float) -> float:
        """Of a time."""
        span = self.window.end - self.window.start
        return LEFT + (self.width - LEFT - 8) * (time - self.window.start) / span

    def y(self, value: float) -> float:
        """Of a value."""
        return 6 + (self.height - FOOT - 6) * (1 - (value - self.low) / (self.top - self.low))

    def grid(self, unit: str) -> str:
        """Rules with their values, and the times."""
        values = [self.low + (self.top - self.low) * i / 4 for i in range(5)]
        rows = [self._row(value, look.text(value, unit)) for value in values]
        return "".join(rows) + self.times()

    def _row(self, value: float, label: str) -> str:
        y = self.y(value)
        line = f'<line x1="{LEFT}" x2="{self.width - 8}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>'
        return f'{line}<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{html.escape(label)}</text>'

    def times(self) -> str:
        """How long ago."""
        span = self.window.end - self.window.start
        marks = [self.window.start + span * i / 4 for i in range(1, 5)]
        labels = (
            (mark, f"-{look.text(self.window.end - mark, 's')}" if mark < self.window.end else "now") for mark in marks
        )
        return "".join(
            f'<text x="{self.x(mark):.1f}" y="{self.height - 3}" text-anchor="end">{label}</text>'
            for mark, label in labels
        )

    def shape(self, points: Sequence[tuple[float, float, float]], color: str, *, area: bool, bars: bool) -> str:
        """One series, as (time, bottom, top)."""
        known = [point for point in points if math.isfinite(point[2])]
        if bars:
            thick = max((self.x(self.window.step) - self.x(0)) * 0.8, 1.5)
            return "".join(
                f'<rect x="{self.x(t) - thick / 2:.1f}" y="{self.y(v):.1f}" width="{thick:.1f}"'
                f' height="{max(self.y(b) - self.y(v), 0):.1f}" fill="{color}" fill-opacity=".8"/>'
                for t, b, v in known
            )
        return "".join(self._run(run, color, area=area) for run in runs(known, self.window.step))

    def _run(self, run: Sequence[tuple[float, float, float]], color: str, *, area: bool) -> str:
        over = [f"{self.x(t):.1f},{self.y(v):.1f}" for t, _, v in run]
        under = [f"{self.x(t):.1f},{self.y(b):.1f}" for t, b, _ in reversed(run)]
        fill = f'<polygon points="{" ".join(over + under)}" fill="{color}" fill-opacity="{0.75 if area else 0.08}"/>'
        if area:
            return fill
        return f'{fill}<polyline points="{" ".join(over)}" stroke="{color}" fill="none" stroke-width="1.6"/>'

    def level(self, value: float, color: str) -> str:
        """A dashed line at a threshold."""
        y = self.y(value)
        place = f'x1="{LEFT}" x2="{self.width - 8}" y1="{y:.1f}" y2="{y:.1f}"'
        return f'<line {place} stroke="{color}" stroke-dasharray="6 5"/>'

    def svg(self, parts: Sequence[str]) -> str:
        """All parts as one picture."""
        return f'<svg width="{self.width}" height="{self.height}">{"".join(parts)}</svg>'


def runs(points: Sequence[tuple[float, float, float]], step: float) -> list[list[tuple[float, float, float]]]:
    """Cut where points are missing."""
    runs: list[list[tuple[float, float, float]]] = []
    for point in points:
        if not runs or point[0] - runs[-1][-1][0] > 1.5 * step:
            runs.append([])
        runs[-1].append(point)
    return runs
