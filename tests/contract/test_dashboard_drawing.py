"""Rules that follow from how Grafana draws a dashboard. For each rule, a test shows that it notices its mistake."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grafana import reading, widths
from support.dashboards import Board, Rule, rule_tests

Panel = dict[str, Any]
DASHBOARDS = reading.load()

NEUTRAL = {"#6e7581", "transparent", "text"}


def of_type(board: Board, *kinds: str) -> Iterator[Panel]:
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
    organize = panel["transformations"][-1]["options"]
    return sorted(organize["renameByName"].values(), key=list(organize["renameByName"].values()).index)


def fields(panel: Panel) -> Iterator[dict[str, Any]]:
    """The default properties of a panel's values, then those of each column."""
    defaults = panel["fieldConfig"]["defaults"]
    yield {**defaults, **{f"custom.{name}": value for name, value in defaults.get("custom", {}).items()}}
    yield from overridden(panel).values()


def every_link(panel: Panel) -> Iterator[dict[str, Any]]:
    for field in fields(panel):
        yield from field.get("links", ())


def colours_of_words(field: dict[str, Any]) -> set[str]:
    """The mappings of values that are shown as words."""
    return {word["color"] for mapping in field.get("mappings", ()) for word in mapping["options"].values()}


# --- Rules ---


def timelines_take_colours_from_mappings(board: Board) -> Iterator[str]:
    """With thresholds, a state timeline draws ranges instead of states; with a `noValue` text, it fills gaps."""
    for panel in of_type(board, "state-timeline"):
        defaults = panel["fieldConfig"]["defaults"]
        if not defaults.get("mappings") or defaults.get("color") != {"mode": "fixed", "fixedColor": "text"}:
            yield panel["title"]
        if {"thresholds", "noValue"} & set(defaults):
            yield panel["title"]


def nothing_known_is_not_judged(board: Board) -> Iterator[str]:
    """A missing value gets the colour of the lowest threshold, so that colour is neutral unless missing is bad."""
    for panel in reading.panels(board):
        for field in fields(panel):
            for step in field.get("thresholds", {}).get("steps", [])[:1]:
                bad_too = panel["title"] == "Not reporting" and step["color"] == "red"
                if step["color"] not in NEUTRAL and not bad_too:
                    yield f"{panel['title']}: {step}"


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


def unknown_is_said_in_one_way(board: Board) -> Iterator[str]:
    """A panel without values says "no data"; timelines have no such text, because they would fill gaps with it."""
    for panel in reading.panels(board):
        wanted = None if panel["type"] == "state-timeline" else "no data"
        if panel["fieldConfig"]["defaults"].get("noValue") != wanted:
            yield panel["title"]


def cells_that_are_fine_have_no_colour(board: Board) -> Iterator[str]:
    """In tables, colour marks only what is wrong, so nothing is green."""
    for panel in of_type(board, "table"):
        for title, field in overridden(panel).items():
            if "green" in json.dumps(field):
                yield f"{panel['title']}, {title}"


def colours_tell_lines_apart(board: Board) -> Iterator[str]:
    """Lines use the classic palette, because others give several lines one colour. Colours with a meaning are fixed."""
    for panel in of_type(board, "timeseries"):
        if panel["fieldConfig"]["defaults"]["color"] != {"mode": "palette-classic"}:
            yield panel["title"]
        for title, field in overridden(panel).items():
            color = field.get("color", {}).get("fixedColor", "")
            if "green" in color and title not in {"completed", "running", "busy"}:
                yield f"{panel['title']}: {title} {color}"
        of_reasons = any("{{reason}}" in target["legendFormat"] for target in panel["targets"])
        of_statuses = any("{{status}}" in target["legendFormat"] for target in panel["targets"])
        if (of_reasons or of_statuses) and not overridden(panel):
            yield f"{panel['title']}: any colour"


def lines_are_not_filled(board: Board) -> Iterator[str]:
    """Lines are not filled, because fills hide each other, and legends are below, where they take the least space."""
    for panel in of_type(board, "timeseries"):
        custom, legend = panel["fieldConfig"]["defaults"]["custom"], panel["options"]["legend"]
        stacked = custom.get("stacking", {}).get("mode") == "normal"
        if not stacked and custom["fillOpacity"]:
            yield f"{panel['title']}: filled"
        if legend["placement"] != "bottom":
            yield f"{panel['title']}: {legend}"


def disconnects_are_drawn_when_asked_for(board: Board) -> Iterator[str]:
    """Annotations appear on every panel, so only rare ones are enabled."""
    shown = {each["name"]: each["enable"] for each in board["annotations"]["list"]}
    if shown != {"Agent disconnects": False, "Exporter restarts": True}:
        yield f"{shown}"


