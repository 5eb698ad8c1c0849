"""How alerts and recordings behave while data is withheld."""

import re
from collections.abc import Mapping
from pathlib import Path

import promql_parser as promql

from support.rules import (
    FILES,
    HELD,
    RECORDS,
    RULES,
    Rule,
    each_held_alert,
    inside,
    labels_kept,
    lists_needed,
    names,
    operator,
    promtool_test,
    selectors,
    unit_tests,
)


@each_held_alert
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


async def test_alerts_of_one_list_do_without_the_other(tmp_path: Path) -> None:
    """Alerts about one list fire and resolve as usual while the other was never read."""
    groups = []
    for alert in HELD:
        (needed, *more) = lists_needed(alert)
        if not more:
            (group,) = (each for each in unit_tests() if each["name"] == f"{alert.name}: fires and resolves")
            groups.append({**group, "input_series": [each for each in group["input_series"] if is_of(needed, each)]})
            assert groups[-1]["input_series"] != group["input_series"]
    assert groups
    document = {"rule_files": list(map(str, FILES)), "evaluation_interval": "1m", "tests": groups}
    await promtool_test(document, tmp_path)


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
