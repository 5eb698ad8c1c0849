"""The 17 rules of grafana/dashboard-linter, each with a test that it notices its mistake.

The one exclusion: those about job and instance are for what targets expose, and `ALERTS` has no instance.
"""

from collections.abc import Callable, Iterator
from typing import Any

from grafana_foundation_sdk.models import units

from grafana import reading
from support import promql
from support.dashboards import Board, Rule, rule_tests
from support.promql import INTERVALS, Expression

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
RATE_INTERVAL = 60.0 * float(INTERVALS["__rate_interval"].removesuffix("m"))


def variable(board: Board, name: str) -> dict[str, Any]:
    """The variable of that name, or an empty one."""
    found: dict[str, Any] = next((each for each in board["templating"]["list"] if each["name"] == name), {})
    return found


def queries(board: Board) -> Iterator[Expression]:
    """The expressions of all panels."""
    for panel in reading.panels(board):
        for target in panel.get("targets", ()):
            yield Expression(panel["title"], target.get("expr", ""))


def parsing(board: Board) -> Iterator[Expression]:
    """The expressions that parse; another rule reports those that do not."""
    for query in queries(board):
        try:
            query.selectors()
        except ValueError:
            continue
        yield query


def template_datasource(board: Board) -> Iterator[str]:
    found = variable(board, "datasource")
    if (found.get("type"), found.get("label"), found.get("query")) != ("datasource", "Data source", "prometheus"):
        yield f"{found}"


def _template_target(board: Board, name: str) -> Iterator[str]:
    found = variable(board, name)
    wanted = {"type": "query", "label": name.capitalize(), "multi": True, "allValue": ".+"}
    if not wanted.items() <= found.items() or found["datasource"]["uid"] != "${datasource}":
        yield f"{name}: {found}"


def template_job(board: Board) -> Iterator[str]:
    yield from _template_target(board, "job")


def template_instance(board: Board) -> Iterator[str]:
    yield from _template_target(board, "instance")


def template_label_promql(board: Board) -> Iterator[str]:
    for each in board["templating"]["list"]:
        if each["type"] == "query":
            try:
                Expression(each["name"], promql.label_values(each)[0]).selectors()
            except (AssertionError, ValueError) as error:
                yield f"{each['name']}: {error}"


def template_on_time_change_reload(board: Board) -> Iterator[str]:
    yield from (
        each["name"] for each in board["templating"]["list"] if each["type"] == "query" and each["refresh"] != 2
    )


def panel_datasource(board: Board) -> Iterator[str]:
    for panel in reading.panels(board):
        if panel.get("datasource", {}).get("uid") not in {"$datasource", "${datasource}"}:
            yield panel["title"]


def panel_title_description(board: Board) -> Iterator[str]:
    for panel in reading.panels(board):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel['id']}"


def panel_units(board: Board) -> Iterator[str]:
    for panel in reading.panels(board):
        config = panel["fieldConfig"]
        chosen = [config["defaults"].get("unit")]
        chosen += [
            each["value"] for o in config.get("overrides", ()) for each in o["properties"] if each["id"] == "unit"
        ]
        yield from (f"{panel['title']}: {unit}" for unit in chosen if unit not in UNITS)


def panel_no_targets(board: Board) -> Iterator[str]:
    yield from (panel["title"] for panel in reading.panels(board) if not panel.get("targets"))


def target_logql(board: Board) -> Iterator[str]:
    for panel in reading.panels(board):
        yield from (panel["title"] for target in panel["targets"] if target["datasource"]["type"] != "prometheus")


def target_logql_auto(board: Board) -> Iterator[str]:
    yield from (query.where for query in queries(board) if "$__auto" in query.source)


def target_promql(board: Board) -> Iterator[str]:
    for query in queries(board):
        try:
            query.selectors()
        except (KeyError, ValueError) as error:
            yield f"{query.where}: {error!r}"


def target_rate_interval(board: Board) -> Iterator[str]:
    for query in parsing(board):
        for selector in query.selectors():
            if selector.function in {"rate", "irate"} and selector.range != RATE_INTERVAL:
                yield f"{query.where}: {selector}"


def _target_matcher(board: Board, name: str) -> Iterator[str]:
    for query in parsing(board):
        for selector in query.selectors():
            if selector.matchers.get(name) != f"=~{promql.CHOSEN[name]}" and not selector.of_rules:
                yield f"{query.where}: {selector}"


def target_job(board: Board) -> Iterator[str]:
    yield from _target_matcher(board, "job")


def target_instance(board: Board) -> Iterator[str]:
    yield from _target_matcher(board, "instance")


def target_counter_agg(board: Board) -> Iterator[str]:
    for query in parsing(board):
        for selector in query.selectors():
            if selector.name.endswith("_total") and selector.function not in {"rate", "irate", "increase"}:
                yield f"{query.where}: {selector}"


def uneditable_dashboard(board: Board) -> Iterator[str]:
    if board.get("editable") is not False:
        yield "editable"


def spoil_variable(name: str, key: str, value: Any) -> Callable[[Board], None]:
    def spoil(board: Board) -> None:
        variable(board, name)[key] = value

    return spoil


def spoil_panel(key: str, value: Any) -> Callable[[Board], None]:
    def spoil(board: Board) -> None:
        next(reading.panels(board))[key] = value

    return spoil


def spoil_query(old: str, new: str) -> Callable[[Board], None]:
    def spoil(board: Board) -> None:
        for panel in reading.panels(board):
            for target in panel["targets"]:
                if old in target["expr"]:
                    target["expr"] = target["expr"].replace(old, new)
                    return
        raise LookupError(old)

    return spoil


def spoil_source(board: Board) -> None:
    next(reading.panels(board))["targets"][0]["datasource"]["type"] = "loki"


def spoil_board(board: Board) -> None:
    board["editable"] = True


RULES: dict[Rule, Callable[[Board], None]] = {
    template_datasource: spoil_variable("datasource", "label", "Prometheus"),
    template_job: spoil_variable("job", "allValue", None),
    template_instance: spoil_variable("instance", "multi", False),
    template_label_promql: spoil_variable("team_name", "query", {"query": "label_values(up{, team_name)"}),
    template_on_time_change_reload: spoil_variable("team_name", "refresh", 1),
    panel_datasource: spoil_panel("datasource", {"type": "prometheus", "uid": "P1234"}),
    panel_title_description: spoil_panel("description", ""),
    panel_units: spoil_panel("fieldConfig", {"defaults": {"unit": "second"}}),
    panel_no_targets: spoil_panel("targets", []),
    target_logql: spoil_source,
    target_logql_auto: spoil_query("$__rate_interval", "$__auto"),
    target_promql: spoil_query("sum(", "sum(("),
    target_rate_interval: spoil_query("$__rate_interval", "2m"),
    target_job: spoil_query('job=~"$job"', 'job="cyberun"'),
    target_instance: spoil_query(', instance=~"$instance"', ""),
    target_counter_agg: spoil_query("increase(cyberun_", "delta(cyberun_"),
    uneditable_dashboard: spoil_board,
}
test_dashboards_keep_the_rule, test_the_rule_notices_a_mistake = rule_tests(RULES, "cyberun-overview")


def test_all_rules_are_there() -> None:
    """The linter has 17 rules."""
    assert len(RULES) == 17
