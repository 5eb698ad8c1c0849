"""The committed alert and recording rules, and what their expressions read and return."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml

from exporter.catalog import CATALOG, Kind, Metric
from support.programs import content

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "prometheus"
FILES: Final = tuple(sorted((FOLDER / "rules").glob("*.yml")))
WITHOUT_HOLD: Final = tuple(sorted((FOLDER / "rules-without-hold").glob("*.yml")))
UNIT_TESTS: Final = tuple(sorted((FOLDER / "tests").glob("*_test.yml")))

COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})
TARGET_LABELS: Final = frozenset({"job", "instance"})
ALERTS_LABELS: Final = frozenset({"alertname", "alertstate", "job", "team_name", "agent_id", "gpu"})
"""What may be asked of the series that Prometheus makes of alerts; each has those of its alert."""
_SUFFIXES: Final = {"_bucket": frozenset({"le"}), "_sum": frozenset[str](), "_count": frozenset[str]()}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` is the alert's or the recorded metric's."""

    name: str
    group: str
    document: Mapping[str, Any]

    @property
    def is_alert(self) -> bool:
        """Whether it is an alert rather than a recording."""
        return "alert" in self.document

    @property
    def text(self) -> str:
        """The expression as written, comments included."""
        return str(self.document["expr"])

    @property
    def expression(self) -> promql.Expr:
        """The expression, parsed."""
        return _parsed(self.text)

    @property
    def labels(self) -> Mapping[str, str]:
        """What the rule adds."""
        labels: Mapping[str, str] = self.document.get("labels", {})
        return labels

    @property
    def annotations(self) -> Mapping[str, str]:
        """Empty for recordings."""
        annotations: Mapping[str, str] = self.document.get("annotations", {})
        return annotations


@cache
def _parsed(text: str) -> promql.Expr:
    return promql.parse(text)


def load(files: Iterable[Path] = FILES) -> tuple[Rule, ...]:
    """All rules in the order of their files and groups."""
    return tuple(
        Rule(rule.get("alert") or rule["record"], group["name"], rule)
        for path in files
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    )


RULES: Final = load()
ALERTS: Final = tuple(rule for rule in RULES if rule.is_alert)
RECORDS: Final = {rule.name: rule for rule in RULES if not rule.is_alert}
HELD: Final = tuple(alert for alert in ALERTS if alert.labels["area"] != "trust")
"""The alerts that are held while their data is withheld."""

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
each_held_alert = pytest.mark.parametrize("alert", HELD, ids=lambda alert: alert.name)


async def promtool_test(document: Mapping[str, Any], folder: Path) -> None:
    """Runs unit tests, which must pass; their document is put into the folder."""
    path = folder / "rules_test.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert "SUCCESS" in await content("promtool", "test", "rules", str(path))


def parts(expression: promql.Expr) -> Iterator[promql.Expr]:
    """The expression and everything inside of it, outermost first."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (inner := getattr(expression, name, None)) is not None:
            yield from parts(inner)
    for argument in getattr(expression, "args", ()):
        yield from parts(argument)


def selectors(expression: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Every place where series are read."""
    return (part for part in parts(expression) if isinstance(part, promql.VectorSelector))


def names(expression: promql.Expr) -> list[str]:
    """The names of the series that are read, in the order they stand there."""
    return [selector.name for selector in selectors(expression) if selector.name is not None]


def operator(part: promql.Expr) -> str | None:
    """The operator of a binary expression; None for everything else."""
    return str(part.op) if isinstance(part, promql.BinaryExpr) else None


def metric_of(name: str) -> tuple[Metric, frozenset[str]] | None:
    """The catalogue's metric with a sample of this name, and the labels the sample has besides its own."""
    for metric in CATALOG:
        if metric.kind is not Kind.HISTOGRAM and metric.name == name:
            return metric, frozenset()
        for suffix, more in _SUFFIXES.items():
            if metric.kind is Kind.HISTOGRAM and metric.name + suffix == name:
                return metric, more
    return None


@cache
def labels_of_series(name: str) -> frozenset[str]:
    """Every label that series of this name have.

    Raises:
        KeyError: there is no such metric.
    """
    if name == "up":
        return TARGET_LABELS
    if name == "ALERTS":
        return ALERTS_LABELS
    if name in RECORDS:
        return labels_kept(RECORDS[name].expression, itself=name)
    found = metric_of(name)
    if found is None:
        raise KeyError(name)
    metric, more = found
    return TARGET_LABELS.union(metric.label_names, more)


