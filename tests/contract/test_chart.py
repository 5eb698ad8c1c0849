"""The chart is consistent with the project, and its objects with each other."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest

from support.chart import CHART, RELEASES, ROOT, Object, case, render, rendered, strict_load

META = strict_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_chart_installs_this_version() -> None:
    """The chart's appVersion, its default image and what Artifact Hub shows are the project's version."""
    assert META["appVersion"] == VERSION
    image = rendered("defaults").container["image"]
    assert image.endswith(f":{VERSION}")
    assert [each["image"] for each in strict_load(META["annotations"]["artifacthub.io/images"])] == [image]


def test_annotations_are_texts_of_yaml() -> None:
    """Artifact Hub reads each annotation as text, and those with several lines as a YAML list of mappings."""
    for name, text in META["annotations"].items():
        assert isinstance(text, str), name
        if "\n" in text:
            assert all(isinstance(each, dict) for each in strict_load(text)), name


def test_the_chart_has_what_users_look_for() -> None:
    """Chart.yaml names version, Kubernetes, home, sources and maintainers."""
    assert META["apiVersion"] == "v2"
    assert META["kubeVersion"] == ">=1.27.0-0"
    assert re.fullmatch(r"[1-9]\d*\.\d+\.\d+", META["version"])
    assert {"home", "sources", "maintainers", "description", "keywords"} <= META.keys()


@pytest.mark.parametrize("name", RELEASES)
def test_helm_finds_nothing_to_criticise(name: str) -> None:
    """`helm lint --strict` has neither errors nor warnings."""
    report = helm_python.lint(CHART, case(name), strict=True)
    assert report["errors"] == []
    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]


def test_optional_objects_are_off() -> None:
    """By default the chart renders what the exporter needs to run, and the test that `helm test` runs."""
    kinds = sorted(each["kind"] for each in rendered("defaults").objects)
    assert kinds == ["ConfigMap", "Deployment", "Pod", "Service", "ServiceAccount"]


def _named(each: Object) -> Iterator[str]:
    yield each["metadata"]["name"]
    yield from each["metadata"].get("labels", {}).values()


@pytest.mark.parametrize("release", ["demo", "a-release-name-as-long-as-helm-lets-it-be-which-is-53-let"])
@pytest.mark.parametrize("name", RELEASES)
def test_names_are_short_and_unique(name: str, release: str) -> None:
    """Names and label values are valid, at most 63 characters long, and unique, however long the release."""
    values = case(name) | {"extraManifests": []}
    objects = render(values, name=release[:53]).objects
    for each in objects:
        for text in _named(each):
            assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", text), text
    names = [(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    for each in objects:
        if each["kind"] == "StatefulSet":
            assert len(each["metadata"]["name"]) <= 52


@pytest.mark.parametrize("name", RELEASES)
def test_common_labels_are_everywhere(name: str) -> None:
    """Common labels and annotations reach every object of the chart; the recommended labels are there too."""
    values = case(name)
    values |= {"commonLabels": {"a.b/c": "d"}, "commonAnnotations": {"e.f/g": "h"}, "extraManifests": []}
    recommended = {
        "helm.sh/chart",
        *(f"app.kubernetes.io/{each}" for each in ("name", "instance", "version", "managed-by")),
    }
    for each in render(values).objects:
        assert each["metadata"]["labels"]["a.b/c"] == "d", each["kind"]
        assert recommended <= each["metadata"]["labels"].keys(), each["kind"]
        assert each["metadata"]["annotations"]["e.f/g"] == "h", each["kind"]


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("2024", {}, "cyberun-exporter-2024"),
        ("gpu.farm", {}, "gpu-farm-cyberun-exporter"),
        ("123", {"nameOverride": "123"}, "cyberun-exporter-123"),
        ("demo", {"nameOverride": "GPU.exporter"}, "demo-gpu-exporter"),
        ("demo", {"fullnameOverride": "mine"}, "mine"),
    ],
)
def test_a_service_may_be_named_so(release: str, values: dict[str, Any], name: str) -> None:
    """Whatever the release and the overrides are called, the Service's name starts with a letter and has no dots."""
    made = render(values, name=release)
    assert made.one("Service")["metadata"]["name"] == name
    assert made.one("Service")["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def test_all_objects_follow_the_namespace() -> None:
    """`namespaceOverride` moves every object and all references to them."""
    values = {"namespaceOverride": "gpu", "scrapeConfig": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    release = render(values)
    assert {each["metadata"]["namespace"] for each in release.objects} == {"gpu"}
    assert ".monitoring.svc" not in json.dumps(release.objects)
    assert release.one("ScrapeConfig")["spec"]["staticConfigs"][0]["targets"][0].endswith(".gpu.svc:10042")
    assert release.one("ServiceMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["gpu"]}
