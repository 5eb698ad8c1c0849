"""Reads dashboards as they are committed."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "dashboards"
EVERYTHING: Final = {"job": ".+", "instance": ".+", "team_name": ".+", "agent_id": ".+", "workflow_id": ".+"}
"""What the variables hold when all is chosen."""

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def load() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid."""
    documents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json")))
    return {document["uid"]: document for document in documents}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels that show something: all but the headings."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def intervals(*, step: float, scrape: float, span: float) -> dict[str, str]:
    """The variables that Grafana fills in by itself, in seconds.

    Args:
        step: between two points of a query over time.
        scrape: the data source's scrape interval.
        span: of the time shown.
    """
    rate = f"{max(step + scrape, 4 * scrape):.0f}s"
    return {"__interval": f"{step:.0f}s", "__rate_interval": rate, "__range": f"{span:.0f}s"}


def filled(expression: str, values: Mapping[str, str]) -> str:
    """An expression with values in the place of its variables; KeyError for one that has none."""
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], expression)
