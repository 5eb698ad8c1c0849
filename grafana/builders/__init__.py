"""Builds the dashboards. `dashboards()` is all that others need.

A module named like a dashboard holds it and reads from top to bottom as the dashboard does. Metrics come from the
catalogue, so a name that does not exist fails in mypy; panels come from `panel` and `grid`, the frame from `frame`.
"""

import json
from collections.abc import Mapping

from grafana.builders import agents, exporter, overview, tasks
from grafana.builders.frame import Board, assemble


def boards() -> tuple[Board, ...]:
    """All dashboards, from general to specific."""
    return overview.board(), agents.board(), tasks.board(), exporter.board()


def dashboards() -> Mapping[str, str]:
    """The JSON of each dashboard by its file name, which is its uid and so differs from other projects' files."""
    return {f"{board.uid}.json": json.dumps(assemble(board), indent=2) + "\n" for board in boards()}
