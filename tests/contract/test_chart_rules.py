"""The chart's version of the repository's rules and dashboards, and its notes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmError

from support.chart import CHART, ROOT, Release, case, defaults, render, rendered, strict_load


@pytest.mark.parametrize(
    ("folder", "source", "pattern"),
    [
        ("rules", "prometheus/rules", "*.yml"),
        ("rules-without-hold", "prometheus/rules-without-hold", "*.yml"),
        ("dashboards", "grafana/dashboards", "*.json"),
    ],
)
def test_copies_are_the_sources(folder: str, source: str, pattern: str) -> None:
    """The chart's rules and dashboards are those of the repository, byte for byte, and no others."""
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / folder).iterdir()}
    sources = {path.name: path.read_bytes() for path in (ROOT / source).glob(pattern)}
    assert copies == sources
    assert copies


def test_each_dashboard_has_its_own_config_map() -> None:
    """Each ConfigMap has one file, a dashboard with the release's runbooks, and is within Kubernetes' limit."""
    release = rendered("dashboards")
    maps = [each for each in release.all("ConfigMap") if each is not release.config_map]
    runbooks = ("https://example.com/cyberun-exporter/docs/runbooks", defaults()["prometheusRule"]["runbookUrl"])
    boards = {
        path.name: path.read_text(encoding="utf-8").replace(*runbooks)
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    }
    assert runbooks[1] in boards["cyberun-overview.json"]
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


@pytest.mark.parametrize("folder", ["rules", "rules-without-hold"])
def test_the_rules_are_those_of_the_repository(folder: str) -> None:
    """With default values, the rules of either variant differ from the files only in their links."""
    sources = {
        rule.get("alert") or rule["record"]: rule
        for path in (ROOT / "prometheus" / folder).glob("*.yml")
        for group in strict_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    rules = _rules(render({"prometheusRule": {"enabled": True, "hold": folder == "rules"}}))
    for rule in (*rules.values(), *sources.values()):
        for link in ("runbook_url", "dashboard_url"):
            rule.get("annotations", {}).pop(link, None)
    assert rules == sources


def test_rules_follow_the_values() -> None:
    """Thresholds, minimums, durations, disabled alerts, labels, job and links follow the values."""
    values = case("prometheus-rule")["prometheusRule"]
    rules = _rules(rendered("prometheus-rule"))
    assert "> 1800  # threshold: seconds" in rules["CyberunTasksWaitingTooLong"]["expr"]
    assert "> 0.35  # threshold: ratio" in rules["CyberunFailureRatioHigh"]["expr"]
    assert ">= 100  # minimum:" in rules["CyberunFailureRatioHigh"]["expr"]
    assert ">= 5  # minimum: tasks" in rules["CyberunQueueGrowing"]["expr"]
    assert rules["CyberunTeamDown"]["for"] == "15m"
    assert not rules.keys() & set(values["disabled"])
    assert _jobs(rules) == [values["job"]]
    alerts = {name: rule for name, rule in rules.items() if "alert" in rule}
    for name, alert in alerts.items():
        assert alert["labels"]["team"] == "gpu-operations"
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example.org/runbooks/{name}.md"
        assert alert["annotations"]["dashboard_url"].startswith("https://grafana.example.org/d/cyberun-")


def test_rules_without_hold_follow_the_values() -> None:
    """Numbers and the job are adapted in the second variant as in the first."""
    rules = _rules(rendered("rules-without-hold"))
    assert "> 1800  # threshold: seconds" in rules["CyberunTasksWaitingTooLong"]["expr"]
    assert ">= 100  # minimum:" in rules["CyberunFailureRatioHigh"]["expr"]
    assert _jobs(rules) == ["cyberun-exporter"]
    assert not any("record" in rule for rule in rules.values())


def _jobs(rules: dict[str, dict[str, Any]]) -> list[str]:
    """The patterns by which rules select the job."""
    texts = {text for rule in rules.values() for text in re.findall(r'job=~("[^"\\]*(?:\\.[^"\\]*)*")', rule["expr"])}
    return [json.loads(text) for text in texts]


def _operators_job(release: Release) -> str:
    """The label `job` that the Prometheus Operator gives to targets of the release's only monitor."""
    kinds = ("ServiceMonitor", "PodMonitor", "ScrapeConfig")
    (monitor,) = (each for each in release.objects if each["kind"] in kinds)
    if monitor["kind"] == "ScrapeConfig":
        return str(monitor["spec"]["jobName"])
    if monitor["kind"] == "ServiceMonitor":
        labelled = release.one("Service")["metadata"]
        otherwise = labelled["name"]
    else:
        labelled = release.workload["spec"]["template"]["metadata"]
        otherwise = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    return str(labelled["labels"].get(monitor["spec"]["jobLabel"]) or otherwise)


@pytest.mark.parametrize("monitor", ["serviceMonitor", "podMonitor", "scrapeConfig"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"nameOverride": "gpu.fleet"},
        {"fullnameOverride": "gpu-fleet"},
        {"jobLabel": "app.kubernetes.io/instance"},
        {"jobLabel": "no-such-label"},
        {"jobLabel": ""},
        {"jobLabel": "fleet", "service": {"labels": {"fleet": "gpu"}}, "podLabels": {"fleet": "gpu"}},
    ],
    ids=str,
)
def test_rules_read_the_job_that_the_monitor_gives(monitor: str, values: dict[str, Any]) -> None:
    """However the chart is named and its targets labelled, the rules' pattern matches only that job."""
    if monitor != "scrapeConfig" and "jobLabel" in values:
        of_monitor = {"enabled": True, "jobLabel": values["jobLabel"]}
    else:
        of_monitor = {"enabled": True}
    others = {name: value for name, value in values.items() if name != "jobLabel"}
    release = render({monitor: of_monitor, "prometheusRule": {"enabled": True}, **others})
    (pattern,) = _jobs(_rules(release))
    job = _operators_job(release)
    assert re.fullmatch(pattern, job)
    assert not re.fullmatch(pattern, f"{job}x")
    assert not re.fullmatch(pattern, job.replace(".", "x")) or "." not in job


