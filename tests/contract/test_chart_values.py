"""Every value of the chart has an effect, and mistakes in the values are refused."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import helm_python
import pytest
from helm_python import HelmError

from exporter.config.settings import Discover, Settings, TeamSettings
from support.chart import (
    CASES,
    CHART,
    case,
    defaults,
    manifests,
    render,
)

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
ABSENT = object()

KeyPath = tuple[str, ...]


def leaves(values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every value that is no mapping, or an empty one."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def at(values: Mapping[str, Any], path: KeyPath) -> Any:
    """The value at a path; ABSENT if there is none."""
    value: Any = values
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def without(values: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """The values without the one at the path."""
    changed = copy.deepcopy(values)
    at(changed, path[:-1]).pop(path[-1])
    return changed


def _shown(values: dict[str, Any]) -> dict[str, str] | str:
    """The result of rendering the chart with these values, which may be a refusal."""
    try:
        return manifests(values)
    except HelmError as error:
        return str(error)


def _closed(schema: Mapping[str, Any]) -> Iterator[KeyPath]:
    """The path of every value that a schema knows, as `leaves` gives them for objects that are closed."""
    for key, value in schema["properties"].items():
        if "properties" in value:
            assert value["additionalProperties"] is False, key
            yield from ((key, *path) for path in _closed(value))
        else:
            yield (key,)


def known() -> set[KeyPath]:
    """The path of every value of the chart; `global` is open, as other charts have values there."""
    own = {key: value for key, value in SCHEMA["properties"].items() if key != "global"}
    return {*_closed({"properties": own}), *(("global", key) for key in SCHEMA["properties"]["global"]["properties"])}


@pytest.mark.parametrize("path", sorted(known()), ids=".".join)
def test_every_value_has_an_effect(path: KeyPath) -> None:
    """For each value some `ci` file changes it, and the change has an effect on what is rendered."""
    changed = [name for name in CASES if at(case(name), path) not in (ABSENT, at(defaults(), path))]
    assert changed, "no ci file changes it"
    assert any(_shown(case(name)) != _shown(without(case(name), path)) for name in changed)


def test_the_schema_knows_the_values_and_no_others() -> None:
    """The file of values and its schema name the same keys."""
    given = set(leaves(defaults()))
    assert known() == {each for each in known() if at(defaults(), each) is not ABSENT}
    assert [path for path in given if not any(path[: len(each)] == each for each in known())] == []
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"serviceMonitr": {}}, "serviceMonitr"),
        ({"image": {"tags": "1"}}, "tags"),
        ({"teams": [{"name": "a", "existingSecret": "b", "secret": "c"}]}, "secret"),
        ({"teams": []}, "teams: name at least one"),
        ({"teams": [{"name": "a"}]}, r"teams\[0\]: set one of .*found none"),
        ({"teams": [{"name": "a", "token": "t", "existingSecret": "s"}]}, "found existingSecret, token$"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"config": {"collect": {"interval": 30}}}, "interval"),
        ({"replicaCount": 2}, "repeats every series"),
        ({"webConfig": {"enabled": True, "tls": {"enabled": True}}}, "webConfig.tls.existingSecret"),
        ({"webConfig": {"basicAuthUsers": {"prometheus": "password"}}}, "basicAuthUsers"),
        ({"prometheusRule": {"enabled": True, "disabled": ["CyberunDown"]}}, "no rule is named CyberunDown"),
        ({"prometheusRule": {"enabled": True, "thresholds": {"CyberunTeamDown": 1}}}, "has no threshold"),
        ({"prometheusRule": {"enabled": True, "minimums": {"CyberunVramLow": 1}}}, "has no minimum"),
        ({"sharding": {"enabled": True}, "service": {"type": "NodePort"}}, "only ClusterIP can be; found NodePort"),
        ({"sharding": {"enabled": True}, "service": {"type": "LoadBalancer"}}, "found LoadBalancer"),
        ({"service": {"nodePort": 30042}}, "service.nodePort: needs service.type NodePort .*found ClusterIP"),
        ({"service": {"loadBalancerIP": "192.0.2.1"}}, "service.loadBalancerIP: needs service.type LoadBalancer"),
        ({"service": {"loadBalancerClass": "a/b", "type": "NodePort"}}, "service.loadBalancerClass: .*found NodePort"),
        ({"service": {"externalTrafficPolicy": "Local"}}, "service.externalTrafficPolicy: needs"),
        ({"livenessProbe": {"grpc": {"port": 1}, "tcpSocket": {"port": 1}}}, "found grpc, tcpSocket"),
        ({"livenessProbe": {"exec": {}}}, "command"),
        ({"readinessProbe": {"exec": {"command": []}}}, "command"),
        ({"startupProbe": {"tcpSocket": {}}}, "port"),
        ({"livenessProbe": {"httpGet": None}}, "livenessProbe: set one of exec, grpc, httpGet and tcpSocket"),
        ({"strategy": {"type": "Rolling"}}, "strategy"),
        ({"sharding": {"enabled": True, "updateStrategy": {"type": "Recreate"}}}, "updateStrategy"),
        (
            {"extraVolumes": [{"name": "secrets", "emptyDir": {}}]},
            r"extraVolumes\[0\]: secrets is a name of the chart's",
        ),
        ({"extraVolumes": [{"name": "tls", "emptyDir": {}}]}, r"extraVolumes\[0\]: tls is a name of the chart's"),
        ({"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/cyberun-exporter/config/"}]}, "mounts its own"),
        ({"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/cyberun-exporter"}]}, "mounts its own"),
        ({"extraContainers": [{"name": "exporter"}]}, "the name of the chart's own container"),
        ({"extraInitContainers": [{"name": "exporter"}]}, "the name of the chart's own container"),
        ({"extraEnv": [{"name": "POD_INDEX", "value": "0"}], "sharding": {"enabled": True}}, "extraEnv: POD_INDEX"),
        ({"extraEnv": [{"name": "LIMIT", "value": 5}]}, "extraEnv"),
        ({"strategy": {"rollingUpdate": {"maxSurge": 1}}}, "rollingUpdate needs type RollingUpdate; found Recreate"),
        (
            {"sharding": {"enabled": True, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}},
            "needs type RollingUpdate; found OnDelete",
        ),
        ({"commonLabels": {"team": "GPU & AI"}}, "commonLabels"),
        ({"podLabels": {"team": 5}}, "podLabels"),
        ({"fullnameOverride": "1st"}, "fullnameOverride"),
        ({"nameOverride": 123}, "nameOverride"),
        ({"priorityClassName": 100}, "priorityClassName"),
        ({"priorityClassName": "Very High"}, "priorityClassName"),
        ({"serviceAccount": {"name": "Exporter"}}, "serviceAccount"),
        ({"image": {"tag": "-a"}}, "tag"),
        ({"podDisruptionBudget": {"minAvailable": "half"}}, "minAvailable"),
        ({"podDisruptionBudget": {"maxUnavailable": -1}}, "maxUnavailable"),
        ({"podMonitor": {"releaseLabel": "kube prometheus"}}, "releaseLabel"),
        ({"dashboards": {"label": "grafana dashboard"}}, "label"),
        ({"dashboards": {"labelValue": "-"}}, "labelValue"),
        ({"dashboards": {"folderAnnotation": "a//b"}}, "folderAnnotation"),
        ({"service": {"loadBalancerClass": "a//b", "type": "LoadBalancer"}}, "loadBalancerClass"),
        ({"scrapeConfig": {"jobName": 100}}, "jobName"),
        ({"teams": [{"name": "a", "existingSecret": "My_Keys"}]}, "existingSecret"),
        ({"teams": [{"name": "a", "existingSecret": "keys", "existingSecretKey": "a/b"}]}, "existingSecretKey"),
    ],
)
def test_mistakes_are_refused_in_words(values: dict[str, Any], words: str) -> None:
    """A value that is unknown, of a wrong type or contradicts another fails before anything is installed."""
    with pytest.raises(HelmError, match=words):
        render(values)


def test_old_kubernetes_has_no_shards(capfd: pytest.CaptureFixture[str]) -> None:
    """Pods learn their ordinal from a label that Kubernetes 1.27 does not set, so the chart refuses to shard there."""
    for version, refused in {"v1.27.9": True, "v1.28.0": False}.items():
        helm_python.lint(CHART, case("sharding"), kube_version=version)  # which logs refusals
        assert ("needs Kubernetes 1.28" in capfd.readouterr().err) is refused


def test_configuration_values_are_the_settings() -> None:
    """`config` lists every setting with the exporter's defaults, except those that the chart sets itself."""
    settings = Settings()
    written = {"api": {"ca_file"}, "web": {"listen_address", "config_file"}}
    for section, values in defaults()["config"].items():
        model = type(getattr(settings, section)).model_fields
        assert values.keys() == model.keys() - written.get(section, set()), section
    assert defaults()["config"].keys() == Settings.model_fields.keys() - {"teams", "discover"}


