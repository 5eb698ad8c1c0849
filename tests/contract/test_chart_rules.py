"""What the chart makes of the repository's rules and dashboards, and what it tells."""

import re
from typing import Any

import pytest

from support.chart import CHART, ROOT, Release, case, render, rendered, strict_load


@pytest.mark.parametrize(
    ("folder", "source", "pattern"),
    [("rules", "prometheus/rules", "*.yml"), ("dashboards", "grafana/dashboards", "*.json")],
)
def test_copies_are_the_sources(folder: str, source: str, pattern: str) -> None:
    """The chart's rules and dashboards are those of the repository, byte for byte, and no others."""
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / folder).iterdir()}
    sources = {path.name: path.read_bytes() for path in (ROOT / source).glob(pattern)}
    assert copies == sources
    assert copies


def test_each_dashboard_has_its_own_config_map() -> None:
    """Each ConfigMap holds one dashboard, byte for byte, below Kubernetes' limit; file names start with `cyberun-`."""
    release = rendered("dashboards")
    maps = [each for each in release.all("ConfigMap") if each is not release.config_map]
    boards = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
    assert {name: text for each in maps for name, text in each["data"].items()} == boards
    assert {len(each["data"]) for each in maps} == {1}
    assert all(name.startswith("cyberun-") and len(text.encode()) < 2**20 for name, text in boards.items())
    for each in maps:
        assert each["metadata"]["namespace"] == "grafana"
        assert each["metadata"]["labels"]["grafana_board"] == "yes"
        assert each["metadata"]["annotations"]["k8s-sidecar-target-directory"] == "GPU farm"
    references = [each["spec"]["configMapRef"] for each in release.all("GrafanaDashboard")]
    assert references == [{"name": each["metadata"]["name"], "key": next(iter(each["data"]))} for each in maps]


def _rules(release: Release) -> dict[str, dict[str, Any]]:
    return {
        rule.get("alert") or rule["record"]: rule
        for group in release.one("PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
    }


def test_the_rules_are_those_of_the_repository() -> None:
    """With the values' defaults the rules differ from the files in their links alone."""
    sources = {
        rule.get("alert") or rule["record"]: rule
        for path in (ROOT / "prometheus" / "rules").glob("*.yml")
        for group in strict_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    rules = _rules(render({"prometheusRule": {"enabled": True}}))
    for rule in (*rules.values(), *sources.values()):
        for link in ("runbook_url", "dashboard_url"):
            rule.get("annotations", {}).pop(link, None)
    assert rules == sources


def test_rules_follow_the_values() -> None:
    """Thresholds, minimums, durations, left out alerts, labels, job and links are what the values say."""
    values = case("prometheus-rule")["prometheusRule"]
    rules = _rules(rendered("prometheus-rule"))
    assert "> 1800  # threshold: seconds" in rules["CyberunTasksWaitingTooLong"]["expr"]
    assert "> 0.35  # threshold: ratio" in rules["CyberunFailureRatioHigh"]["expr"]
    assert ">= 100  # minimum:" in rules["team:cyberun_tasks_finished:failure_ratio_30m"]["expr"]
    assert ">= 5  # minimum: tasks" in rules["CyberunQueueGrowing"]["expr"]
    assert rules["CyberunTeamDown"]["for"] == "15m"
    assert not rules.keys() & set(values["disabled"])
    assert not any("cyberun.*" in rule["expr"] for rule in rules.values())
    alerts = {name: rule for name, rule in rules.items() if "alert" in rule}
    for name, alert in alerts.items():
        assert alert["labels"]["team"] == "gpu-operations"
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example.org/runbooks/{name}.md"
        assert alert["annotations"]["dashboard_url"].startswith("https://grafana.example.org/d/cyberun-")


def test_no_link_leads_to_a_placeholder() -> None:
    """Without an address of Grafana alerts have no link to it, and no rule keeps an address that is an example."""
    for rule in _rules(render({"prometheusRule": {"enabled": True}})).values():
        assert "dashboard_url" not in rule.get("annotations", {})
        assert not re.search(r"example\.|localhost", "".join(rule.get("annotations", {}).values()))
    assert "runbook_url" not in str(render({"prometheusRule": {"enabled": True, "runbookUrl": ""}}).objects)


def test_notes_tell_what_people_get_wrong() -> None:
    """The notes name the Secret to make, whether Prometheus will find the exporter, and what replicas are not."""
    notes = rendered("defaults").notes
    assert "create secret generic cyberun-token --from-file=token=FILE" in notes
    assert "Nothing tells Prometheus about this release" in notes
    assert "More replicas are no high availability" in notes
    monitored = render({"serviceMonitor": {"enabled": True}}).notes
    assert "serviceMonitor.releaseLabel" in monitored
    both = render({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}).notes
    assert "scraped more than once" in both
    assert "clear text" in rendered("names").notes
