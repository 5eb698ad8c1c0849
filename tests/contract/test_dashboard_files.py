"""The files around the dashboards: their documentation page, links to runbooks, and provisioning."""

import json
import re

import yaml

from grafana import reading
from support import promql

DASHBOARDS = reading.load()


def test_every_dashboard_is_explained() -> None:
    """The documentation page lists each dashboard with its uid, its question and a picture."""
    docs = reading.FOLDER.parents[1] / "docs"
    page = (docs / "dashboards.md").read_text(encoding="utf-8")
    for uid, board in DASHBOARDS.items():
        assert f"`{uid}` | {board['description']} |" in page
        assert f"](images/{uid}.png)" in page
        assert 0 < (docs / "images" / f"{uid}.png").stat().st_size <= 300 * 1024


def test_runbooks_are_where_the_alerts_look_for_them() -> None:
    """The table of firing alerts links to the runbook that each alert names."""
    panel = next(p for p in reading.panels(DASHBOARDS["cyberun-overview"]) if p["title"].endswith("runbooks"))
    (url,) = re.findall(r'"(https://[^"]+)"', json.dumps(panel))
    alerts = [rule for rule in promql.rules() if "alert" in rule]
    for alert in alerts:
        assert url.replace("${__value.raw}", alert["alert"]) == alert["annotations"]["runbook_url"]


def test_provisioning_finds_the_dashboards() -> None:
    """The provisioning files define one default Prometheus data source and one read-only folder of dashboards."""
    folder = reading.FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    (provider,) = yaml.safe_load((folder / "dashboards" / "cyberun.yml").read_text(encoding="utf-8"))["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"].startswith("/")


def test_grafana_finds_every_folder_of_its_provisioning() -> None:
    """Every folder that Grafana reads at start exists and has a valid file; otherwise Grafana logs an error."""
    folder = reading.FOLDER.parent / "provisioning"
    assert {path.name for path in folder.iterdir()} == {"alerting", "dashboards", "datasources", "plugins"}
    for path in folder.glob("*/*"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1


def test_the_workflow_has_the_grafana_that_compose_starts() -> None:
    """The Grafana version in compose.yaml is one of those that the workflow tests."""
    root = reading.FOLDER.parents[1]
    workflow = yaml.safe_load((root / ".github" / "workflows" / "grafana.yml").read_text(encoding="utf-8"))
    compose = yaml.safe_load((root / "compose.yaml").read_text(encoding="utf-8"))
    started = compose["services"]["grafana"]["image"].rpartition(":")[2]
    assert started in workflow["jobs"]["provision"]["strategy"]["matrix"]["grafana"]
