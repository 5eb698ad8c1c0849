"""The Helm chart, rendered by Helm itself."""

import copy
import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from helm_python import Chart

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm" / "cyberun-exporter"
CASES: Final = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
"""The values files of the chart's `ci` folder, by the feature they show."""

Object = dict[str, Any]
"""A Kubernetes object."""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it, except that duplicate keys are mistakes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  PyYAML's signature
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key comes twice", node.start_mark)
        return mapping


def strict_load(text: str) -> Any:
    """The only document of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, or a mapping holds a key twice.
    """
    return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader


@dataclass(frozen=True, slots=True)
class Release:
    """The chart as rendered by Helm."""

    objects: tuple[Object, ...]
    notes: str

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str) -> Object:
        """The only object of a kind."""
        (found,) = self.all(kind)
        return found

    @property
    def workload(self) -> Object:
        """The Deployment or StatefulSet."""
        (found,) = [*self.all("Deployment"), *self.all("StatefulSet")]
        return found

    @property
    def pods(self) -> list[Object]:
        """The spec of every pod, that of the test included."""
        return [self.workload["spec"]["template"]["spec"], *(pod["spec"] for pod in self.all("Pod"))]

    @property
    def container(self) -> Object:
        """The exporter's container."""
        return dict(self.workload["spec"]["template"]["spec"]["containers"][0])

    @property
    def config(self) -> dict[str, Any]:
        """The exporter's configuration."""
        text = self.config_map["data"]["config.yaml"]
        return dict(strict_load(text))

    @property
    def config_map(self) -> Object:
        """The ConfigMap that holds the configuration."""
        (found,) = [each for each in self.all("ConfigMap") if "config.yaml" in each.get("data", ())]
        return found


@functools.cache
def chart() -> Chart:
    """The chart in this repository."""
    return Chart.load(CHART)


@functools.cache
def defaults() -> dict[str, Any]:
    """The chart's values."""
    return dict(strict_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def case(name: str) -> dict[str, Any]:
    """The values of a file of the `ci` folder; none for the defaults."""
    return copy.deepcopy(_case(name))


@functools.cache
def _case(name: str) -> dict[str, Any]:
    return {} if name == "defaults" else dict(strict_load(CASES[name].read_text(encoding="utf-8")))


def manifests(values: Mapping[str, Any], name: str = "demo") -> dict[str, str]:
    """The text that each template gives.

    Raises:
        HelmError: the schema or a template refuses the values.
    """
    return chart().render(dict(values), name=name, namespace="monitoring")


def render(values: Mapping[str, Any] | None = None, name: str = "demo") -> Release:
    """Install the chart on paper.

    Raises:
        HelmError: the schema or a template refuses the values.
        yaml.YAMLError: an object holds a key twice.
    """
    objects: list[Object] = []
    notes = ""
    for template, text in sorted(manifests(values or {}, name).items()):
        if template.endswith("NOTES.txt"):
            notes = text
        else:
            objects += [each for each in yaml.load_all(text, _Loader) if each]
    return Release(tuple(objects), notes)


@functools.cache
def rendered(name: str) -> Release:
    """The release of a `ci` file, or of the defaults, rendered once. Do not change it."""
    return render(case(name))


RELEASES: Final = ("defaults", *CASES)
"""The names for `rendered`."""
