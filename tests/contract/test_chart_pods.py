"""The pods of the chart: what they may do, what they mount, and how they are probed."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.chart import RELEASES, Release, case, chart, render, rendered


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


def test_images_and_their_secrets_follow_the_parent_chart() -> None:
    """`global.imageRegistry` takes precedence over the image's own; pull secrets of both forms are merged."""
    assert rendered("names").container["image"].startswith("registry.example.org/cyberun-exporter/") is False
    assert rendered("names").container["image"].startswith("registry.example.org/cyberun-cloud/")
    for pod in render(
        {"global": {"imagePullSecrets": ["a", {"name": "b"}], "other": 1}, "imagePullSecrets": [{"name": "b"}]}
    ).pods:
        assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_the_log_of_the_chart_s_test_can_be_read() -> None:
    """The test's pod is kept after success, because otherwise `helm test --logs` finds no log."""
    annotations = rendered("defaults").one("Pod")["metadata"]["annotations"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
