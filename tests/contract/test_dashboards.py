"""The dashboards are complete and consistent with the catalogue."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.catalog import (
    AGENT_GPU_VRAM_FREE,
    BUILD_INFO,
    CATALOG,
    DOMAIN_METRICS,
    Kind,
)
from grafana import reading
from support import promql
from support.promql import Expression

with warnings.catch_warnings():
    # The SDK prefers the schema that Grafana's file provisioning refuses.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as sdk

DASHBOARDS = reading.load()
EXPRESSIONS = promql.dashboard_expressions()
UIDS = {"cyberun-overview", "cyberun-agents", "cyberun-tasks", "cyberun-exporter"}
TYPES = {"row", "stat", "timeseries", "table", "state-timeline", "heatmap"}
TARGET_LABELS = {"job", "instance"}
FOREIGN = {"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
GROWING = {"rate", "increase", "resets"}
# What the alert rules of this project make, and the labels that any of their alerts has.
RULES = {"ALERTS", "ALERTS_FOR_STATE", *(rule["record"] for rule in promql.rules() if "record" in rule)}
RULE_LABELS = {"alertname", "alertstate", "severity", *(label for metric in CATALOG for label in metric.label_names)}

each_dashboard = pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
each_expression = pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)


def everything_in(value: Any) -> Iterator[Any]:
    """Every mapping in a document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from everything_in(each)


def survives(part: Any, whole: Any) -> bool:
    """Whether the whole contains everything in the part; None equals absence."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(survives(value, whole.get(key)) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(survives, part, whole))
    return bool(part == whole)


# --- The document ---


def test_there_are_four() -> None:
    """The four dashboards have the uids that alerts and users link to; each file is named by its uid."""
    assert set(DASHBOARDS) == UIDS
    assert {path.stem for path in reading.FOLDER.iterdir()} == UIDS


@each_dashboard
def test_a_dashboard_can_be_provisioned_anywhere(board: dict[str, Any]) -> None:
    """Classic schema, a short uid, no instance-specific id, no inputs or plug-ins, not editable, and tagged."""
    assert board["schemaVersion"] == 39
    assert len(board["uid"]) <= 40
    assert not {"id", "version", "__inputs", "__requires", "__elements", "gnetId"} & set(board)
    assert board["editable"] is False
    assert board["title"].startswith("Cyberun / ")
    assert board["tags"] == ["cyberun"]
    assert "${DS_" not in json.dumps(board)
    assert {panel["type"] for panel in board["panels"]} <= TYPES


@each_dashboard
def test_dashboards_link_to_each_other(board: dict[str, Any]) -> None:
    """One link lists all dashboards with the tag and keeps time range and variables."""
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["cyberun"],
        True,
        True,
    )


@each_dashboard
def test_panels_have_their_place(board: dict[str, Any]) -> None:
    """Panels stay within 24 columns, do not overlap, and fill each row or end before a heading."""
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * max(y + 1 for _, y in taken), "there is a hole"


@each_dashboard
def test_panels_and_queries_are_identified(board: dict[str, Any]) -> None:
    """Panel ids are unique and positive; each query of a panel has its own refId."""
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert min(ids) > 0
    for panel in reading.panels(board):
        references = [target["refId"] for target in panel["targets"]]
        assert references == [chr(ord("A") + position) for position in range(len(references))], panel["title"]


@each_dashboard
def test_every_data_source_is_the_chosen_one(board: dict[str, Any]) -> None:
    """Each panel, query, variable and annotation names the data source variable itself."""
    sources = [each["datasource"] for each in everything_in(board) if "datasource" in each]
    assert {json.dumps(source) for source in sources} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    needing = [*reading.panels(board), *board["annotations"]["list"], *board["templating"]["list"][1:]]
    needing += [target for panel in reading.panels(board) for target in panel["targets"]]
    assert all("datasource" in each for each in needing)


@each_dashboard
def test_nothing_that_differs_between_versions(board: dict[str, Any]) -> None:
    """No option is used that only some supported versions of Grafana know."""
    keys = {key for each in everything_in(board) for key in each}
    assert not keys & {"footer", "percentChangeColorMode", "allowCustomValue", "auto_count", "repeatDirection"}


@each_dashboard
def test_the_sdk_reads_it_back(board: dict[str, Any]) -> None:
    """Reading a dashboard into the SDK's types and writing it again loses nothing."""
    again = json.loads(json.dumps(sdk.Dashboard.from_json(board), cls=JSONEncoder))
    again["schemaVersion"] = board["schemaVersion"]
    assert survives(board, again)


