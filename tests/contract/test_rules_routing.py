import asyncio

import pytest

from support import required
from support.rules import ALERTS, FOLDER, Rule

CONFIG = FOLDER / "alertmanager.yml"
BY_SEVERITY = {"critical": "pager", "warning": "tickets", "info": "chat"}


async def amtool(*arguments: str) -> str:
    """Runs amtool, which must be content, and returns its output."""
    process = await asyncio.create_subprocess_exec(
        required("amtool"), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    return output.decode()


async def receivers(**labels: str) -> list[str]:
    """Who is told of an alert with these labels."""
    matched = (f"{name}={value}" for name, value in labels.items())
    return (await amtool("config", "routes", "test", f"--config.file={CONFIG}", *matched)).strip().split(",")


async def test_the_example_is_accepted() -> None:
    """Alertmanager accepts alertmanager.yml, and every part of it is there."""
    output = await amtool("check-config", str(CONFIG))
    assert "6 inhibit rules" in output
    assert "4 receivers" in output


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
async def test_each_alert_reaches_who_its_severity_calls_for(alert: Rule) -> None:
    """Critical alerts page, warnings make tickets, information goes to the chat."""
    labels = dict(alert.labels, alertname=alert.name, job="cyberun", team_name="render")
    assert await receivers(**labels) == [BY_SEVERITY[alert.labels["severity"]]]


async def test_a_team_hears_of_its_own_fleet_and_work() -> None:
    """A team with a receiver gets its tickets and, beside the pager, its pages; trust stays with the operators."""
    assert await receivers(team_name="research", severity="warning", area="work") == ["research"]
    assert await receivers(team_name="research", severity="critical", area="fleet") == ["pager", "research"]
    assert await receivers(team_name="research", severity="critical", area="trust") == ["pager"]
    assert await receivers(team_name="research", severity="warning", area="trust") == ["tickets"]
