"""Where the platform's documentation leaves something open, no number is wrong, however the platform behaves."""

from collections.abc import Collection
from typing import Final

import pytest

from exporter.demo import ASSUMPTIONS, SimulatedPlatform, reverse
from support import ExporterFactory, Samples, wait_until

COLLECT: Final = {"interval": "1s", "stale_after": "60s", "agent_labels": True}
API: Final = {"max_requests_per_second": 1000, "timeout": "5s"}
COUNTS: Final = {"pending": 1, "waiting": 2, "queued": 3, "running": 104, "completed": 230, "failed": 6, "cancelled": 7}
AGENTS: Final = 3
KINDS: Final = ("integration", "device", "jwt")


@pytest.fixture(params=[(), *((name,) for name in ASSUMPTIONS), ASSUMPTIONS], ids=["none", *ASSUMPTIONS, "all"])
def reversed_(request: pytest.FixtureRequest, platform: SimulatedPlatform) -> Collection[str]:
    """The assumptions that do not hold, on a platform with a team for each kind of credential."""
    names: Collection[str] = request.param
    platform.assumed = reverse(*names)
    for kind in KINDS:
        team = platform.add_team(kind, kind=kind, quotas={"max_agents": 5})
        team.add_agents(AGENTS)
        for status, count in COUNTS.items():
            agent = {} if status in {"pending", "waiting"} else {"agent_id": "gpu-node-01"}
            team.add_tasks(count, status=status, labels=["a100"], **agent)
        team.add_task(status="provisioning", labels=["a100"])
    return names


@pytest.fixture
async def samples(
    reversed_: Collection[str], platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> Samples:
    """The exposition after some polls."""
    assert platform.assumed == reverse(*reversed_)
    teams = [{"name": team.name, "team_id": team.team_id} for team in platform.teams.values()]
    exporter = await exporter_factory({"api": API, "collect": COLLECT, "teams": teams})

    async def polled() -> bool:
        # Whether `provisioning` can be asked for is known after the second poll; what the third publishes is there once
        # the fourth has ended.
        lists = [each for team in (await exporter.json("/api/v1/status"))["teams"] for each in team["collectors"]]
        return min(len(each["attempts"]) for each in lists) >= 4 and all(each["success"] for each in lists)

    await wait_until(polled, within=60)
    return await exporter.samples()


def of_tasks(samples: Samples, team: str) -> dict[str, float | None]:
    labels = samples.series("cyberun_tasks", team_name=team)
    return {each["status"]: samples.value("cyberun_tasks", **each) for each in labels}


async def test_no_number_is_wrong(reversed_: Collection[str], samples: Samples) -> None:
    """Tasks, agents and limits are right or absent; nothing is truncated, and nothing has failed."""
    for team in KINDS:
        _tasks_are_right(reversed_, samples, team)
        assert samples.value("cyberun_agents", team_name=team, status="idle") == AGENTS
        limit = samples.value("cyberun_team_quota", team_name=team, quota="teams.max_agents")
        assert limit == (5 if team != "integration" and "users_me" not in reversed_ else None)
    failed = "cyberun_exporter_api_request_failures_total"
    assert not [each for each in samples.series(failed) if samples.value(failed, **each)]


def _tasks_are_right(reversed_: Collection[str], samples: Samples, team: str) -> None:
    for collector in ("tasks", "agents"):
        assert samples.value("cyberun_collector_truncated", team_name=team, collector=collector) == 0
    beyond = "provisioning" if "provisioning_filter" in reversed_ else "other"
    assert of_tasks(samples, team) == {**COUNTS, beyond: 1}
    # Nobody has an a100; where only tasks that have an agent show labels, nothing is known of the waiting ones.
    stuck = samples.value("cyberun_tasks_without_eligible_agent", team_name=team)
    assert stuck == (None if "labels_before_assignment" in reversed_ else COUNTS["waiting"])
