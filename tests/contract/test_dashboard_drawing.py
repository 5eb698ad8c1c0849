"""Rules that follow from how Grafana draws a dashboard. For each rule, a test shows that it notices its mistake."""

import re
from collections.abc import Callable, Iterator

from grafana import reading
from support.dashboards import Board, Rule, rule_tests
from support.drawing import DEFAULTS, NEUTRAL, fields, of_type, overridden, spoil, spoil_text


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


def unknown_is_said_in_one_way(board: Board) -> Iterator[str]:
    """A panel without values says "no data"; timelines have no such text, because they would fill gaps with it."""
    for panel in reading.panels(board):
        wanted = None if panel["type"] == "state-timeline" else "no data"
        if panel["fieldConfig"]["defaults"].get("noValue") != wanted:
            yield panel["title"]


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


RULES: dict[Rule, Callable[[Board], None]] = {
    timelines_take_colours_from_mappings: spoil("state-timeline", *DEFAULTS, "color", value={"mode": "thresholds"}),
    nothing_known_is_not_judged: spoil_text('"value": null, "color": "#6e7581"', '"value": null, "color": "green"'),
    colours_tell_lines_apart: spoil("timeseries", *DEFAULTS, "color", value={"mode": "palette-classic-by-name"}),
    lines_are_not_filled: spoil("timeseries", *DEFAULTS, "custom", value={"fillOpacity": 8}),
    unknown_is_said_in_one_way: spoil("table", *DEFAULTS, "noValue", value="none known"),
    timelines_draw_only_what_went_wrong: spoil_text("@ end()) > 0)", "@ end()))"),
    ranges_end_with_the_exporter: spoil_text("[$__range])) and on", "[$__range])) or on"),
    disconnects_are_drawn_when_asked_for: spoil_text('"enable": false', '"enable": true'),
    what_grows_is_bounded: spoil_text(" @ end()", ""),
    the_default_data_source_is_chosen: spoil_text('"text": "default", "value": "default"', '"text": "", "value": ""'),
    numbers_have_colour_where_judged: spoil("stat", "options", "colorMode", value="background"),
    rates_are_told_by_titles: spoil("timeseries", *DEFAULTS, "unit", value="cpm"),
}
test_dashboards_keep_the_rule, test_the_rule_notices_a_mistake = rule_tests(RULES, "cyberun-agents")