def labels_kept(expression: promql.Expr, *, itself: str | None = None) -> frozenset[str]:
    """The labels that every element of the result has.

    Args:
        expression: one that gives a vector or a scalar; a scalar has no labels.
        itself: the name of the recording the expression is of; where it reads itself it adds nothing.
    """
    kept = _kept(expression, itself)
    return frozenset() if kept is None else kept


_Labels = frozenset[str] | None
"""None: a scalar, or a recording that reads itself: nothing to restrict the other side by."""


def _kept(part: promql.Expr, itself: str | None) -> _Labels:
    kept: _Labels = None
    match part:
        case promql.VectorSelector():
            kept = None if part.name == itself else labels_of_series(part.name)
        case promql.AggregateExpr():
            kept = _aggregated(part, _kept(part.expr, itself) or frozenset())
        case promql.BinaryExpr():
            kept = _combined(part, _kept(part.lhs, itself), _kept(part.rhs, itself))
        case promql.MatrixSelector():
            kept = _kept(part.vector_selector, itself)
        case promql.ParenExpr() | promql.UnaryExpr():
            kept = _kept(part.expr, itself)
        case promql.Call() if part.func.name == "absent":
            kept = frozenset()
        case promql.Call():
            vectors = (_kept(argument, itself) for argument in part.args)
            kept = next((vector for vector in vectors if vector is not None), None)
    return kept


def _aggregated(part: promql.AggregateExpr, inner: frozenset[str]) -> frozenset[str]:
    if part.modifier is None:
        return frozenset()
    named = frozenset(part.modifier.labels)
    if part.modifier.type == promql.AggModifierType.Without:
        return inner - named
    assert named <= inner, f"{part} asks for {sorted(named - inner)}, which its argument does not have"
    return named


def _combined(part: promql.BinaryExpr, left: _Labels, right: _Labels) -> _Labels:
    matching = part.modifier.matching if part.modifier else None
    on = frozenset(matching.labels) if matching and matching.type == promql.LabelModifierType.Include else None
    for side in (left, right):
        assert on is None or side is None or on <= side, f"{part} matches on {sorted((on or set()) - (side or set()))}"
    if str(part.op) in {"and", "unless"}:
        return left
    if left is None or right is None:
        return right if left is None else left
    if str(part.op) == "or":
        return left & right
    return left if on is None else on


def lists_needed(alert: Rule) -> list[str]:
    """The lists, `tasks` or `agents`, whose data an alert about fleet or work uses."""
    read = names(alert.expression)
    return [name for name in ("tasks", "agents") if f"team:cyberun_{name}:fresh" in read]


def timelines_without_hold(alert: Rule, folder: Path) -> dict[str, Any]:
    """The unit tests of an alert as they hold for it without hold, as a document for promtool.

    Those about trust are the same: nothing there is held. What fires and what stays quiet is the same for work and
    fleet, and of the timelines with gaps, that nothing fires any more at their ends.

    Args:
        alert: by its name; which of the two flavours it is of does not matter.
        folder: where a file with this rule alone is put, so that no other one is evaluated.
    """
    (rule,) = (each for each in load(WITHOUT_HOLD) if each.name == alert.name)
    path = folder / f"{alert.name}.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": rule.group, "rules": [rule.document]}]}), encoding="utf-8")
    same = {f"{alert.name}: fires and resolves", f"{alert.name}: is quiet below its threshold"}
    tests = [group for group in unit_tests() if group["name"].startswith(f"{alert.name}: ")]
    for group in tests:
        if group["name"] not in same and alert.labels["area"] != "trust":
            group.pop("promql_expr_test", None)
    checked = [group for group in tests if group.keys() & {"alert_rule_test", "promql_expr_test"}]
    return {"rule_files": [str(path)], "evaluation_interval": "1m", "tests": checked}


def unit_tests() -> list[dict[str, Any]]:
    """The groups of all unit tests."""
    return [group for path in UNIT_TESTS for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]


def inside(expression: promql.Expr, wanted: Callable[[promql.Expr], bool]) -> bool:
    """Whether any part is wanted."""
    return any(wanted(part) for part in parts(expression))
