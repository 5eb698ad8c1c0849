"""Asks a Prometheus what a panel asks it."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grafana import reading


@dataclass(frozen=True, slots=True)
class Series:
    """One result of a query: its labels and its points as (Unix seconds, value)."""

    labels: Mapping[str, str]
    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Window:
    """The time shown: Unix seconds, and seconds between two points."""

    start: float
    end: float
    step: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server's HTTP API."""

    url: str
    window: Window
    scrape_interval: float

    def ask(self, target: Mapping[str, Any], least: float = 0) -> list[Series]:
        """The answer to a panel's query; empty where there is none.

        Args:
            target: of the panel.
            least: seconds between two points, if more than the window's.
        """
        span = self.window.end - self.window.start
        step = max(self.window.step, least)
        intervals = reading.intervals(step=step, scrape=self.scrape_interval, span=span)
        query = reading.filled(target["expr"], reading.EVERYTHING | intervals)
        if target.get("instant"):
            results = self._api("query", query=query, time=self.window.end)
        else:
            window = self.window
            results = self._api("query_range", query=query, start=window.start, end=window.end, step=step)
        return [_series(result, target.get("legendFormat", "")) for result in results]

    def _api(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  the address is the user's own
            results: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return results


def _series(result: Mapping[str, Any], legend: str) -> Series:
    labels = {name: value for name, value in result["metric"].items() if name != "__name__"}
    name = legend if legend != "__auto" else ", ".join(labels.values())
    for label, value in labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    points = result["values"] if "values" in result else [result["value"]]
    return Series(labels, name, tuple((float(time), float(value)) for time, value in points))