def what_grows_is_bounded(board: Board) -> Iterator[str]:
    """Where the number of lines grows with the fleet, only the top few are shown, chosen once for the whole range."""
    for panel in of_type(board, "timeseries", "state-timeline"):
        for target in panel["targets"]:
            grows = re.search(r"\{\{(team_name|agent_id)\}\}", target["legendFormat"])
            if grows and not re.search(r"(top|bottom)k\(\d+, .* @ end\(\)\)", target["expr"]):
                yield f"{panel['title']}: {target['legendFormat']}"
    for panel in of_type(board, "table"):
        labels = panel["transformations"][-1]["options"]["renameByName"]
        for target in panel["targets"]:
            bounded = re.search(r"(top|bottom)k\(\d+, ", target["expr"]) or "ALERTS" in target["expr"]
            if "agent_id" in labels and not bounded:
                yield f"{panel['title']} {target['refId']}"


def timelines_draw_only_what_went_wrong(board: Board) -> Iterator[str]:
    """A timeline of the worst agents leaves out those that were fine all the time."""
    for panel in of_type(board, "state-timeline"):
        for target in panel["targets"]:
            if not re.search(r"topk\(\d+, sum_over_time\(.* @ end\(\)\) > 0\)", target["expr"]):
                yield panel["title"]


def ranges_end_with_the_exporter(board: Board) -> Iterator[str]:
    """Growth over the time range is joined with current data, because it keeps a value after the exporter is gone."""
    for panel in reading.panels(board):
        for target in panel["targets"]:
            expression = target["expr"]
            if expression.count("[$__range])") != len(re.findall(r"\[\$__range\]\)\)? and on \(job", expression)):
                yield f"{panel['title']} {target['refId']}"


def links_carry_what_was_clicked_on(board: Board) -> Iterator[str]:
    """A link contains the slug and the keys of its row up to the clicked column, each once."""
    for panel in reading.panels(board):
        for title, field in overridden(panel).items():
            for link in field.get("links", ()):
                yield from (f"{panel['title']}, {title}: {mistake}" for mistake in _mistakes(link, title, panel))
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            yield from (f"{panel['title']}: {mistake}" for mistake in _mistakes(link, "", panel))


def _mistakes(link: dict[str, Any], title: str, panel: Panel) -> Iterator[str]:
    url = link["url"]
    if url.startswith("https://"):
        return
    uid = url.split("/")[2]
    if uid not in DASHBOARDS or not url.startswith(f"/d/{uid}/{uid}?") or "${__url_time_range}" not in url:
        yield url
        return
    named = re.findall(r"var-(\w+)=\$\{__data\.fields\.(\w+):percentencode\}", url)
    if title and (not named or named[-1][1] != title):
        yield f"{url} hands over {named}"
    if not {column for _, column in named} <= set(columns(panel) if title else ()):
        yield f"{url} names columns that there are not"
    known = {each["name"] for each in DASHBOARDS[uid]["templating"]["list"]}
    variables = [name for name, _ in named] + re.findall(r"\$\{(\w+):queryparam\}", url)
    if not set(variables) <= known:
        yield f"{url} hands over what {uid} has no variable for"
    if sorted(variables) != sorted({*variables, "datasource", "job", "instance", "team_name"}):
        yield f"{url} carries {variables}"


def every_name_leads_on(board: Board) -> Iterator[str]:
    """A team in a table links to its agents, tasks and polls; an agent and a workflow link to their own details."""
    leads = {"Team": {"cyberun-agents", "cyberun-tasks", "cyberun-exporter"}, "Agent": {"cyberun-agents"}}
    leads |= {"Workflow": {"cyberun-tasks"}}
    for panel in of_type(board, "table"):
        named = panel["transformations"][-1]["options"]["renameByName"]
        for label in {"team_name", "agent_id", "workflow_id"} & set(named):
            links = overridden(panel)[named[label]].get("links", ())
            if {link["url"].split("/")[2] for link in links} != leads[named[label]]:
                yield f"{panel['title']}: {named[label]}"


def the_default_data_source_is_chosen(board: Board) -> Iterator[str]:
    """The current data source is `default`."""
    current = board["templating"]["list"][0].get("current")
    if current != {"selected": True, "text": "default", "value": "default"}:
        yield f"{current}"


