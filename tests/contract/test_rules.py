import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import promql_parser as promql
import pytest
import yaml

from exporter.catalog import CATALOG, Kind, Scope
from support.programs import content
from support.rules import (
    ALERTS,
    COMPARISONS,
    FILES,
    FOLDER,
    RECORDS,
    ROOT,
    RULES,
    SET_OPERATORS,
    UNIT_TESTS,
    Rule,
    inside,
    labels_kept,
    labels_of_series,
    lists_needed,
    metric_of,
    names,
    operator,
    parts,
    selectors,
    unit_tests,
)

JOB = 'job=~"cyberun|cyberun-exporter"'
BUILT_IN = {"up", "ALERTS"}
OF_COUNTERS = {"rate", "irate", "increase", "resets"}
OF_GAUGES = {"deriv", "delta", "idelta", "predict_linear", "changes"}
SEVERITIES = {"critical", "warning", "info"}
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
SCENARIOS = ("fires and resolves", "is quiet below its threshold", "missing data|withheld data", "a restart")
HELD = [alert for alert in ALERTS if alert.labels["area"] != "trust"]

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


async def promtool(*arguments: str) -> None:
    """Runs promtool in the folder of the rules; it must succeed."""
    await content("promtool", *arguments, directory=FOLDER)


# --- What promtool knows ---


async def test_rules_load() -> None:
    """Prometheus 2.42 accepts every rule file."""
    await promtool("check", "rules", *map(str, FILES))


async def test_unit_tests_pass() -> None:
    """The unit tests of every alert hold."""
    await asyncio.gather(*(promtool("test", "rules", str(path)) for path in UNIT_TESTS))


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-probe.yml"])
async def test_example_configurations_are_accepted(name: str) -> None:
    """Prometheus accepts both example configurations, with the rules they load."""
    await promtool("check", "config", name)


def test_probe_scrapes_keep_what_no_probe_has() -> None:
    """Beside probes, the exporter's own scrape keeps every metric that is about no team; the chart's does the same."""
    example = yaml.safe_load((FOLDER / "prometheus-probe.yml").read_text(encoding="utf-8"))
    kept = example["scrape_configs"][1]["metric_relabel_configs"][0]["regex"].strip()
    chart = FOLDER.parent / "helm" / "cyberun-exporter" / "templates" / "_monitoring.tpl"
    assert kept in chart.read_text(encoding="utf-8").splitlines()
    own = [metric for metric in CATALOG if metric.scope is Scope.EXPORTER and "team_name" not in metric.label_names]
    samples = [f"{each.name}_bucket" if each.kind is Kind.HISTOGRAM else each.name for each in own]
    assert [name for name in samples if not re.fullmatch(kept, name)] == []


@pytest.fixture(scope="module", name="unit_tests")
def all_unit_tests() -> list[dict[str, Any]]:
    """The groups of all unit tests."""
    return unit_tests()


@each_alert
def test_every_alert_has_its_unit_tests(alert: Rule, unit_tests: list[dict[str, Any]]) -> None:
    """Each alert is tested to fire with all its labels and texts, to resolve, to be quiet, and through gaps."""
    groups = [group for group in unit_tests if group["name"].startswith(f"{alert.name}: ")]
    for scenario in SCENARIOS:
        assert any(re.search(scenario, group["name"]) for group in groups), f"no test: {scenario}"
    (fires,) = [group for group in groups if group["name"].endswith("fires and resolves")]
    outcomes = [bool(check["exp_alerts"]) for check in fires["alert_rule_test"] if check["alertname"] == alert.name]
    assert outcomes == [False, True, False]
    for group in groups:
        checks = group.get("alert_rule_test", []) + group.get("promql_expr_test", [])
        assert checks, group["name"]
        assert {check.get("alertname", alert.name) for check in checks} == {alert.name}


def test_no_unit_test_is_about_nothing(unit_tests: list[dict[str, Any]]) -> None:
    """Each group of unit tests is about an alert that exists."""
    groups = [group["name"] for group in unit_tests]
    assert {name.partition(":")[0] for name in groups} == {alert.name for alert in ALERTS}
    assert len(groups) == len(set(groups))


# --- What promtool does not see ---


@each_rule
def test_expressions_read_what_exists(rule: Rule) -> None:
    """Each name is a metric of the catalogue or a recording, and each label that is matched is one of its labels."""
    for selector in selectors(rule.expression):
        assert selector.name is not None
        known = labels_of_series(selector.name)  # KeyError: there is no such metric
        for matcher in selector.matchers.matchers:
            assert matcher.name in known, f"{selector.name} has no label {matcher.name}"
            assert_value_exists(selector.name, matcher)
    labels_kept(rule.expression)  # asserts that what is matched and grouped by is there


def assert_value_exists(name: str, matcher: promql.Matcher) -> None:
    """A value that is matched is one of the label's values, if these are a closed set."""
    found = metric_of(name)
    allowed = found[0].values_of(matcher.name) if found else None
    if name == "ALERTS" and matcher.name == "alertname":
        allowed = tuple(alert.name for alert in ALERTS)
    if allowed is not None:
        assert set(matcher.value.split("|")) <= set(allowed), f"{name}: {matcher.name}={matcher.value}"


