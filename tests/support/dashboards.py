"""Every question that the committed dashboards ask of a data source."""

from dataclasses import dataclass
from typing import Any, Final

from grafana import reading
from support import promql

SPAN: Final = 40.0
"""Seconds that a dashboard shows."""
VALUES: Final = reading.EVERYTHING | reading.intervals(step=1, scrape=1, span=SPAN)


@dataclass(frozen=True, slots=True)
class Query:
    """One question that a dashboard asks."""

    name: str
    path: str
    parameters: dict[str, str]
    """Besides the time."""

    def at(self, now: float) -> dict[str, str]:
        """All parameters, where `now` is the end of what the dashboard shows, in seconds."""
        when = {"query": {"time": f"{now}"}, "query_range": {"start": f"{now - SPAN}", "end": f"{now}", "step": "1"}}
        return self.parameters | when.get(self.path, {})


def every_query() -> list[Query]:
    """Of panels, annotations and variables."""
    return [query for uid, board in reading.load().items() for query in _of_dashboard(uid, board)]


def _of_dashboard(uid: str, board: dict[str, Any]) -> list[Query]:
    found = []
    for panel in reading.panels(board):
        for target in panel["targets"]:
            name, path = f"{uid}: {panel['title']} {target['refId']}", "query" if target["instant"] else "query_range"
            found.append(Query(name, path, {"query": reading.filled(target["expr"], VALUES)}))
    for annotation in board["annotations"]["list"]:
        expression = reading.filled(annotation["target"]["expr"], VALUES)
        found.append(Query(f"{uid}: annotation {annotation['name']}", "query_range", {"query": expression}))
    for variable in board["templating"]["list"][1:]:
        selector, label = promql.label_values(variable)
        parameters = {"match[]": reading.filled(selector, VALUES)}
        found.append(Query(f"{uid}: variable {variable['name']}", f"label/{label}/values", parameters))
    return found
