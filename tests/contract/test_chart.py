"""The chart is consistent with the project, and its objects with each other."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest

from support.chart import CHART, RELEASES, ROOT, Object, Release, case, chart, render, rendered, strict_load

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


def _labels(release: str) -> tuple[dict[str, str], dict[str, str]]:
    workload = rendered(release).workload
    return workload["spec"]["selector"]["matchLabels"], workload["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("name", RELEASES)
def test_selectors_select_the_pods_and_nothing_else(name: str) -> None:
    """Every selector is name and instance, which the exporter's pods carry and the test's pod does not."""
    release = rendered(name)
    selector, pod = _labels(name)
    assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert selector.items() <= pod.items()
    assert release.one("Service")["spec"]["selector"] == selector
    for kind in ("PodDisruptionBudget", "ServiceMonitor", "PodMonitor"):
        assert all(each["spec"]["selector"]["matchLabels"] == selector for each in release.all(kind))
    assert all(each["spec"]["podSelector"]["matchLabels"] == selector for each in release.all("NetworkPolicy"))
    assert not any(selector.items() <= each["metadata"]["labels"].items() for each in release.all("Pod"))
    assert selector.items() <= release.one("Service")["metadata"]["labels"].items()


@pytest.mark.parametrize("name", RELEASES)
def test_ports_and_paths_exist(name: str) -> None:
    """Service, probes, monitors and policies name the container's port, on which the exporter listens."""
    release = rendered(name)
    (port,) = release.container["ports"]
    assert release.config["web"]["listen_address"] == f":{port['containerPort']}"
    users = [each["targetPort"] for each in release.one("Service")["spec"]["ports"]]
    probes = [release.container.get(f"{each}Probe") for each in ("liveness", "readiness", "startup")]
    users += [each.get("httpGet", each.get("tcpSocket"))["port"] for each in probes if each]
    for kind in ("ServiceMonitor", "PodMonitor"):
        for each in release.all(kind):
            for endpoint in each["spec"].get("endpoints", each["spec"].get("podMetricsEndpoints")):
                users.append(endpoint["port"])
                assert endpoint["path"] == release.config["web"]["telemetry_path"]
    users += [each["spec"]["ingress"][0]["ports"][0]["port"] for each in release.all("NetworkPolicy")]
    assert set(users) == {port["name"]}
    assert [each["name"] for each in release.one("Service")["spec"]["ports"]] == [port["name"]]


@pytest.mark.parametrize("name", RELEASES)
def test_volumes_are_mounted_once_and_whole(name: str) -> None:
    """Each volume has its own mount path, without subPath, so that it follows changes."""
    pod = rendered(name).workload["spec"]["template"]["spec"]
    mounts = rendered(name).container["volumeMounts"]
    assert sorted(each["name"] for each in mounts) == sorted(each["name"] for each in pod["volumes"])
    assert len({each["mountPath"] for each in mounts}) == len(mounts)
    assert not any("subPath" in each for each in mounts)