@each_rule
def test_every_selector_of_scraped_series_names_the_job(rule: Rule) -> None:
    """Scraped series are selected by job, always with the same text, so that it can be replaced."""
    for selector in selectors(rule.expression):
        scraped = selector.name not in RECORDS and selector.name != "ALERTS"
        jobs = [m for m in selector.matchers.matchers if m.name == "job"]
        assert [(m.op, m.value) for m in jobs] == ([(promql.MatchOp.Re, "cyberun|cyberun-exporter")] if scraped else [])
    assert rule.text.count("job=") == rule.text.count(JOB)


@each_rule
def test_functions_fit_the_kind_of_metric(rule: Rule) -> None:
    """Rates are only taken of counters, and counters are only used in rates; derivatives are of gauges."""
    counted = 0
    for call in (part for part in parts(rule.expression) if isinstance(part, promql.Call)):
        for name in names(call):
            assert not (call.func.name in OF_COUNTERS and not counts(name)), f"{call.func.name} of {name}"
            assert not (call.func.name in OF_GAUGES and counts(name)), f"{call.func.name} of {name}"
            counted += counts(name) and call.func.name in OF_COUNTERS
    assert counted == sum(map(counts, names(rule.expression)))


def counts(name: str) -> bool:
    """Whether it is a counter or part of a histogram; recordings and what Prometheus makes are gauges."""
    found = metric_of(name)
    return found is not None and found[0].kind in {Kind.COUNTER, Kind.HISTOGRAM}


@each_rule
def test_nothing_is_divided_by_zero(rule: Rule) -> None:
    """A divisor is a number above 0, or is filtered to be above 0."""
    for part in parts(rule.expression):
        if operator(part) == "/":
            assert isinstance(part, promql.BinaryExpr)
            divisor = part.rhs.expr if isinstance(part.rhs, promql.ParenExpr) else part.rhs
            clamped = isinstance(divisor, promql.Call) and divisor.func.name == "clamp_min"
            assert clamped or operator(divisor) in {">", ">="}, str(part)