def test_configuration_defaults_are_the_exporters() -> None:
    """Loading the chart's `config` gives the same settings as no configuration at all."""
    assert Settings(**defaults()["config"]) == Settings()


@pytest.mark.parametrize(("definition", "model"), [("team", TeamSettings), ("discover", Discover)])
def test_teams_take_every_key_of_the_configuration(definition: str, model: type[TeamSettings | Discover]) -> None:
    """The keys of an item are those of the configuration and where the chart finds the credential."""
    known = SCHEMA["definitions"][definition]["properties"].keys()
    assert known - {"existingSecret", "existingSecretKey", "token"} == model.model_fields.keys()


def _digits(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value in which each text that may consist of digits does."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {key: _digits(each, known.get(key, rest)) for key, each in value.items()}
    if isinstance(value, list):
        return [_digits(each, schema.get("items", {})) for each in value]
    may = schema.get("type") == "string" and re.search(schema.get("pattern", ""), "123")
    return "123" if isinstance(value, str) and may else value


def _no_text(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The places where a text has become something else."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            yield from _no_text(before[key], after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for i, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _no_text(one, other, f"{path}[{i}]")
    elif isinstance(before, str) and not isinstance(after, str):
        yield path


@pytest.mark.parametrize("name", CASES)
def test_digits_stay_text(name: str) -> None:
    """A text in the values, or the release's name, may consist of digits; it stays text in every object."""
    values = case(name) | {"extraManifests": []}
    changed = _digits(values, SCHEMA)
    changed.get("prometheusRule", {}).pop("disabled", None)  # names of alerts, of which none is a number
    before, after = render(values), render(changed, name="2024")
    for one, other in zip(before.objects, after.objects, strict=True):
        assert one["kind"] == other["kind"]
        assert list(_no_text(one, other)) == [], one["kind"]
