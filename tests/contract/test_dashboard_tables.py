"""Rules that follow from how Grafana draws tables and titles.

For each rule, a test shows that it notices its mistake.
"""

import json
from collections.abc import Callable, Iterator

import pytest

from grafana import reading, widths
from support.dashboards import Board, Rule, rule_tests
from support.drawing import (
    NEUTRAL,
    colours_of_words,
    columns,
    of_type,
    overridden,
    spoil,
    spoil_text,
)


def tables_begin_with_what_is_wrong(board: Board) -> Iterator[str]:
    """Missing values sort as the lowest, so a table with a column of words sorts by that first, then by a number."""
    for panel in of_type(board, "table"):
        words = [title for title, field in overridden(panel).items() if colours_of_words(field) - NEUTRAL]
        keys = [each["displayName"] for each in panel["options"].get("sortBy", ())]
        if not keys or not set(keys) <= set(columns(panel)):
            yield f"{panel['title']}: {keys}"
        if words and (len(keys) < 2 or keys[0] not in words):
            yield f"{panel['title']}: {keys}, not {words}"


def columns_fit_on_a_laptop(board: Board) -> Iterator[str]:
    """Each header fits into its column, and the columns into the table. Anything wider is cut off or out of sight.

    A column is 150 pixels wide at least where nothing else is said; those that need less share what is left.
    """
    for panel in of_type(board, "table"):
        least = panel["fieldConfig"]["defaults"]["custom"].get("minWidth", 150)
        if not 60 <= least <= 70:
            yield f"{panel['title']}: {least} pixels"
        sorts = {each["displayName"] for each in panel["options"]["sortBy"]}
        room = widths.table(panel["gridPos"]["w"])
        total = 0
        for title, own in ((title, overridden(panel).get(title, {})) for title in columns(panel)):
            if own.get("custom.hidden"):
                continue
            width = own.get("custom.width", own.get("custom.minWidth", least))
            needed = widths.header(title, sorts=title in sorts, filters=own.get("custom.filterable", False))
            if width < needed:
                yield f"{panel['title']}, {title}: {width} of {needed} pixels"
            total += width
        if total > room:
            yield f"{panel['title']}: {total} of {room:.0f} pixels"


def titles_fit_on_a_laptop(board: Board) -> Iterator[str]:
    """Panel titles fit beside their icons, or Grafana cuts them off."""
    for panel in reading.panels(board):
        if widths.drawn(panel["title"]) > widths.title(panel["gridPos"]["w"]):
            yield panel["title"]


def empty_cells_are_short(board: Board) -> Iterator[str]:
    """A table's `noValue` text would fill every empty cell; next to a gauge it would take the space of the bar."""
    for panel in of_type(board, "table"):
        given = {
            each["matcher"]["options"]: each["properties"]
            for each in panel["fieldConfig"]["overrides"]
            if each["matcher"]["id"] == "byType"
        }
        if given != {kind: [{"id": "noValue", "value": "n/a"}] for kind in ("number", "string")}:
            yield f"{panel['title']}: {given}"
        for title, own in overridden(panel).items():
            if own.get("custom.cellOptions", {}).get("type") == "gauge":
                text = own.get("noValue", "")
                if text.strip() != "n/a" or widths.drawn(text) < widths.drawn("100%"):
                    yield f"{panel['title']}, {title}: {text}"


def cells_that_are_fine_have_no_colour(board: Board) -> Iterator[str]:
    """In tables, colour marks only what is wrong, so nothing is green."""
    for panel in of_type(board, "table"):
        for title, field in overridden(panel).items():
            if "green" in json.dumps(field):
                yield f"{panel['title']}, {title}"


RULES: dict[Rule, Callable[[Board], None]] = {
    tables_begin_with_what_is_wrong: spoil(
        "table", "options", "sortBy", value=[{"displayName": "Last seen", "desc": True}]
    ),
    columns_fit_on_a_laptop: spoil_text('"displayName": "Status"', '"displayName": "Version"'),
    titles_fit_on_a_laptop: spoil("stat", "title", value="Least free GPU memory"),
    empty_cells_are_short: spoil("table", "fieldConfig", "overrides", value=[]),
    cells_that_are_fine_have_no_colour: spoil_text('"color": "blue"', '"color": "green"'),
}
test_dashboards_keep_the_rule, test_the_rule_notices_a_mistake = rule_tests(RULES, "cyberun-agents")


# Measured in the front end of Grafana 11.1, in pixels.
@pytest.mark.parametrize(
    ("text", "pixels"),
    [
        ("GPU", 30),
        ("Team", 37),
        ("Heartbeat", 68),
        ("Completed", 74),
        ("Least free VRAM", 115),
        ("No eligible agent", 115),
        ("GPU capacity in use", 138),
        ("Longest running task", 144),
        ("Without eligible agent", 149),
        ("Least free GPU memory", 163),
        ("Waiting tasks without eligible agent", 242),
        ("Status of the agents longest out of service", 290),
    ],
)
def test_widths_are_those_that_grafana_draws(text: str, pixels: int) -> None:
    """The estimated text widths are close to those measured in a browser."""
    assert widths.drawn(text) == pytest.approx(pixels, rel=0.05, abs=5)
