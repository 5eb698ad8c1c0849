"""Tables: one row per team, agent and the like, one query per column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import dashboard as model

from grafana.builders import style
from grafana.builders.panel import Panel, Text, described, instant
from grafana.builders.style import Steps

_TARGET: Final = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
BACKGROUND: Final = {"type": "color-background", "mode": "basic"}
COLORED: Final = {"type": "color-text"}
GAUGE: Final = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}


@dataclass(frozen=True, slots=True)
class Key:
    """A label that names the rows.

    Attributes:
        link: the uid of the dashboard that a click opens, with the row's keys as its variables.
    """

    label: str
    title: str
    link: str = ""
    width: int | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A query that gives one value per row, with the keys as its only labels.

    Attributes:
        cell: how it is drawn; empty for plain text.
        shown: False for a query whose labels alone are of interest.
    """

    title: str
    expression: str
    unit: str = "none"
    steps: Steps | None = None
    cell: Mapping[str, str] | None = None
    mappings: Sequence[model.ValueMapping] = ()
    decimals: int | None = None
    width: int | None = None
    maximum: float | None = None
    shown: bool = True


def grid(
    text: Text, keys: Sequence[Key], columns: Sequence[Column], *, sort: str = "", descending: bool = True
) -> Panel:
    """A table.

    Args:
        text: what it says.
        keys: the labels that are shown, in order; those of the first query name the rows.
        columns: from left to right.
        sort: the title of the column to sort by.
        descending: highest first.
    """
    panel = described(table.Panel(), text).unit("none").targets([instant(c.expression, as_table=True) for c in columns])
    values = _value_fields(columns)
    panel = panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    panel = panel.with_transformation(_organized(keys, columns, values))
    for key in keys:
        panel = panel.override_by_name(key.title, _key_properties(key, keys))
    for column in columns:
        if column.shown:
            panel = panel.override_by_name(column.title, _column_properties(column))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    return panel


def _value_fields(columns: Sequence[Column]) -> list[str]:
    """What the data source calls the value of each query."""
    if len(columns) == 1:
        return ["Value"]
    return [f"Value #{chr(ord('A') + position)}" for position in range(len(columns))]


def _organized(keys: Sequence[Key], columns: Sequence[Column], values: Sequence[str]) -> model.DataTransformerConfig:
    titles = {key.label: key.title for key in keys}
    titles |= {value: column.title for value, column in zip(values, columns, strict=True) if column.shown}
    unwanted = ["Time"]
    unwanted += [value for value, column in zip(values, columns, strict=True) if not column.shown]
    return model.DataTransformerConfig(
        "organize",
        options={
            "excludeByName": dict.fromkeys(unwanted, True),
            "indexByName": {name: position for position, name in enumerate(titles)},
            "renameByName": titles,
        },
    )


def _key_properties(key: Key, keys: Sequence[Key]) -> list[model.DynamicConfigValue]:
    properties = [model.DynamicConfigValue("custom.filterable", True)]
    if key.width:
        properties.append(model.DynamicConfigValue("custom.width", key.width))
    if key.link:
        row = "&".join(f"var-{each.label}=${{__data.fields.{each.title}:percentencode}}" for each in keys if each.link)
        link = {"title": f"Show this {key.title.lower()}", "url": f"/d/{key.link}?{row}&{_TARGET}"}
        properties.append(model.DynamicConfigValue("links", [link]))
    return properties


def _column_properties(column: Column) -> list[model.DynamicConfigValue]:
    chosen: dict[str, Any] = {"unit": column.unit}
    if column.cell is not None:
        chosen["custom.cellOptions"] = dict(column.cell)
    if column.steps is not None:
        chosen["thresholds"] = style.thresholds(column.steps).build()
        chosen["color"] = {"mode": "thresholds"}
    if column.mappings:
        chosen["mappings"] = list(column.mappings)
    if column.decimals is not None:
        chosen["decimals"] = column.decimals
    if column.maximum is not None:
        chosen |= {"min": 0, "max": column.maximum}
    if column.width is not None:
        chosen["custom.width"] = column.width
    return [model.DynamicConfigValue(name, value) for name, value in chosen.items()]