@each_rule
def test_rules_keep_to_an_old_syntax(rule: Rule) -> None:
    """Rules only have keys that Prometheus 2.42 knows."""
    allowed = (
        {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"} if rule.is_alert else {"record", "expr"}
    )
    assert set(rule.document) <= allowed


@each_alert
def test_alerts_compare(alert: Rule) -> None:
    """Each alert has a comparison that restricts the elements of its result."""

    def restricted(part: promql.Expr) -> bool:
        if operator(part) in COMPARISONS:
            return True
        if operator(part) in SET_OPERATORS:
            assert isinstance(part, promql.BinaryExpr)
            return restricted(part.lhs)
        return isinstance(part, promql.ParenExpr) and restricted(part.expr)

    assert restricted(alert.expression)


@each_alert
def test_labels_and_texts_of_alerts(alert: Rule) -> None:
    """Names, severities, areas and annotations are complete; labels and summaries never change while an alert fires."""
    assert re.fullmatch(r"Cyberun[A-Z][A-Za-z]+", alert.name)
    assert set(alert.labels) == {"severity", "area"}
    assert alert.labels["severity"] in SEVERITIES
    assert alert.labels["area"] in {"trust", "work", "fleet"}
    assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in alert.annotations["summary"] + "".join(alert.labels.values())
    assert ("{{" in alert.annotations["description"]) == bool(labels_kept(alert.expression))
    assert all(text.endswith(".") for text in (alert.annotations["summary"], alert.annotations["description"]))
    assert re.fullmatch(r"[1-9]\d*[mh]", alert.document["for"])


@each_alert
def test_templates_use_labels_that_are_there(alert: Rule) -> None:
    """A text uses no label that the expression drops, and distinguishes all alerts that may fire at once."""
    used = {name for text in alert.annotations.values() for name in re.findall(r"\$labels\.(\w+)", text)}
    kept = labels_kept(alert.expression)
    assert used <= kept
    told = set(re.findall(r"\$labels\.(\w+)", alert.annotations["description"]))
    assert kept - told <= {"job", "instance", "status"}


@each_alert
def test_links_of_alerts(alert: Rule) -> None:
    """Links lead to the alert's own runbook, and to a dashboard that exists and has the variables they set."""
    assert (
        alert.annotations["runbook_url"]
        == f"https://github.com/cyberun-cloud/cyberun-exporter/blob/main/docs/runbooks/{alert.name}.md"
    )
    url = urlsplit(re.sub(r"\{\{ urlquery \$labels\.(\w+) \}\}", r"\1", alert.annotations["dashboard_url"]))
    assert (url.scheme, url.netloc) == ("http", "localhost:3000")
    uid = Path(url.path).name
    assert url.path == f"/d/{uid}"
    variables = {variable["name"] for variable in DASHBOARDS[uid]["templating"]["list"]}
    for name, [value] in parse_qs(url.query).items():
        assert name == f"var-{value}"
        assert value in variables


def test_numbers_to_change_are_marked() -> None:
    """A comment says what a threshold or minimum is, after its number; each alert and recording has one of a kind."""
    for rule in RULES:
        marks = re.findall(r"[<>]=? (\S+)  # (threshold|minimum): [a-z0-9 ]+$", rule.text, re.MULTILINE)
        assert len(marks) == rule.text.count("#"), rule.name
        assert len({mark for _, mark in marks}) == len(marks), rule.name
        assert all(float(number) >= 0 for number, _ in marks)


def test_recordings_are_named_and_used() -> None:
    """Recordings are called level:metric:operation, and an alert or a dashboard needs each of them."""
    dashboards = "".join(map(json.dumps, DASHBOARDS.values()))
    needed = {name for alert in ALERTS for name in names(alert.expression)}
    for name in reversed(RECORDS):
        assert re.fullmatch(r"(collector|team|agent|gpu):cyberun_[a-z_]+:[a-z0-9_]+", name)
        assert name in needed or name in dashboards, name
        needed |= set(names(RECORDS[name].expression)) - {name}


# --- Data that is withheld ---


@pytest.mark.parametrize("alert", HELD, ids=lambda alert: alert.name)
def test_alerts_are_held_while_data_is_withheld(alert: Rule) -> None:
    """An alert about fleet or work starts only on fresh data, and is held while its team's data is withheld."""
    either = alert.expression
    assert operator(either) == "or"
    assert isinstance(either, promql.BinaryExpr)
    fresh = ending(":fresh", either.lhs)
    assert fresh
    assert ending(":withheld", either) == {name.replace(":fresh", ":withheld") for name in fresh}
    assert ending(":withheld", either.rhs)
    holding = [selector for selector in selectors(either) if selector.name == "ALERTS"]
    assert [selector for selector in selectors(either.rhs) if selector.name == "ALERTS"]
    for firing in holding:
        assert {(m.name, m.value) for m in firing.matchers.matchers} == {
            ("alertname", alert.name),
            ("alertstate", "firing"),
        }
    assert set(names(either)) - {"ALERTS"} <= set(RECORDS), "an alert that reads scraped series cannot hold them"
    quantity = names(either.rhs)[0]
    assert quantity == names(either.lhs)[0]
    assert ending(":fresh", RECORDS[quantity].expression) <= fresh
    identity = {"job", "team_name", "agent_id", "gpu"} & labels_kept(either)
    assert inside(either.rhs, lambda part: operator(part) == "and" and matched_on(part) == identity)


async def test_alerts_of_one_list_do_without_the_other(unit_tests: list[dict[str, Any]], tmp_path: Path) -> None:
    """Alerts about one list fire and resolve as usual while the other was never read."""
    groups = []
    for alert in HELD:
        (needed, *more) = lists_needed(alert)
        if not more:
            (group,) = (each for each in unit_tests if each["name"] == f"{alert.name}: fires and resolves")
            groups.append({**group, "input_series": [each for each in group["input_series"] if is_of(needed, each)]})
            assert groups[-1]["input_series"] != group["input_series"]
    assert groups
    document = {"rule_files": list(map(str, FILES)), "evaluation_interval": "1m", "tests": groups}
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    await promtool("test", "rules", str(tmp_path / "rules_test.yml"))


def is_of(needed: str, series: Mapping[str, str]) -> bool:
    """Whether a series of a unit test exists if only the needed list does."""
    other = {"tasks": "agents", "agents": "tasks"}[needed]
    return not re.match(rf"cyberun_{other}\{{|cyberun_collector_.*collector=\"{other}\"", series["series"])


def ending(suffix: str, expression: promql.Expr) -> set[str]:
    """The series read whose names have this ending."""
    return {name for name in names(expression) if name.endswith(suffix)}


def matched_on(part: promql.Expr) -> set[str]:
    """The labels a binary expression matches on."""
    assert isinstance(part, promql.BinaryExpr)
    return set(part.modifier.matching.labels) if part.modifier and part.modifier.matching else set()


def test_quantities_hold_their_last_fresh_value() -> None:
    """A recording about fleet or work follows fresh data, and keeps its own value while data is withheld."""
    for name, rule in RECORDS.items():
        if rule.group == "cyberun-fleet" and not name.endswith((":fresh", ":withheld")):
            either = rule.expression
            assert operator(either) == "or"
            assert isinstance(either, promql.BinaryExpr)
            fresh = ending(":fresh", either.lhs)
            assert fresh, name
            assert set(names(either.rhs)) == {name} | {each.replace(":fresh", ":withheld") for each in fresh}


def test_what_must_agree_stands_in_one_group_in_order() -> None:
    """Rules of the fleet's group only read recordings that come before them, so all see the same moment."""
    seen: set[str] = set()
    for rule in (rule for rule in RULES if rule.group == "cyberun-fleet"):
        read = {name for name in names(rule.expression) if name in RECORDS} - {rule.name}
        assert {name for name in read if RECORDS[name].group == rule.group} <= seen, rule.name
        seen.add(rule.name)
    assert {alert.group for alert in HELD} == {"cyberun-fleet"}