@pytest.mark.parametrize("name", RELEASES)
def test_pods_are_restricted(name: str) -> None:
    """Each pod keeps the Pod Security Standard "restricted", has no writable root and no service account token."""
    for pod in rendered(name).pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"].get("runAsUser") != 0
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context.keys() & {"privileged", "procMount"}
            assert context.get("runAsUser") != 0
        allowed = {"name", "configMap", "secret", "projected", "csi", "emptyDir", "persistentVolumeClaim"}
        assert all(volume.keys() <= allowed for volume in pod.get("volumes", ()))
    assert all(each["automountServiceAccountToken"] is False for each in rendered(name).all("ServiceAccount"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (str(key), *_texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


def test_tokens_are_in_secrets_alone() -> None:
    """A token in the values is only in the Secret: in no ConfigMap, argument, annotation or note."""
    values = case("token") | {"webConfig": case("tls")["webConfig"]}
    hashes = list(values["webConfig"]["basicAuthUsers"].values())
    marks = [each["token"] for each in (*values["teams"], *values["discover"]) if "token" in each] + hashes
    release = render(values)
    secrets, others = release.all("Secret"), [each for each in release.objects if each["kind"] != "Secret"]
    assert len(secrets) == 2
    public = "\n".join([release.notes, *(text for each in others for text in _texts(each))])
    assert len(marks) == 4
    assert [mark for mark in marks if mark in public] == []


@pytest.mark.parametrize("name", RELEASES)
def test_every_credential_file_is_mounted(name: str) -> None:
    """Each token_file that the chart writes is the path of a key of a mounted Secret, readable by owner and group."""
    release = rendered(name)
    secrets = {
        f"/etc/cyberun-exporter/secrets/{item['path']}": (source["secret"]["name"], item["key"])
        for volume in release.workload["spec"]["template"]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source["secret"]["items"]
    }
    items = [*release.config["teams"], *release.config["discover"]]
    files = [each["token_file"] for each in items if "token_file" in each]
    ours = {path for path in files if path.startswith("/etc/cyberun-exporter/")}
    assert ours == secrets.keys()
    made = {
        (each["metadata"]["name"], key)
        for each in release.all("Secret")
        for key in each["data"]
        if each["metadata"]["name"].endswith("-tokens")
    }
    assert made <= set(secrets.values())
    modes = [
        volume["projected"]["defaultMode"]
        for volume in release.workload["spec"]["template"]["spec"]["volumes"]
        if "projected" in volume
    ]
    assert set(modes) <= {0o440}


@pytest.mark.parametrize(
    ("name", "change", "annotation"),
    [
        ("defaults", {"config": {"collect": {"interval": "45s"}}}, "checksum/config"),
        ("token", {"teams": [{"name": "render", "token": "sk-other"}]}, "checksum/tokens"),
        ("tls", {"webConfig": {"basicAuthUsers": {"prometheus": "$2b$04$other"}}}, "checksum/web-config"),
    ],
)
def test_what_the_chart_holds_restarts_the_pods(name: str, change: dict[str, Any], annotation: str) -> None:
    """A changed configuration or chart-made Secret changes its checksum, and a podAnnotation cannot hide it."""
    values = case(name)
    other = chart().merge_values({**values, **change, "podAnnotations": {annotation: "mine"}})
    other["webConfig"] = {**values.get("webConfig", {}), **change.get("webConfig", {})} or other["webConfig"]

    def checksum(release: Release) -> str:
        return str(release.workload["spec"]["template"]["metadata"]["annotations"][annotation])

    before, after = checksum(render(values)), checksum(render({k: v for k, v in other.items() if v is not None}))
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert re.fullmatch("[0-9a-f]{64}", after)
    assert before != after


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


def test_shards_share_the_teams() -> None:
    """With shards each pod gets its ordinal and their number, and the scraper knows each pod by name."""
    release = rendered("sharding")
    workload = release.one("StatefulSet")
    (service,) = release.all("Service")
    assert service["spec"]["clusterIP"] == "None"
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert release.container["args"][1:3] == ["--shard=$(POD_INDEX)", "--total-shards=3"]
    (variable,) = release.container["env"]
    assert variable["name"] == "POD_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    pods = [f"{workload['metadata']['name']}-{i}.{service['metadata']['name']}.monitoring.svc:10042" for i in range(3)]
    teams, process = (each["spec"] for each in release.all("ScrapeConfig"))
    assert [each["url"] for each in teams["httpSDConfigs"]] == [f"http://{pod}/sd" for pod in pods]
    assert process["staticConfigs"] == [{"targets": pods}]


def test_shards_may_be_scaled_to_none() -> None:
    """Then there is nothing to scrape, and no ScrapeConfig without targets, which an API server refuses."""
    release = render(case("sharding") | {"replicaCount": 0})
    assert release.workload["spec"]["replicas"] == 0
    assert release.all("ScrapeConfig") == []


def test_a_release_may_turn_to_shards_and_back() -> None:
    """Neither Service becomes the other one: an API server refuses to make one headless, or to undo that."""
    shards, one = (rendered(name).one("Service") for name in ("sharding", "defaults"))
    assert shards["metadata"]["name"] == f"{one['metadata']['name']}-shards"
    long = render(case("sharding") | {"fullnameOverride": "a" * 63})
    assert len(long.one("Service")["metadata"]["name"]) <= 63
    assert long.workload["spec"]["serviceName"] == long.one("Service")["metadata"]["name"]


def test_teams_are_scraped_as_the_probe_configuration_does() -> None:
    """With perTeam each team's target has a distinguishing label, and a second one, of the same job, is the process."""
    spoken = strict_load((ROOT / "prometheus" / "prometheus-probe.yml").read_text(encoding="utf-8"))["scrape_configs"]
    made = [each["spec"] for each in render({"scrapeConfig": {"enabled": True, "perTeam": True}}).all("ScrapeConfig")]
    (team,) = spoken[0]["relabel_configs"]
    assert [each["relabelings"] for each in made if "relabelings" in each] == [
        [{"sourceLabels": team["source_labels"], "targetLabel": team["target_label"]}]
    ]
    (kept,) = spoken[1]["metric_relabel_configs"]
    assert [each["metricRelabelings"] for each in made if "metricRelabelings" in each] == [
        [{"sourceLabels": kept["source_labels"], "regex": kept["regex"], "action": "keep"}]
    ]
    assert ["httpSDConfigs" in each for each in made] == [True, False]
    assert len({each["jobName"] for each in made}) == 1


@pytest.mark.parametrize(
    ("values", "port"),
    [({}, 443), ({"base_url": "http://cyberun/api/v1"}, 80), ({"base_url": "https://[2001:db8::1]:8443/api"}, 8443)],
)
def test_the_network_policy_lets_the_platform_through(values: dict[str, str], port: int) -> None:
    """The pod may reach DNS (on 5353 in OpenShift) and the port of the platform's URL."""
    release = render({"networkPolicy": {"enabled": True}, "config": {"api": values}})
    dns, platform = release.one("NetworkPolicy")["spec"]["egress"]
    assert {each["protocol"] for each in dns["ports"]} == {"TCP", "UDP"}
    assert {each["port"] for each in dns["ports"]} == {53, 5353}
    assert platform == {"ports": [{"port": port, "protocol": "TCP"}]}


def test_a_probe_asks_in_one_way() -> None:
    """A user's probe of another kind replaces the chart's GET, although Helm merges them."""
    probe = rendered("pod").container["livenessProbe"]
    assert probe == {"periodSeconds": 60, "timeoutSeconds": 5, "tcpSocket": {"port": "http"}}
    for handler in ({"exec": {"command": ["true"]}}, {"grpc": {"port": 1}}, {"tcpSocket": {"port": 1}, "exec": None}):
        given = render({"readinessProbe": handler}).container["readinessProbe"]
        named = {kind for kind in ("exec", "grpc", "tcpSocket", "httpGet") if given.get(kind) is not None}
        assert named == {kind for kind, value in handler.items() if value}


def test_a_slow_node_has_time_to_start() -> None:
    """The startup probe waits five times as long as a start takes with the values' 20m of CPU."""
    probe = rendered("defaults").container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 5 * 24


def test_an_image_tag_may_have_a_digest() -> None:
    """A tag may include a digest; the version label is only the tag."""
    digest = f"sha256:{'0' * 64}"
    release = render({"image": {"tag": f"1.0.1+gpu@{digest}"}})
    assert release.container["image"].endswith(f":1.0.1+gpu@{digest}")
    assert release.workload["metadata"]["labels"]["app.kubernetes.io/version"] == "1.0.1_gpu"
    assert render({"image": {"tag": "_a_"}}).workload["metadata"]["labels"]["app.kubernetes.io/version"] == "a"


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


def test_images_and_their_secrets_follow_the_parent_chart() -> None:
    """`global.imageRegistry` takes precedence over the image's own; pull secrets of both forms are merged."""
    assert rendered("names").container["image"].startswith("registry.example.org/cyberun-exporter/") is False
    assert rendered("names").container["image"].startswith("registry.example.org/cyberun-cloud/")
    for pod in render(
        {"global": {"imagePullSecrets": ["a", {"name": "b"}], "other": 1}, "imagePullSecrets": [{"name": "b"}]}
    ).pods:
        assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_all_objects_follow_the_namespace() -> None:
    """`namespaceOverride` moves every object and all references to them."""
    values = {"namespaceOverride": "gpu", "scrapeConfig": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    release = render(values)
    assert {each["metadata"]["namespace"] for each in release.objects} == {"gpu"}
    assert ".monitoring.svc" not in json.dumps(release.objects)
    assert release.one("ScrapeConfig")["spec"]["staticConfigs"][0]["targets"][0].endswith(".gpu.svc:10042")
    assert release.one("ServiceMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["gpu"]}


def test_the_log_of_the_chart_s_test_can_be_read() -> None:
    """The test's pod is kept after success, because otherwise `helm test --logs` finds no log."""
    annotations = rendered("defaults").one("Pod")["metadata"]["annotations"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_tls_is_spoken_by_all() -> None:
    """With TLS, probes, monitor and test use https; where clients need a certificate the probes only open the port."""
    tls, strict = rendered("tls"), rendered("client-certificates")
    probes = ("livenessProbe", "readinessProbe", "startupProbe")
    assert {tls.container[each]["httpGet"]["scheme"] for each in probes} == {"HTTPS"}
    assert [each["scheme"] for each in tls.one("ServiceMonitor")["spec"]["endpoints"]] == ["https"]
    assert tls.one("Pod")["spec"]["containers"][0]["args"][1].startswith("https://")
    assert [strict.container[each]["tcpSocket"] for each in probes] == [{"port": "http"}] * 3
    assert strict.all("Pod") == []