# --- What the panels say ---


@each_dashboard
def test_panels_that_can_be_empty_say_what_that_means(board: dict[str, Any]) -> None:
    """Every panel has its own text for missing data, except timelines, where it would fill the gaps."""
    panels = [panel for panel in reading.panels(board) if panel["type"] != "state-timeline"]
    assert all(panel["fieldConfig"]["defaults"].get("noValue") for panel in panels)


@each_dashboard
def test_descriptions_end_as_sentences(board: dict[str, Any]) -> None:
    """Descriptions are sentences; titles are not, and each is unique."""
    titles = [panel["title"] for panel in reading.panels(board)]
    assert len(set(titles)) == len(titles)
    assert not [title for title in titles if title.endswith(".")]
    assert all(panel["description"].endswith(".") for panel in reading.panels(board))


@each_dashboard
def test_lines_have_legends(board: dict[str, Any]) -> None:
    """Graphs show their legend; heatmaps name their rows by bucket."""
    for panel in reading.panels(board):
        if panel["type"] in {"timeseries", "state-timeline"}:
            assert panel["options"]["legend"]["showLegend"], panel["title"]
            assert all(target["legendFormat"] not in {"", "__auto"} for target in panel["targets"]), panel["title"]
        if panel["type"] == "heatmap":
            assert [target["legendFormat"] for target in panel["targets"]] == ["{{le}}"], panel["title"]


@each_dashboard
def test_single_values_are_of_now(board: dict[str, Any]) -> None:
    """Stats, bars and tables use instant queries; a range query would keep showing the last value of what is gone."""
    for panel in reading.panels(board):
        instant = panel["type"] in {"stat", "bargauge", "table"}
        assert all(target["instant"] is instant for target in panel["targets"]), panel["title"]


@each_dashboard
def test_variables_are_ready_for_every_fleet(board: dict[str, Any]) -> None:
    """Variables allow several values and all, refresh with the time range, and filter by the variables before them."""
    source, *others = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [each["name"] for each in others][:3] == ["job", "instance", "team_name"]
    for each in others:
        assert (each["multi"], each["includeAll"], each["allValue"], each["refresh"]) == (True, True, ".+", 2)
        assert promql.label_values(each)[1] == each["name"]


# --- What the queries say ---


@each_expression
def test_queries_name_what_exists(expression: Expression) -> None:
    """Metrics are in the catalogue or Prometheus' own, and matchers use labels that they have."""
    for selector in expression.selectors():
        metric = selector.metric
        assert metric is not None or selector.name in FOREIGN | RULES, selector.name
        labels = set(metric.label_names) if metric else RULE_LABELS if selector.of_rules else set()
        assert set(selector.matchers) <= labels | TARGET_LABELS, selector


@each_expression
def test_queries_choose_statuses_that_exist(expression: Expression) -> None:
    """Statuses in matchers exist for tasks or agents."""
    for selector in expression.selectors():
        chosen = selector.matchers.get("status", "").lstrip("=~!")
        known = (selector.metric.values_of("status") if selector.metric else None) or ()
        assert set(filter(None, chosen.split("|"))) <= set(known), selector


