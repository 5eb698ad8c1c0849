"""What promtool does not see in the expressions of rules."""

import json
import re

import promql_parser as promql

from exporter.catalog import Kind
from grafana import reading
from support.rules import (
    ALERTS,
    COMPARISONS,
    RECORDS,
    RULES,
    SET_OPERATORS,
    Rule,
    each_alert,
    each_rule,
    labels_kept,
    labels_of_series,
    metric_of,
    names,
    operator,
    parts,
    selectors,
)

JOB = 'job=~"cyberun|cyberun-exporter"'


OF_COUNTERS = {"rate", "irate", "increase", "resets"}


OF_GAUGES = {"deriv", "delta", "idelta", "predict_linear", "changes"}


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


def test_numbers_to_change_are_marked() -> None:
    """A comment says what a threshold or minimum is, after its number; each alert and recording has one of a kind."""
    for rule in RULES:
        marks = re.findall(r"[<>]=? (\S+)  # (threshold|minimum): [a-z0-9 ]+$", rule.text, re.MULTILINE)
        assert len(marks) == rule.text.count("#"), rule.name
        assert len({mark for _, mark in marks}) == len(marks), rule.name
        assert all(float(number) >= 0 for number, _ in marks)


def test_recordings_are_named_and_used() -> None:
    """Recordings are called level:metric:operation, and an alert or a dashboard needs each of them."""
    dashboards = "".join(map(json.dumps, reading.load().values()))
    needed = {name for alert in ALERTS for name in names(alert.expression)}
    for name in reversed(RECORDS):
        assert re.fullmatch(r"(collector|team|agent|gpu):cyberun_[a-z_]+:[a-z0-9_]+", name)
        assert name in needed or name in dashboards, name
        needed |= set(names(RECORDS[name].expression)) - {name}
