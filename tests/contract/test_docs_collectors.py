"""The page about collectors is consistent with the exporter, the rules and Prometheus."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalog import CATALOG, Kind
from support.documents import DOCS, blocks
from support.programs import content
from support.rules import RULES

PAGE = DOCS / "collectors.md"
DOCUMENTS: dict[str, Any] = {
    name: next(yaml.safe_load(block) for block in blocks(PAGE, "yaml") if key in block)
    for name, key in (("vmagent", "scrape_configs:\n  - job_name"), ("otel", "receivers:"), ("datadog", "instances:"))
}
SCRAPED = {
    "vmagent": DOCUMENTS["vmagent"],
    "otel": DOCUMENTS["otel"]["receivers"]["prometheus"]["config"],
}


@pytest.mark.parametrize("name", SCRAPED)
async def test_scrape_configurations_are_accepted(name: str, tmp_path: Path) -> None:
    """`promtool` accepts the parts that have Prometheus' own format."""
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(SCRAPED[name]), encoding="utf-8")
    await content("promtool", "check", "config", str(path))


def test_every_collector_gives_the_job_that_the_rules_read() -> None:
    """The rules' pattern matches the job of each configuration, and each collects from the exporter's own port."""
    (alloy,) = blocks(PAGE, "alloy")
    jobs = re.findall(r'job_name += "(.+)"', alloy)
    jobs += [scrape["job_name"] for config in SCRAPED.values() for scrape in config["scrape_configs"]]
    assert len(jobs) == 3
    (pattern,) = {found for rule in RULES for found in re.findall(r'job=~"([^"]+)"', rule.text)}
    assert all(re.fullmatch(pattern, job) for job in jobs)
    assert '"localhost:10042"' in alloy
    for config in SCRAPED.values():
        assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["localhost:10042"]}]


def test_pipelines_use_what_is_configured() -> None:
    """The Collector's pipeline names the receiver and exporter above it."""
    document = DOCUMENTS["otel"]
    (pipeline,) = document["service"]["pipelines"].values()
    assert pipeline == {"receivers": [*document["receivers"]], "exporters": [*document["exporters"]]}


def test_datadog_takes_every_metric_and_no_tag_of_its_own() -> None:
    """The pattern takes every metric of the catalogue; the labels that Datadog reserves are renamed."""
    (instance,) = DOCUMENTS["datadog"]["instances"]
    (pattern,) = instance["metrics"]
    assert all(re.fullmatch(pattern, metric.name) for metric in CATALOG if metric.name.startswith("cyberun_"))
    labels = {label for metric in CATALOG for label in metric.label_names}
    assert labels & {"version", "host", "env", "service"} == set(instance["rename_labels"])


def test_what_the_page_says_about_all_metrics_is_true() -> None:
    """No metric has the labels of a target, so `honor_labels` makes no difference; and there are histograms."""
    assert not any({"job", "instance"} & set(metric.label_names) for metric in CATALOG)
    assert any(metric.kind is Kind.HISTOGRAM for metric in CATALOG)