@each_expression
def test_queries_group_by_what_exists(expression: Expression) -> None:
    """Expressions group and join only by labels that one of their metrics has."""
    metrics = [selector.metric for selector in expression.selectors()]
    labels = {label for metric in metrics if metric for label in metric.label_names}
    buckets = {"le"} if any(metric and metric.kind is Kind.HISTOGRAM for metric in metrics) else set()
    of_rules = RULE_LABELS if any(selector.of_rules for selector in expression.selectors()) else set()
    assert expression.grouping() <= labels | buckets | of_rules | TARGET_LABELS


@each_expression
def test_queries_obey_the_variables(expression: Expression) -> None:
    """Every selector is filtered by each variable whose label its metric has; variables by those before them."""
    uid, _, what = expression.where.partition(": ")
    names = [each["name"] for each in DASHBOARDS[uid]["templating"]["list"][1:]]
    if what.startswith("variable "):
        names = names[: names.index(what.removeprefix("variable "))]
    for selector in expression.selectors():
        labels = TARGET_LABELS | set(selector.metric.label_names if selector.metric else ())
        wanted = {name: f"=~{promql.CHOSEN[name]}" for name in names if name in labels}
        if selector.of_rules:
            # Alerts lose the instance; those about an exporter have no team, and one about them all no job.
            optional = "|" if selector.name.startswith("ALERTS") else ""
            labels = {"job", "team_name"} if optional else {"job"}
            wanted = {name: f"=~{optional}{promql.CHOSEN[name]}" for name in labels}
        assert wanted.items() <= selector.matchers.items(), selector


@each_expression
def test_counters_grow_and_gauges_do_not(expression: Expression) -> None:
    """Counters and parts of histograms occur only in rate, increase or resets; gauges and infos never do."""
    if " variable " in expression.where:
        return  # it asks which labels there are
    for selector in expression.selectors():
        counted = selector.name.endswith(("_total", "_bucket", "_sum", "_count"))
        assert (selector.function in GROWING) is counted, selector


@each_expression
def test_a_second_exporter_counts_nothing_twice(expression: Expression) -> None:
    """Data about a fleet is first reduced to one value per job: the maximum, or the minimum of free memory."""
    for selector in expression.selectors():
        if selector.metric in DOMAIN_METRICS and " variable " not in expression.where:
            once = rf"\b(max|min) by \(job, [^)]*\) \((?:(?:rate|increase)\()?{selector.name}\{{"
            taken = re.findall(once, expression.source)
            assert len(taken) == expression.source.count(f"{selector.name}{{"), selector.name
            assert set(taken) <= ({"min"} if selector.metric is AGENT_GPU_VRAM_FREE else {"max", "min"})


@each_expression
def test_foreign_metrics_are_of_exporters(expression: Expression) -> None:
    """Metrics that other programs expose too are joined with one that only this exporter has: any job may match."""
    names = [selector.name for selector in expression.selectors()]
    if FOREIGN & set(names):
        assert BUILD_INFO.name in names
        assert re.search(r"and on \(job, instance\) (\(last_over_time\()?cyberun_", expression.source)


def test_legends_name_labels_that_the_queries_leave() -> None:
    """Every label in a legend survives its expression."""
    for board in DASHBOARDS.values():
        for panel in reading.panels(board):
            for target in panel["targets"]:
                expression = Expression(panel["title"], target["expr"])
                named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
                assert named <= (expression.grouping() or TARGET_LABELS), panel["title"]


def test_every_metric_is_looked_at() -> None:
    """Each metric of the catalogue is used by a dashboard or an alert."""
    expressions = [*EXPRESSIONS, *promql.rule_expressions()]
    used = {selector.metric for expression in expressions for selector in expression.selectors()}
    unseen = {metric.name for metric in CATALOG} - {metric.name for metric in used if metric}
    assert not unseen, "no panel of grafana/builders (after `make generate`) and no alert of prometheus/rules has it"
