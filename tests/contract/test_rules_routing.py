import re
from collections.abc import Mapping

import pytest
import yaml

from support.programs import content
from support.rules import ALERTS, FOLDER, Rule, lists_needed

CONFIG = FOLDER / "alertmanager.yml"
BY_SEVERITY = {"critical": "pager", "warning": "tickets", "info": "chat"}


async def receivers(**labels: str) -> list[str]:
    """The receivers of an alert with these labels."""
    matched = (f"{name}={value}" for name, value in labels.items())
    return (await content("amtool", "config", "routes", "test", f"--config.file={CONFIG}", *matched)).strip().split(",")


async def test_the_example_is_accepted() -> None:
    """Alertmanager accepts alertmanager.yml and finds every part of it."""
    output = await content("amtool", "check-config", str(CONFIG))
    assert "8 inhibit rules" in output
    assert "4 receivers" in output


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
async def test_each_alert_reaches_who_its_severity_calls_for(alert: Rule) -> None:
    """Critical alerts page, warnings make tickets, information goes to the chat."""
    labels = dict(alert.labels, alertname=alert.name, job="cyberun", team_name="render")
    assert await receivers(**labels) == [BY_SEVERITY[alert.labels["severity"]]]


async def test_a_team_hears_of_its_own_fleet_and_work() -> None:
    """A team with a receiver gets its tickets and, like the pager, its pages; operators get alerts about trust."""
    assert await receivers(team_name="research", severity="warning", area="work") == ["research"]
    assert await receivers(team_name="research", severity="critical", area="fleet") == ["pager", "research"]
    assert await receivers(team_name="research", severity="critical", area="trust") == ["pager"]
    assert await receivers(team_name="research", severity="warning", area="trust") == ["tickets"]


def silenced_by(**source: str) -> set[str]:
    """The alerts about fleet and work that the example silences for their team while this alert fires."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return {
        alert.name
        for rule in config["inhibit_rules"]
        if rule.get("equal") == ["job", "team_name"] and matches(rule["source_matchers"], source)
        for alert in ALERTS
        if matches(rule["target_matchers"], {"alertname": alert.name, **alert.labels})
    }


def matches(matchers: list[str], labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil every matcher of a rule."""
    for matcher in matchers:
        parsed = re.fullmatch(r'(\w+)(=~?)"(.*)"', matcher)
        assert parsed, matcher
        pattern = parsed[3] if parsed[2] == "=~" else re.escape(parsed[3])
        if not re.fullmatch(pattern, labels.get(parsed[1], "")):
            return False
    return True


@pytest.mark.parametrize("collector", ["tasks", "agents"])
def test_a_list_that_is_down_silences_what_needs_it_and_no_more(collector: str) -> None:
    """An alert is silenced exactly while a list that its numbers come from is down."""
    needing = {alert.name for alert in ALERTS if alert.labels["area"] != "trust" and collector in lists_needed(alert)}
    assert silenced_by(alertname="CyberunTeamDown", collector=collector) == needing
