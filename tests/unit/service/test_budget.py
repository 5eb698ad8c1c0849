import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from exporter.catalog import ACTIVE_TASK_STATUSES, PROVISIONING, TASK_STATUSES
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.platform import wire
from exporter.service.budget import (
    MAX_REQUESTS_PER_POLL,
    MIN_REQUESTS_PER_POLL,
    requests_per_minute,
    series_per_agent,
    series_per_team,
    warnings,
)
from fixtures import FakeClient, Rig

FIXTURES = Path(__file__).parents[2] / "fixtures"
SAMPLE = json.loads((FIXTURES / "agents.json").read_text(encoding="utf-8"))["agent_list"][0]
TIME = "2025-02-10T13:00:00Z"


def settings_of(*intervals: str | None, **sections: Any) -> Settings:
    teams = [{"name": f"t{i}", "token_env": "T", "interval": each} for i, each in enumerate(intervals)]
    return load(None, {}, {"teams": teams, **sections})


def agent(gpus: int) -> dict[str, Any]:
    """An agent with every documented field; it syncs nothing."""
    stats = SAMPLE["system_stats"] | {"gpu_devices": SAMPLE["system_stats"]["gpu_devices"] * gpus}
    return {**SAMPLE, "sync_phase": None, "system_stats": stats}


def test_the_sample_has_every_field_that_is_read() -> None:
    """An agent with the fields of the documented sample has all series that an agent can have."""
    assert {field.name for field in fields(wire.Agent)} <= SAMPLE.keys()


def full_lists(count: int) -> dict[str, list[dict[str, Any]]]:
    task = {"created_at": TIME, "started_at": TIME, "agent_labels": ["a"]}
    return {status: [{"id": f"{status}{i}", **task} for i in range(count)] for status in TASK_STATUSES}


@pytest.mark.parametrize("gpus", [0, 1, 4])
async def test_series_per_agent(gpus: int) -> None:
    """The expected series of an agent are those that a poll gives it."""
    found = await Rig.of(FakeClient(agents=[agent(gpus)])).poll()
    shown = sum("agent_id" in dict(labels) for _, labels in found.values)
    assert shown == series_per_agent(gpus), (
        "give budget.series_per_agent's agent what the new series needs, and count it in families.series_of_agent"
    )


async def test_series_per_team() -> None:
    """The expected series of a team are those that a poll gives it, apart from its agents."""
    client = FakeClient(tasks=dict(full_lists(1)))
    rig = Rig.of(client)
    await rig.poll()
    found = await rig.poll(after=30.0)
    shown = found.value("cyberun_exporter_series", team_name="render")
    assert shown == series_per_team(), "add a new series to those that budget.series_per_team renders"


@pytest.mark.parametrize(
    ("count", "requests"), [(0, MIN_REQUESTS_PER_POLL), (100, MIN_REQUESTS_PER_POLL), (101, MAX_REQUESTS_PER_POLL)]
)
async def test_requests_per_poll(count: int, requests: int) -> None:
    """The budget's numbers are the requests of a poll with little and with much to read."""
    lists, filtered = full_lists(count), count > wire.PER_PAGE
    active = {status: lists[status] for status in ACTIVE_TASK_STATUSES}
    client = FakeClient(tasks={**active, PROVISIONING: active["pending"]}, provisioning=filtered)
    rig = Rig.of(client)
    for _ in range(2):  # the first two polls find out about `provisioning`
        await rig.poll(after=30.0)
    client.requests.clear()
    await rig.poll(after=30.0)
    assert len(client.requests) == requests


@pytest.mark.parametrize(
    ("intervals", "least", "most"),
    [((), 0, 0), ((None,), 16, 28), ((None, "15s"), 48, 84), (("1s",), 480, 840), (("2m",), 4, 7)],
)
def test_requests_per_minute(intervals: tuple[str | None, ...], least: float, most: float) -> None:
    """Each team counts by its own interval."""
    settings = settings_of("30s").model_copy(update={"teams": settings_of(*intervals or (None,)).teams})
    if not intervals:
        settings = settings.model_copy(update={"teams": ()})
    assert requests_per_minute(settings) == (least, most)


@pytest.mark.parametrize(("rate", "short"), [(10, False), (16 / 60, False), (0.2, True)])
def test_doubt_about_the_rate(rate: float, *, short: bool) -> None:
    """A request limit below what is needed causes a warning."""
    told = warnings(settings_of(None, api={"max_requests_per_second": rate}))
    assert any("requests a minute are needed, but" in each for each in told) == short