def test_rules_read_every_enabled_monitor_and_no_other_exporter() -> None:
    """Two monitors make two alternatives; without one the pattern is that of the rule files."""
    both = {"serviceMonitor": {"enabled": True}, "scrapeConfig": {"enabled": True, "jobName": "probes"}}
    assert _jobs(_rules(render({"prometheusRule": {"enabled": True}, **both}))) == ["cyberun-exporter|probes"]
    (pattern,) = _jobs(_rules(render({"prometheusRule": {"enabled": True}})))
    assert [job for job in ("cyberun", "cyberun-exporter") if re.fullmatch(pattern, job)] == [
        "cyberun",
        "cyberun-exporter",
    ]
    assert not re.fullmatch(pattern, "cyberun-node-exporter")


def test_rules_follow_the_alias_in_an_umbrella_chart(tmp_path: Path) -> None:
    """An alias changes the job of the monitor and of the rules together."""
    umbrella = {
        "apiVersion": "v2",
        "name": "gpu-platform",
        "version": "1.0.0",
        "dependencies": [{"name": "cyberun-exporter", "version": "*", "alias": "gpu"}],
    }
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(umbrella), encoding="utf-8")
    shutil.copytree(CHART, tmp_path / "charts" / "cyberun-exporter")
    values = {"gpu": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    texts = Chart.load(tmp_path).render(values, name="demo", namespace="monitoring")
    objects = (strict_load(text) for name, text in texts.items() if name.endswith(".yaml"))
    release = Release(tuple(each for each in objects if each), "")
    assert _operators_job(release) == "gpu"
    assert _jobs(_rules(release)) == ["gpu"]


def test_a_relabelled_job_must_be_said() -> None:
    """If `job` is relabelled, the chart cannot know the result, so it requires `prometheusRule.job`."""
    monitor = {"enabled": True, "relabelings": [{"targetLabel": "job", "replacement": "gpu"}]}
    with pytest.raises(HelmError, match=r"prometheusRule\.job: serviceMonitor\.relabelings change the label job"):
        render({"serviceMonitor": monitor, "prometheusRule": {"enabled": True}})
    said = render({"serviceMonitor": monitor, "prometheusRule": {"enabled": True, "job": "gpu"}})
    assert _jobs(_rules(said)) == ["gpu"]


def test_no_link_leads_to_a_placeholder() -> None:
    """Without the address of a Grafana, alerts have no link to it, and no rule keeps the example address."""
    for rule in _rules(render({"prometheusRule": {"enabled": True}})).values():
        assert "dashboard_url" not in rule.get("annotations", {})
        assert not re.search(r"example\.|localhost", "".join(rule.get("annotations", {}).values()))
    assert "runbook_url" not in str(render({"prometheusRule": {"enabled": True, "runbookUrl": ""}}).objects)


def test_notes_tell_what_people_get_wrong() -> None:
    """The notes say which Secret to create, whether Prometheus will find the exporter, and what replicas do not do."""
    notes = rendered("defaults").notes
    assert "create secret generic cyberun-token --from-file=token=FILE" in notes
    assert "Nothing tells Prometheus about this release" in notes
    assert "More replicas are no high availability" in notes
    monitored = render({"serviceMonitor": {"enabled": True}}).notes
    assert "serviceMonitor.releaseLabel" in monitored
    both = render({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}).notes
    assert "scraped more than once" in both
    assert "clear text" in rendered("names").notes
