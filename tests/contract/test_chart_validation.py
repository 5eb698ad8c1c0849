"""The chart's objects are valid for Kubernetes, the Prometheus Operator and Prometheus."""

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no annotations for its users
import pytest
import yaml
from jsonschema import Draft202012Validator

from support.chart import RELEASES, Object, case, render, rendered
from support.programs import required

KUBERNETES = [f"1.{minor}" for minor in range(27, 38)]
MONITORING = "monitoring.coreos.com/"
GRAFANA = "grafana.integreatly.org/"


@functools.cache
def objects() -> tuple[tuple[str, Object], ...]:
    """The different objects of all releases, each with the name of a release that has it."""
    found = {json.dumps(each, sort_keys=True): (name, each) for name in RELEASES for each in rendered(name).objects}
    return tuple(found.values())


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads its schemas from disk for every object; once is enough."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _read_schema)


_read_schema = functools.cache(kubernetes_validate.utils.schema_contents)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(version: str) -> None:
    """Each object is valid for Kubernetes 1.27 to 1.37 and has no unknown field."""
    own = [each for _, each in objects() if not each["apiVersion"].startswith((MONITORING, GRAFANA))]
    assert {"Deployment", "StatefulSet", "NetworkPolicy", "PodDisruptionBudget"} <= {each["kind"] for each in own}
    for each in own:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_kubernetes_would_refuse_a_misspelt_field() -> None:
    """The check above notices a field that Kubernetes does not know, deep inside a pod."""
    workload = json.loads(json.dumps(rendered("defaults").workload))
    workload["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessprobe"):
        kubernetes_validate.validate(workload, KUBERNETES[-1], strict=True)


# The operator's kinds ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator() -> dict[tuple[str, str], Draft202012Validator]:
    """Validators of the operator's kinds by apiVersion and kind, from its custom resource definitions."""
    folder = os.environ.get("PROMETHEUS_OPERATOR_CRDS")
    if not folder:
        pytest.skip("PROMETHEUS_OPERATOR_CRDS names no folder with the operator's custom resource definitions")
    return {
        (f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"]): Draft202012Validator(
            _closed(version["schema"]["openAPIV3Schema"])
        )
        for path in sorted(Path(folder).glob("*.yaml"))
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        for version in definition["spec"]["versions"]
    }


def _closed(schema: Any) -> Any:
    """The schema, in which every object with named fields allows no others; metadata is Kubernetes' own."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _mistakes(validator: Draft202012Validator, each: Object) -> Iterator[str]:
    return (f"{error.json_path}: {error.message}" for error in validator.iter_errors(each))


def test_the_operator_knows_every_field(operator: dict[tuple[str, str], Draft202012Validator]) -> None:
    """Each object of the operator's kinds fits its definition and has no unknown field."""
    theirs = [each for _, each in objects() if each["apiVersion"].startswith(MONITORING)]
    assert {each["kind"] for each in theirs} == {"ServiceMonitor", "PodMonitor", "ScrapeConfig", "PrometheusRule"}
    for each in theirs:
        assert list(_mistakes(operator[each["apiVersion"], each["kind"]], each)) == []


def test_the_operator_would_refuse_a_misspelt_field(operator: dict[tuple[str, str], Draft202012Validator]) -> None:
    """The check above notices an unknown field of an endpoint."""
    monitor = json.loads(json.dumps(rendered("service-monitor").one("ServiceMonitor")))
    monitor["spec"]["endpoints"][0]["scrapeTimeOut"] = "10s"
    (mistake,) = _mistakes(operator[monitor["apiVersion"], monitor["kind"]], monitor)
    assert "scrapeTimeOut" in mistake


def test_grafana_dashboards_are_references() -> None:
    """The Grafana Operator's objects hold the fields of its v1beta1 that the chart uses, and no others."""
    for each in rendered("dashboards").all("GrafanaDashboard"):
        assert each["apiVersion"] == "grafana.integreatly.org/v1beta1"
        assert each["spec"] == {
            "instanceSelector": {"matchLabels": {"dashboards": "main"}},
            "allowCrossNamespaceImport": True,
            "resyncPeriod": "1h",
            "folder": "GPU farm",
            "configMapRef": each["spec"]["configMapRef"],
        }


# Prometheus -------------------------------------------------------------------------------------------------------


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([required("promtool"), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "values", [{"prometheusRule": {"enabled": True}}, case("prometheus-rule")], ids=["all", "fitted"]
)
def test_prometheus_takes_the_rules(values: dict[str, Any], tmp_path: Path) -> None:
    """`promtool` accepts the rendered rules, even with every number and selector replaced."""
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(render(values).one("PrometheusRule")["spec"]), encoding="utf-8")
    result = _promtool("check", "rules", str(rules))
    assert result.returncode == 0, result.stderr
    assert "SUCCESS" in result.stdout


@pytest.mark.parametrize("name", ["scrape-config", "sharding"])
def test_prometheus_takes_the_scrape_configuration(name: str, tmp_path: Path) -> None:
    """`promtool` accepts the scrape configuration that the operator would derive from the ScrapeConfig."""
    jobs = [_job(index, each["spec"]) for index, each in enumerate(rendered(name).all("ScrapeConfig"))]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": jobs}), encoding="utf-8")
    result = _promtool("check", "config", str(path))
    assert result.returncode == 0, result.stderr


def _job(index: int, spec: Object) -> dict[str, Any]:
    """The operator names jobs after their objects; `jobName` is only the label."""
    job: dict[str, Any] = {
        "job_name": f"{spec['jobName']}/{index}",
        "scheme": spec["scheme"].lower(),
        "honor_labels": spec["honorLabels"],
        "static_configs": [{"targets": each["targets"]} for each in spec.get("staticConfigs", ())],
        "http_sd_configs": [{"url": each["url"]} for each in spec.get("httpSDConfigs", ())],
    }
    for ours, theirs in {"scrapeInterval": "scrape_interval", "scrapeTimeout": "scrape_timeout"}.items():
        job |= {theirs: spec[ours]} if ours in spec else {}
    job |= {"metrics_path": spec["metricsPath"]} if "metricsPath" in spec else {}
    job |= {"sample_limit": spec["sampleLimit"]} if "sampleLimit" in spec else {}
    job["metric_relabel_configs"] = [
        {"action": each["action"], "source_labels": each["sourceLabels"], "regex": each["regex"]}
        for each in spec.get("metricRelabelings", ())
    ]
    return job
