"""What dashboards draw: the panels, columns and links that rules look at, and mistakes made in them."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from grafana import reading
from support.dashboards import Board

Panel = dict[str, Any]
NEUTRAL: Final = frozenset({"#6e7581", "transparent", "text"})
"""Colours that judge nothing."""
DEFAULTS: Final = ("fieldConfig", "defaults")
"""Where a panel's properties are."""


def of_type(board: Board, *kinds: str) -> Iterator[Panel]:
    """The panels of these types."""
    return (panel for panel in reading.panels(board) if panel["type"] in kinds)


def overridden(panel: Panel) -> dict[str, dict[str, Any]]:
    """Each column's properties."""
    return {
        each["matcher"]["options"]: {one["id"]: one["value"] for one in each["properties"]}
        for each in panel["fieldConfig"]["overrides"]
        if each["matcher"]["id"] == "byName"
    }


def columns(panel: Panel) -> list[str]:
    """The titles of the visible columns, from left to right, in the order that the transformation sets."""
    return list(panel["transformations"][-1]["options"]["renameByName"].values())


def fields(panel: Panel) -> Iterator[dict[str, Any]]:
    """The default properties of a panel's values, then those of each column."""
    defaults = panel["fieldConfig"]["defaults"]
    yield {**defaults, **{f"custom.{name}": value for name, value in defaults.get("custom", {}).items()}}
    yield from overridden(panel).values()


def every_link(panel: Panel) -> Iterator[dict[str, Any]]:
    """The links of a panel's values."""
    for field in fields(panel):
        yield from field.get("links", ())


def colours_of_words(field: dict[str, Any]) -> set[str]:
    """The colours of values that are shown as words."""
    return {word["color"] for mapping in field.get("mappings", ()) for word in mapping["options"].values()}


def spoil(kind: str, *path: str, value: Any) -> Callable[[Board], None]:
    """Sets a value of the first panel of a kind."""

    def spoiled(board: Board) -> None:
        place: Any = next(of_type(board, kind))
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return spoiled


def spoil_text(old: str, new: str) -> Callable[[Board], None]:
    """Replaces text everywhere in a dashboard."""

    def spoiled(board: Board) -> None:
        text = json.dumps(board)
        assert old in text, old
        board.update(json.loads(text.replace(old, new)))

    return spoiled
