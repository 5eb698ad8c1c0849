"""Every query of the committed dashboards, and tests made from rules about dashboards."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from grafana import reading
from support import promql

SPAN: Final = 40.0
"""Seconds that a dashboard shows."""
VALUES: Final = reading.EVERYTHING | reading.intervals(step=1, scrape=1, span=SPAN)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a dashboard."""

    name: str
    path: str
    parameters: dict[str, str]
    """Besides the time."""
    source: str = ""
    """The expression with its variables."""

    @property
    def uid(self) -> str:
        """Of its dashboard."""
        return self.name.partition(":")[0]

    def chosen(self, **values: str) -> str:
        """The expression with these values of the variables instead of all."""
        return reading.filled(self.source, VALUES | values)

    def at(self, now: float) -> dict[str, str]:
        """All parameters, where `now` is the end of what the dashboard shows, in seconds."""
        when = {"query": {"time": f"{now}"}, "query_range": {"start": f"{now - SPAN}", "end": f"{now}", "step": "1"}}
        return self.parameters | when.get(self.path, {})


def every_query() -> list[Query]:
    """Of panels, annotations and variables."""
    return [query for uid, board in reading.load().items() for query in _of_dashboard(uid, board)]


def _of_dashboard(uid: str, board: dict[str, Any]) -> Iterator[Query]:
    for panel in reading.panels(board):
        for target in panel["targets"]:
            name, path = f"{uid}: {panel['title']} {target['refId']}", "query" if target["instant"] else "query_range"
            yield _query(name, path, target["expr"])
    for annotation in board["annotations"]["list"]:
        yield _query(f"{uid}: annotation {annotation['name']}", "query_range", annotation["target"]["expr"])
    for variable in board["templating"]["list"][1:]:
        selector, label = promql.label_values(variable)
        parameters = {"match[]": reading.filled(selector, VALUES)}
        yield Query(f"{uid}: variable {variable['name']}", f"label/{label}/values", parameters)


def _query(name: str, path: str, source: str) -> Query:
    return Query(name, path, {"query": reading.filled(source, VALUES)}, source)


Board = dict[str, Any]
Rule = Callable[[Board], Iterator[str]]
"""Yields what is wrong with a dashboard."""


def rule_tests(
    rules: Mapping[Rule, Callable[[Board], None]], spoiled: str
) -> tuple[Callable[[Rule, str], None], Callable[[Rule], None]]:
    """Two tests: every dashboard follows each rule, and each rule notices a mistake.

    Args:
        rules: each with what makes its mistake in a dashboard.
        spoiled: the uid of the dashboard in which the mistakes are made.
    """
    boards = reading.load()
    by_rule = pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.__name__)

    @pytest.mark.parametrize("uid", boards)
    @by_rule
    def keep(rule: Rule, uid: str) -> None:
        """No dashboard breaks a rule."""
        assert list(rule(boards[uid])) == []

    @by_rule
    def notice(rule: Rule) -> None:
        """Each rule notices the mistake that it is about."""
        board = copy.deepcopy(boards[spoiled])
        rules[rule](board)
        assert list(rule(board))

    return keep, notice
