"""Tables: one row per team, agent and the like, one query per column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from grafana import widths
from grafana.builders import links, style
from grafana.builders.panel import Panel, Text, described, instant
from grafana.builders.style import Judgement

BACKGROUND: Final = {"type": "color-background", "mode": "basic"}
COLORED: Final = {"type": "color-text"}
GAUGE: Final = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}

_MIN_WIDTH: Final = 65
"""In pixels, as all widths here. Grafana's own is 150, which moves most columns of these tables out of sight."""
_GAUGE_WIDTH: Final = 110
_MISSING: Final = "n/a"
_MISSING_BAR: Final = "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}n/a\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}"
"""As wide as "100%": beside the bars of a column, Grafana leaves room for the text of its first row."""
# The colours of a value that is fine and of a missing value, in each kind of cell.
_LOOKS: Final = {
    BACKGROUND["type"]: (style.TRANSPARENT, style.TRANSPARENT),
    COLORED["type"]: (style.TEXT, style.TEXT),
    GAUGE["type"]: (style.BAR, style.TRANSPARENT),
}
# The widest values of a unit.
_WIDEST: Final = {"s": "59.9 weeks", "percentunit": "100.0%"}


@dataclass(frozen=True, slots=True)
class Key:
    """A label that names the rows.

    Attributes:
        leads: the uids of the dashboards that a click offers, with this key and those before it as variables.
        url: an address that a click opens instead.
        width: that the texts need at least.
        last: stands behind the values.
        hidden: there for links alone.
    """

    label: str
    title: str
    leads: Sequence[str] = ()
    url: str = ""
    width: int = _MIN_WIDTH
    last: bool = False
    hidden: bool = False


JOB: Final = Key("job", "Job", width=145, last=True)
"""Comes first, so that links carry it, and is shown last: it matters where two jobs have teams of the same name."""
HIDDEN_JOB: Final = replace(JOB, hidden=True)
"""Where a table is narrow."""
TEAM: Final = Key("team_name", "Team", leads=(links.AGENTS, links.TASKS, links.EXPORTER), width=105)
AGENT: Final = Key("agent_id", "Agent", leads=(links.AGENTS,), width=150)
GPU_MODEL_WIDTH: Final = 250


@dataclass(frozen=True, slots=True)
class Column:
    """A query that gives one value per row, with the keys as its only labels.

    Attributes:
        cell: how it is drawn; empty for plain text.
        color: of a gauge that is not judged.
        maximum: of a gauge; without one, the highest value of the column.
        shown: False for a query whose labels alone are of interest.
    """

    title: str
    expression: str
    unit: str = "none"
    judgement: Judgement = ()
    cell: Mapping[str, str] | None = None
    color: str = ""
    mappings: Sequence[model.ValueMap] = ()
    decimals: int | None = None
    maximum: float | None = None
    shown: bool = True

    @property
    def width(self) -> int:
        """That the values need at least, in pixels."""
        if self.cell is GAUGE:
            return _GAUGE_WIDTH
        words = [result.text or "" for mapping in self.mappings for result in mapping.options.values()]
        return max(_MIN_WIDTH, widths.cell([*words, _WIDEST.get(self.unit, "")]))


def ratio(title: str, expression: str, judgement: Judgement = ()) -> Column:
    """A column of ratios, from 0 to 1, as bars."""
    column = Column(title, expression, unit="percentunit", cell=GAUGE, maximum=1, decimals=0)
    return replace(column, judgement=judgement) if judgement else replace(column, color=style.BAR)