def numbers_have_colour_where_judged(board: Board) -> Iterator[str]:
    """Only a number that is good or bad has a coloured background; others are plain text."""
    for panel in of_type(board, "stat"):
        defaults, mode = panel["fieldConfig"]["defaults"], panel["options"]["colorMode"]
        judged = len(defaults["thresholds"]["steps"]) > 1 or bool(defaults.get("mappings"))
        plain = {"mode": "fixed", "fixedColor": "text"}
        if judged != (mode == "background") or judged == (defaults["color"] == plain):
            yield panel["title"]


def rates_are_told_by_titles(board: Board) -> Iterator[str]:
    """Counts per minute say so in the title and have a plain unit, because Grafana's own unit shows as "c/m"."""
    for panel in reading.panels(board):
        units = {field["unit"] for field in fields(panel) if "unit" in field}
        if units & {"cpm", "opm", "rpm"}:
            yield f"{panel['title']}: {units}"
        if (
            any(target["expr"].startswith("60 * ") for target in panel["targets"])
            and "per minute" not in panel["title"]
        ):
            yield panel["title"]


# --- Mistakes ---


def panel_of(board: Board, kind: str) -> Panel:
    return next(of_type(board, kind))


def spoil(kind: str, *path: str, value: Any) -> Callable[[Board], None]:
    """Sets a value of the first panel of a kind."""

    def spoiled(board: Board) -> None:
        place: Any = panel_of(board, kind)
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


DEFAULTS = ("fieldConfig", "defaults")
RULES: dict[Rule, Callable[[Board], None]] = {
    timelines_take_colours_from_mappings: spoil("state-timeline", *DEFAULTS, "color", value={"mode": "thresholds"}),
    nothing_known_is_not_judged: spoil_text('"value": null, "color": "#6e7581"', '"value": null, "color": "green"'),
    tables_begin_with_what_is_wrong: spoil(
        "table", "options", "sortBy", value=[{"displayName": "Last seen", "desc": True}]
    ),
    columns_fit_on_a_laptop: spoil_text('"displayName": "Status"', '"displayName": "Version"'),
    titles_fit_on_a_laptop: spoil("stat", "title", value="Least free GPU memory"),
    empty_cells_are_short: spoil("table", "fieldConfig", "overrides", value=[]),
    colours_tell_lines_apart: spoil("timeseries", *DEFAULTS, "color", value={"mode": "palette-classic-by-name"}),
    lines_are_not_filled: spoil("timeseries", *DEFAULTS, "custom", value={"fillOpacity": 8}),
    unknown_is_said_in_one_way: spoil("table", *DEFAULTS, "noValue", value="none known"),
    cells_that_are_fine_have_no_colour: spoil_text('"color": "blue"', '"color": "green"'),
    timelines_draw_only_what_went_wrong: spoil_text("@ end()) > 0)", "@ end()))"),
    ranges_end_with_the_exporter: spoil_text("[$__range])) and on", "[$__range])) or on"),
    disconnects_are_drawn_when_asked_for: spoil_text('"enable": false', '"enable": true'),
    what_grows_is_bounded: spoil_text(" @ end()", ""),
    links_carry_what_was_clicked_on: spoil_text("/d/cyberun-tasks/cyberun-tasks?", "/d/cyberun-tasks?"),
    every_name_leads_on: spoil_text("/d/cyberun-exporter/", "/d/cyberun-overview/"),
    the_default_data_source_is_chosen: spoil_text('"text": "default", "value": "default"', '"text": "", "value": ""'),
    numbers_have_colour_where_judged: spoil("stat", "options", "colorMode", value="background"),
    rates_are_told_by_titles: spoil("timeseries", *DEFAULTS, "unit", value="cpm"),
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


def test_the_first_row_leads_on() -> None:
    """Each number in the Overview's first row links to the next place to look, keeping variables and time range."""
    overview = DASHBOARDS["cyberun-overview"]
    row = [panel for panel in reading.panels(overview) if panel["gridPos"]["y"] == 0]
    leads = {panel["title"]: [link["url"].split("?")[0].split("/")[-1] for link in every_link(panel)] for panel in row}
    assert leads == {
        "Not reporting": ["cyberun-exporter"],
        "Firing alerts": ["cyberun-overview"],
        "Oldest waiting task": ["cyberun-tasks"],
        "Failed tasks": ["cyberun-tasks"],
        "Agents in service": ["cyberun-agents"],
        "GPU capacity in use": ["cyberun-agents"],
    }
    (link,) = every_link(row[1])
    (shown,) = [panel for panel in overview["panels"] if f"viewPanel={panel['id']}&" in link["url"]]
    assert (shown["title"], shown["type"]) == ("Firing alerts and their runbooks", "table")
