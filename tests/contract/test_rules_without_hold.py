"""The second variant of the rules, for rulers that cannot hold alerts while data is withheld."""

import re
from pathlib import Path

import pytest

from support.rules import (
    ALERTS,
    WITHOUT_HOLD,
    Rule,
    each_alert,
    each_held_alert,
    labels_kept,
    lists_needed,
    load,
    names,
    promtool_test,
    timelines_without_hold,
    unit_tests,
)
from tools import rules

WITHOUT = {rule.name: rule for rule in load(WITHOUT_HOLD)}
MARK = r"[<>]=? \S+  # (?:threshold|minimum): .+$"


def test_both_flavours_have_the_same_alerts() -> None:
    """They differ only in their expressions, and the second has no recordings."""
    assert list(WITHOUT) == [alert.name for alert in ALERTS]
    for alert in ALERTS:
        assert {**WITHOUT[alert.name].document, "expr": ""} == {**alert.document, "expr": ""}


@each_alert
def test_no_alert_needs_what_the_ruler_makes(alert: Rule) -> None:
    """Expressions only read scraped series: neither recordings nor `ALERTS`."""
    text = WITHOUT[alert.name].text
    assert not re.search(r"ALERTS|[a-z]+:cyberun", text)
    assert labels_kept(WITHOUT[alert.name].expression) == labels_kept(alert.expression)


@each_alert
def test_numbers_to_change_are_the_same(alert: Rule) -> None:
    """Thresholds and minimums are there once each, with their comments, so they can be changed in the same way."""
    assert re.findall(MARK, WITHOUT[alert.name].text, re.MULTILINE) == re.findall(MARK, alert.text, re.MULTILINE)


@each_held_alert
def test_alerts_start_on_fresh_data_alone(alert: Rule) -> None:
    """The expression of an alert requires the lists that it uses to be fresh."""
    text = WITHOUT[alert.name].text
    for name in lists_needed(alert):
        assert f'cyberun_collector_interval_seconds{{job=~"cyberun|cyberun-exporter", collector="{name}"}}' in text
        assert f"cyberun_{name}" in names(WITHOUT[alert.name].expression)
    assert text.count("<= 3") == len(lists_needed(alert))


@each_alert
async def test_timelines(alert: Rule, tmp_path: Path) -> None:
    """On the timelines of the first variant's unit tests, alerts fire, resolve and stay quiet in the same way."""
    await promtool_test(timelines_without_hold(alert, tmp_path), tmp_path)


@each_held_alert
async def test_alerts_end_when_data_is_withheld(alert: Rule, tmp_path: Path) -> None:
    """Where the first variant holds alerts, the second ends them: after a gap nothing about work and fleet fires."""
    (gap,) = (
        {**group, "promql_expr_test": [{**group["promql_expr_test"][-1], "exp_samples": []}]}
        for group in unit_tests()
        if group["name"] == f"{alert.name}: withheld data neither fires nor resolves it"
    )
    document = {**timelines_without_hold(alert, tmp_path), "tests": [gap]}
    await promtool_test(document, tmp_path)


RECORDINGS = {
    "team:cyberun_a:fresh": 'a{job=~"x"} and on (job)\n  (collector:cyberun_b:ago{c="d"} <= 3)',
    "collector:cyberun_b:ago": 'time() - b{job=~"x"}',
    "team:cyberun_c:max": (
        'max(cyberun_c{job=~"x"})\nand on (job, team_name) team:cyberun_a:fresh\nor\n'
        "team:cyberun_c:max\nand on (job, team_name) team:cyberun_a:withheld"
    ),
}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("team:cyberun_c:max > 3 # threshold: or", 'max(cyberun_c{job=~"x"}) > 3 # threshold: or'),
        ("deriv(team:cyberun_c:max[30m])", 'deriv(( max(cyberun_c{job=~"x"}) )[30m:1m])'),
        (
            "(team:cyberun_c:max > 0 or ALERTS{} and team:cyberun_a:withheld) == 1 or ALERTS{}",
            '(max(cyberun_c{job=~"x"}) > 0) == 1',
        ),
        ('x{a=") or y"} or z', 'x{a=") or y"} or z'),
        (
            "x and on (job, team_name) team:cyberun_a:fresh",
            'x and on (job, team_name) ( a{job=~"x"} and on (job) (( time() - b{job=~"x", c="d"} ) <= 3) )',
        ),
    ],
)
def test_how_an_expression_loses_its_hold(expression: str, wanted: str) -> None:
    """Operands that hold are removed at any depth, recordings are inlined with matchers and ranges, comments stay."""
    assert " ".join(rules.without_hold(expression, RECORDINGS).split()) == wanted
