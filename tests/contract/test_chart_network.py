"""How the chart's pods are reached and scraped, and what they may reach."""

import pytest

from support.chart import RELEASES, ROOT, case, render, rendered, strict_load


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


def test_tls_is_spoken_by_all() -> None:
    """With TLS, probes, monitor and test use https; where clients need a certificate the probes only open the port."""
    tls, strict = rendered("tls"), rendered("client-certificates")
    probes = ("livenessProbe", "readinessProbe", "startupProbe")
    assert {tls.container[each]["httpGet"]["scheme"] for each in probes} == {"HTTPS"}
    assert [each["scheme"] for each in tls.one("ServiceMonitor")["spec"]["endpoints"]] == ["https"]
    assert tls.one("Pod")["spec"]["containers"][0]["args"][1].startswith("https://")
    assert [strict.container[each]["tcpSocket"] for each in probes] == [{"port": "http"}] * 3
    assert strict.all("Pod") == []
