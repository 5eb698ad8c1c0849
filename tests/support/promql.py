"""Every PromQL expression of dashboards and rules, and its parts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from exporter.catalog import CATALOG, Kind, Metric
from grafana import reading

RULES: Final = Path(__file__).parents[2] / "prometheus" / "rules"
CHOSEN: Final = {name: f"the chosen {name}" for name in reading.EVERYTHING}
INTERVALS: Final = {"__interval": "1m", "__rate_interval": "5m", "__range": "3h"}
"""Values of Grafana's variables that can be told from each other and from all else."""

_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")
_SUFFIXES: Final = ("_bucket", "_count", "_sum")
METRICS: Final = {metric.name: metric for metric in CATALOG}


@dataclass(frozen=True, slots=True)
class Expression:
    """PromQL and where it stands.

    Attributes:
        source: as it stands there, with variables.
    """

    where: str
    source: str

    def __str__(self) -> str:
        return self.where

    @property
    def text(self) -> str:
        """The expression with values instead of variables."""
        return reading.filled(self.source, CHOSEN | INTERVALS)

    def selectors(self) -> "list[Selector]":
        """Every selector in it; ValueError if it does not parse."""
        return list(_selectors(promql_parser.parse(self.text), None))

    def grouping(self) -> set[str]:
        """Every label it groups or joins by; ValueError if it does not parse."""
        return set(_grouping(promql_parser.parse(self.text)))


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector of an expression.

    Attributes:
        function: the function that is directly applied to it.
        range: in seconds; None for an instant selector.
    """

    name: str
    matchers: dict[str, str]
    function: str | None
    range: float | None

    @property
    def metric(self) -> Metric | None:
        """The metric of the catalogue that it selects, if it is one of ours."""
        return metric_of(self.name)

    @property
    def of_rules(self) -> bool:
        """Whether Prometheus makes it by evaluating rules: no target exposes it, and it has no instance."""
        return self.name.startswith("ALERTS") or ":" in self.name


def metric_of(name: str) -> Metric | None:
    """The metric a sample's name belongs to; only a histogram has parts."""
    if name in METRICS:
        return METRICS[name]
    for suffix in _SUFFIXES:
        metric = METRICS.get(name.removesuffix(suffix))
        if name.endswith(suffix) and metric is not None and metric.kind is Kind.HISTOGRAM:
            return metric
    return None


def _selectors(node: Any, function: str | None) -> Iterator[Selector]:
    match node:
        case promql_parser.VectorSelector():
            yield _selector(node, function, None)
        case promql_parser.MatrixSelector():
            yield _selector(node.vector_selector, function, node.range.total_seconds())
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument, node.func.name)
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs, None)
            yield from _selectors(node.rhs, None)
        case promql_parser.ParenExpr():
            yield from _selectors(node.expr, function)
        case promql_parser.AggregateExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _selectors(node.expr, None)


def _grouping(node: Any) -> Iterator[str]:
    match node:
        case promql_parser.AggregateExpr():
            yield from node.modifier.labels if node.modifier else ()
            yield from _grouping(node.expr)
        case promql_parser.BinaryExpr():
            matching = node.modifier.matching if node.modifier else None
            yield from matching.labels if matching else ()
            yield from _grouping(node.lhs)
            yield from _grouping(node.rhs)
        case promql_parser.Call():
            for argument in node.args:
                yield from _grouping(argument)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _grouping(node.expr)


def _selector(node: Any, function: str | None, seconds: float | None) -> Selector:
    matchers = {each.name: f"{_OPERATORS[str(each.op)]}{each.value}" for each in node.matchers.matchers}
    return Selector(node.name, matchers, function, seconds)


_OPERATORS: Final = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def dashboard_expressions() -> list[Expression]:
    """Of every panel, annotation and variable."""
    return [expression for uid, board in reading.load().items() for expression in _of_dashboard(uid, board)]


def _of_dashboard(uid: str, board: dict[str, Any]) -> Iterator[Expression]:
    for panel in reading.panels(board):
        for target in panel["targets"]:
            yield Expression(f"{uid}: {panel['title']} {target['refId']}", target["expr"])
    for annotation in board["annotations"]["list"]:
        yield Expression(f"{uid}: annotation {annotation['name']}", annotation["target"]["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Expression(f"{uid}: variable {variable['name']}", label_values(variable)[0])


def label_values(variable: dict[str, Any]) -> tuple[str, str]:
    """The selector and the label of a variable's query."""
    match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert match, variable["query"]
    return match[1], match[2]


def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    documents = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml")))
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def rule_expressions() -> list[Expression]:
    """Of every recording and alert rule."""
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
