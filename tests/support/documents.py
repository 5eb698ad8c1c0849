"""Code blocks of the documents."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

DOCS: Final = Path(__file__).parents[2] / "docs"


def blocks(path: Path, language: str) -> Iterator[str]:
    """The code blocks of a language, in the order of the page."""
    yield from re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def autoscalers() -> Mapping[str, Any]:
    """The documents of the autoscaling page by their kind; `adapter` and `exporter` are configurations without one."""
    documents = [yaml.safe_load(block) for block in blocks(DOCS / "autoscaling.md", "yaml")]
    return {each.get("kind") or ("adapter" if "externalRules" in each else "exporter"): each for each in documents}


def autoscaling_queries() -> dict[str, tuple[str, float]]:
    """The queries of KEDA and the adapter for the team `render`, by place, with the value per agent."""
    documents = autoscalers()
    queries = {}
    for number, trigger in enumerate(documents["ScaledObject"]["spec"]["triggers"]):
        queries[f"KEDA {number}"] = (trigger["metadata"]["query"], float(trigger["metadata"]["threshold"]))
    targets = {
        metric["external"]["metric"]["name"]: float(metric["external"]["target"]["averageValue"])
        for metric in documents["HorizontalPodAutoscaler"]["spec"]["metrics"]
    }
    for number, rule in enumerate(documents["adapter"]["externalRules"]):
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'team_name="render"')
        queries[f"HPA {number}"] = (query, targets[rule["name"]["as"]])
    return queries
