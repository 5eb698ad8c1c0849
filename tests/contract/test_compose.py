import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli.arguments import parse
from exporter.config.load import load
from exporter.demo import demo_platform
from support import required
from support.rules import ROOT

FILE = ROOT / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

each_service = pytest.mark.parametrize("name", SERVICES)


async def run(*command: str) -> None:
    """Runs a checker, which must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def mounts(name: str) -> dict[str, Path]:
    """The files and folders of the repository that a service sees, by where it sees them."""
    bound = (volume.split(":") for volume in SERVICES[name].get("volumes", ()) if volume.startswith("."))
    return {inside: ROOT / outside for outside, inside, _ in bound}


def option(name: str, flag: str) -> str:
    """The value of a flag in a service's command."""
    (value,) = [part.partition("=")[2] for part in SERVICES[name]["command"] if part.startswith(f"{flag}=")]
    return str(value)


async def test_the_specification_accepts_it() -> None:
    """The file fits the schema of the Compose specification."""
    await run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))


@each_service
def test_services_are_pinned_closed_and_checked(name: str) -> None:
    """Images have versions, ports are on loopback, root file systems are read-only, health checks allow enough time."""
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["healthcheck"]["test"][0] == "CMD"
    seconds = {name: int(service["healthcheck"][name].removesuffix("s")) for name in ("interval", "timeout")}
    assert 10 <= seconds["interval"] <= 30
    assert seconds["timeout"] >= 10
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert how == {"condition": "service_healthy"}


@each_service
def test_mounts_exist(name: str) -> None:
    """What is mounted from the repository exists and is read-only; what is written has a volume."""
    assert all(path.exists() for path in mounts(name).values())
    for volume in SERVICES[name].get("volumes", ()):
        outside, _, mode = volume.partition(":")
        assert mode.endswith(":ro") if outside.startswith(".") else outside in COMPOSE["volumes"]


def test_simulator_and_exporter_fit() -> None:
    """The exporter's configuration loads, its flags parse, and its keys are those of the simulated platform."""
    simulation = parse(SERVICES["simulator"]["command"]).simulation
    assert simulation is not None
    platform = demo_platform(teams=simulation.teams, agents=simulation.agents, seed=simulation.seed)
    given = parse(SERVICES["exporter"]["command"])
    environment = SERVICES["exporter"]["environment"]
    settings = load(mounts("exporter")[str(given.config_file)], {}, {})
    polled = {team.name: environment[team.token_env] for team in settings.teams}
    assert polled == {name: team.token for name, team in platform.teams.items()}
    port = option("simulator", "--web.listen-address")
    assert settings.api.base_url == f"http://simulator{port}{platform.prefix}"
    assert SERVICES["exporter"]["ports"] == [f"127.0.0.1:{settings.web.listen_address[0].port}:10042"]


async def test_prometheus_configuration(tmp_path: Path) -> None:
    """Prometheus accepts its configuration and rules, and scrapes services that exist."""
    seen = mounts("prometheus")
    text = seen[option("prometheus", "--config.file")].read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    targets = [
        target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    targets += [t for a in config["alerting"]["alertmanagers"] for each in a["static_configs"] for t in each["targets"]]
    assert targets == ["exporter:10042", "alertmanager:9093"]
    assert all(target.partition(":")[0] in SERVICES for target in targets)
    for inside, outside in seen.items():
        text = text.replace(inside, str(outside))
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    await run(required("promtool"), "check", "config", str(tmp_path / "prometheus.yml"))
    assert list(Path(yaml.safe_load(text)["rule_files"][0]).parent.glob("*.yml"))


async def test_alertmanager_configuration() -> None:
    """Alertmanager accepts its configuration."""
    await run(required("amtool"), "check-config", str(mounts("alertmanager")[option("alertmanager", "--config.file")]))


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    """The provisioned data source is the Prometheus service, and dashboards are mounted where Grafana expects them."""
    seen = mounts("grafana")
    provisioning = seen["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/cyberun.yml").read_text())["providers"]
    folder = seen[provider["options"]["path"]]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (folder / home.name).is_file()