def grid(text: Text, keys: Sequence[Key], columns: Sequence[Column], *, sort: Mapping[str, bool]) -> Panel:
    """A table.

    Args:
        text: what it says.
        keys: the labels that are shown, in order; those of the first query name the rows.
        columns: from left to right.
        sort: the titles of the columns to sort by, and whether the highest comes first. To Grafana a missing value
            is the lowest of all, so where values may be missing, another column that judges comes first.
    """
    panel = (
        described(table.Panel(), text)
        .unit("none")
        .thresholds(style.unjudged())
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(style.TEXT))
        .min_width(_MIN_WIDTH)
        .targets([instant(column.expression, as_table=True) for column in columns])
        .with_transformation(model.DataTransformerConfig("merge", options={}))
        .with_transformation(_organized(keys, columns))
    )
    for kind in ("number", "string"):
        panel = panel.override_by_field_type(kind, [model.DynamicConfigValue("noValue", _MISSING)])
    for key in keys:
        panel = panel.override_by_name(key.title, _key_properties(key, keys, sorts=key.title in sort))
    for column in columns:
        if column.shown:
            panel = panel.override_by_name(column.title, _column_properties(column, sorts=column.title in sort))
    return panel.sort_by(
        [common.TableSortByFieldState().display_name(title).desc(descending) for title, descending in sort.items()]
    )


def _value_fields(columns: Sequence[Column]) -> list[str]:
    """What the data source calls the value of each query."""
    if len(columns) == 1:
        return ["Value"]
    return [f"Value #{chr(ord('A') + position)}" for position in range(len(columns))]


def _organized(keys: Sequence[Key], columns: Sequence[Column]) -> model.DataTransformerConfig:
    values = list(zip(_value_fields(columns), columns, strict=True))
    titles = {key.label: key.title for key in keys if not key.last}
    titles |= {value: column.title for value, column in values if column.shown}
    titles |= {key.label: key.title for key in keys if key.last}
    unwanted = ["Time", *(value for value, column in values if not column.shown)]
    return model.DataTransformerConfig(
        "organize",
        options={
            "excludeByName": dict.fromkeys(unwanted, True),
            "indexByName": {name: position for position, name in enumerate(titles)},
            "renameByName": titles,
        },
    )


def _least_width(title: str, content: int, *, sorts: bool, filters: bool = False) -> model.DynamicConfigValue:
    width = max(content, widths.header(title, sorts=sorts, filters=filters))
    return model.DynamicConfigValue("custom.minWidth", width)


def _key_properties(key: Key, keys: Sequence[Key], *, sorts: bool) -> list[model.DynamicConfigValue]:
    properties = [
        model.DynamicConfigValue("custom.filterable", True),
        _least_width(key.title, key.width, sorts=sorts, filters=True),
    ]
    if key.hidden:
        properties.append(model.DynamicConfigValue("custom.hidden", True))
    carried = [(each.label, each.title) for each in keys[: keys.index(key) + 1]]
    leads: list[dict[str, Any]] = [links.row(uid, key.title, carried) for uid in key.leads]
    if key.url:
        leads.append({"title": f"Open the runbook of this {key.title.lower()}", "url": key.url, "targetBlank": True})
    if leads:
        properties.append(model.DynamicConfigValue("links", leads))
    return properties


def _column_properties(column: Column, *, sorts: bool) -> list[model.DynamicConfigValue]:
    chosen: dict[str, Any] = {"unit": column.unit}
    if column.cell is not None:
        chosen["custom.cellOptions"] = dict(column.cell)
        fine, unknown = _LOOKS[column.cell["type"]]
        if column.judgement or column.mappings:
            chosen["thresholds"] = style.judged(column.judgement, fine=fine, unknown=unknown).build()
            chosen["color"] = {"mode": "thresholds"}
    if column.color:
        chosen["color"] = {"mode": "fixed", "fixedColor": column.color}
    if column.mappings:
        chosen["mappings"] = list(column.mappings)
    if column.decimals is not None:
        chosen["decimals"] = column.decimals
    if column.cell is GAUGE:
        chosen |= {"min": 0, "noValue": _MISSING_BAR}
    if column.maximum is not None:
        chosen["max"] = column.maximum
    least = _least_width(column.title, column.width, sorts=sorts)
    return [*(model.DynamicConfigValue(name, value) for name, value in chosen.items()), least]
