"""The frame of every dashboard: variables, links, annotations, positions on the grid.

`assemble` is also the one place that corrects what the SDK writes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from exporter import catalog
from grafana.builders.panel import SOURCE, Panel
from grafana.builders.query import INTERVAL, PROCESS_START, TARGET_MATCHERS, Selector, foreign, of_exporters

SCHEMA_VERSION: Final = 39
TAG: Final = "cyberun"
COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Place:
    """A panel and its size: `width` in columns of 24, `height` in rows of 30 pixels."""

    panel: Panel
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading; the first section of a dashboard has none."""

    title: str
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        answers: the question it answers.
        selector: knows the variables.
    """

    uid: str
    title: str
    answers: str
    selector: Selector
    sections: Sequence[Section]


def assemble(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana reads it, in the classic schema."""
    built = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.answers)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .variables(_variables(board.selector))
        .annotations(_annotations(board.selector))
        .link(_others())
    )
    document: dict[str, Any] = _as_json(built.build())
    document["schemaVersion"] = SCHEMA_VERSION
    document["panels"] = list(_laid_out(board.sections))
    for variable in document["templating"]["list"]:
        _drop(variable, "allowCustomValue", "auto", "auto_min", "auto_count")
    for item in document["links"] + document["annotations"]["list"]:
        _drop(item, "placement")
    return document


def _others() -> build.DashboardLink:
    link = build.DashboardLink("Cyberun dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, cls=JSONEncoder))


def _drop(item: dict[str, Any], *keys: str) -> None:
    for key in keys:
        item.pop(key, None)


# --- Variables ---

_LABELS: Final = {
    "job": "Job",
    "instance": "Instance",
    "team_name": "Team",
    "agent_id": "Agent",
    "workflow_id": "Workflow",
}
_SOURCES: Final = {
    # What both ways to scrape expose, whole or team by team.
    "job": catalog.UP.name,
    "instance": f'{catalog.UP.name}{{job=~"$job"}}',
    "team_name": f"{catalog.UP.name}{{{TARGET_MATCHERS}}}",
    "agent_id": f'{catalog.AGENT_CONNECTED.name}{{{TARGET_MATCHERS}, team_name=~"$team_name"}}',
    "workflow_id": f'{catalog.WORKFLOW_TASKS_FINISHED.name}{{{TARGET_MATCHERS}, team_name=~"$team_name"}}',
}


def _variables(selector: Selector) -> list[Any]:
    # Without a choice Grafana takes the first by name, whatever its default is.
    default = model.VariableOption(selected=True, text="default", value="default")
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus").current(default)
    return [source, *(_variable(name) for name in ("job", "instance", *selector.variables))]


def _variable(name: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(_LABELS[name])
        .datasource(SOURCE)
        .query({"query": f"label_values({_SOURCES[name]}, {name})", "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


# --- Annotations ---

_STEP: Final = 60


def _annotations(selector: Selector) -> list[Builder[model.AnnotationQuery]]:
    connected, keys = selector.each(catalog.AGENT_CONNECTED), "job, team_name, agent_id"
    lost = f"max by ({keys}) ({connected} offset {INTERVAL}) - max by ({keys}) ({connected}) > 0"
    # Differs from the start known before at one point only, and never at the first start, of which none is known.
    started = foreign(PROCESS_START)
    before = f"last_over_time({started}[1d] offset {INTERVAL})"
    # To VictoriaMetrics what is missing differs too, so it is asked for.
    restarted = of_exporters(f"{started} != on (job, instance) {before} and on (job, instance) {before}")
    return [
        # Off by default: Grafana draws annotations on every panel, and in a busy fleet there are many of these.
        _annotation("Agent disconnects", lost, "dark-red", "{{team_name}} / {{agent_id}} disconnected", shown=False),
        _annotation("Exporter restarts", restarted, "blue", "Exporter {{instance}} restarted: its counters start at 0"),
    ]


def _annotation(name: str, expression: str, color: str, text: str, *, shown: bool = True) -> build.AnnotationQuery:
    target = prometheus.Dataquery().expr(expression).range().ref_id("Anno").legend_format(text).datasource(SOURCE)
    return (
        build.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(shown)
        .icon_color(color)
        .expr(expression)
        .title_format(name)
        .text_format(text)
        .step(f"{_STEP}s")
        .target(target)
    )


# --- Panels ---


def _laid_out(sections: Sequence[Section]) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for section in sections:
        if section.title:
            number += 1
            yield _heading(section.title, number, y)
            y += 1
        x, tallest = 0, 0
        for place in section.places:
            if x + place.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(place, number, x, y)
            x, tallest = x + place.width, max(tallest, place.height)
        y += tallest


def _heading(title: str, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
    return {"type": "row", "id": number, "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(place: Place, number: int, x: int, y: int) -> dict[str, Any]:
    panel: dict[str, Any] = _as_json(place.panel.build())
    panel["id"] = number
    panel["gridPos"] = {"h": place.height, "w": place.width, "x": x, "y": y}
    for position, target in enumerate(panel["targets"]):
        target["refId"] = chr(ord("A") + position)
    _drop(panel, "repeatDirection", "transparent")
    for link in panel["fieldConfig"]["defaults"].get("links", ()):
        _drop(link, *(link.keys() - {"title", "url"}))
    # These differ between the versions of Grafana that the dashboards are for.
    _drop(panel["options"], "footer", "percentChangeColorMode")
    return panel
