"""Rules load and are tested, and the labels, texts and links of alerts are complete."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from exporter.catalog import CATALOG, Kind, Scope
from grafana import reading
from support.programs import content
from support.rules import (
    ALERTS,
    FILES,
    FOLDER,
    UNIT_TESTS,
    Rule,
    each_alert,
    each_rule,
    labels_kept,
    unit_tests,
)

SEVERITIES = {"critical", "warning", "info"}
DASHBOARDS = reading.load()
SCENARIOS = ("fires and resolves", "is quiet below its threshold", "missing data|withheld data", "a restart")


async def promtool(*arguments: str) -> None:
    """Runs promtool in the folder of the rules; it must succeed."""
    await content("promtool", *arguments, directory=FOLDER)


# --- What promtool knows ---


async def test_rules_load() -> None:
    """Prometheus 2.42 accepts every rule file."""
    await promtool("check", "rules", *map(str, FILES))


async def test_unit_tests_pass() -> None:
    """The unit tests of every alert hold."""
    await asyncio.gather(*(promtool("test", "rules", str(path)) for path in UNIT_TESTS))


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-probe.yml"])
async def test_example_configurations_are_accepted(name: str) -> None:
    """Prometheus accepts both example configurations, with the rules they load."""
    await promtool("check", "config", name)


def test_probe_scrapes_keep_what_no_probe_has() -> None:
    """Beside probes, the exporter's own scrape keeps every metric that is about no team; the chart's does the same."""
    example = yaml.safe_load((FOLDER / "prometheus-probe.yml").read_text(encoding="utf-8"))
    kept = example["scrape_configs"][1]["metric_relabel_configs"][0]["regex"].strip()
    chart = FOLDER.parent / "helm" / "cyberun-exporter" / "templates" / "_monitoring.tpl"
    assert kept in chart.read_text(encoding="utf-8").splitlines()
    own = [metric for metric in CATALOG if metric.scope is Scope.EXPORTER and "team_name" not in metric.label_names]
    samples = [f"{each.name}_bucket" if each.kind is Kind.HISTOGRAM else each.name for each in own]
    assert [name for name in samples if not re.fullmatch(kept, name)] == []


@pytest.fixture(scope="module", name="unit_tests")
def all_unit_tests() -> list[dict[str, Any]]:
    """The groups of all unit tests."""
    return unit_tests()


@each_alert
def test_every_alert_has_its_unit_tests(alert: Rule, unit_tests: list[dict[str, Any]]) -> None:
    """Each alert is tested to fire with all its labels and texts, to resolve, to be quiet, and through gaps."""
    groups = [group for group in unit_tests if group["name"].startswith(f"{alert.name}: ")]
    for scenario in SCENARIOS:
        assert any(re.search(scenario, group["name"]) for group in groups), f"no test: {scenario}"
    (fires,) = [group for group in groups if group["name"].endswith("fires and resolves")]
    outcomes = [bool(check["exp_alerts"]) for check in fires["alert_rule_test"] if check["alertname"] == alert.name]
    assert outcomes == [False, True, False]
    for group in groups:
        checks = group.get("alert_rule_test", []) + group.get("promql_expr_test", [])
        assert checks, group["name"]
        assert {check.get("alertname", alert.name) for check in checks} == {alert.name}


def test_no_unit_test_is_about_nothing(unit_tests: list[dict[str, Any]]) -> None:
    """Each group of unit tests is about an alert that exists."""
    groups = [group["name"] for group in unit_tests]
    assert {name.partition(":")[0] for name in groups} == {alert.name for alert in ALERTS}
    assert len(groups) == len(set(groups))


# --- What promtool does not see; for expressions there is a module of its own ---


@each_rule
def test_rules_keep_to_an_old_syntax(rule: Rule) -> None:
    """Rules only have keys that Prometheus 2.42 knows."""
    allowed = (
        {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"} if rule.is_alert else {"record", "expr"}
    )
    assert set(rule.document) <= allowed


@each_alert
def test_labels_and_texts_of_alerts(alert: Rule) -> None:
    """Names, severities, areas and annotations are complete; labels and summaries never change while an alert fires."""
    assert re.fullmatch(r"Cyberun[A-Z][A-Za-z]+", alert.name)
    assert set(alert.labels) == {"severity", "area"}
    assert alert.labels["severity"] in SEVERITIES
    assert alert.labels["area"] in {"trust", "work", "fleet"}
    assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in alert.annotations["summary"] + "".join(alert.labels.values())
    assert ("{{" in alert.annotations["description"]) == bool(labels_kept(alert.expression))
    assert all(text.endswith(".") for text in (alert.annotations["summary"], alert.annotations["description"]))
    assert re.fullmatch(r"[1-9]\d*[mh]", alert.document["for"])


@each_alert
def test_templates_use_labels_that_are_there(alert: Rule) -> None:
    """A text uses no label that the expression drops, and distinguishes all alerts that may fire at once."""
    used = {name for text in alert.annotations.values() for name in re.findall(r"\$labels\.(\w+)", text)}
    kept = labels_kept(alert.expression)
    assert used <= kept
    told = set(re.findall(r"\$labels\.(\w+)", alert.annotations["description"]))
    assert kept - told <= {"job", "instance", "status"}


@each_alert
def test_links_of_alerts(alert: Rule) -> None:
    """Links lead to the alert's own runbook, and to a dashboard that exists and has the variables they set."""
    assert (
        alert.annotations["runbook_url"]
        == f"https://github.com/cyberun-cloud/cyberun-exporter/blob/main/docs/runbooks/{alert.name}.md"
    )
    url = urlsplit(re.sub(r"\{\{ urlquery \$labels\.(\w+) \}\}", r"\1", alert.annotations["dashboard_url"]))
    assert (url.scheme, url.netloc) == ("http", "localhost:3000")
    uid = Path(url.path).name
    assert url.path == f"/d/{uid}"
    variables = {variable["name"] for variable in DASHBOARDS[uid]["templating"]["list"]}
    for name, [value] in parse_qs(url.query).items():
        assert name == f"var-{value}"
        assert value in variables
