from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from exporter.demo import Order, SimulatedPlatform, SimulatedTeam
from support import CommandFactory, ExporterFactory, parse_text, wait_until

pytestmark = pytest.mark.both_ways

ACTIVE = ("pending", "waiting", "queued", "running")
FINAL = ("completed", "failed", "cancelled")

FAST = {"max_requests_per_second": 1000, "max_concurrency": 64}

# By team: tasks in each active status, finished tasks in each final status, agents; then the requests of a poll.
CASES: dict[str, tuple[Mapping[str, int], int, int, int]] = {
    "nothing": ({}, 0, 0, 3 + 4 + 1),
    "a-page": (dict.fromkeys(ACTIVE, 100), 0, 100, 3 + 4 + 1),
    "a-page-and-one": (dict.fromkeys(ACTIVE, 101), 0, 101, 3 + 8 + 2),
    "one-long-list": ({"waiting": 101}, 0, 1, 3 + 5 + 1),
    "very-long-lists": ({"pending": 100_000, "running": 100_000}, 0, 0, 3 + 6 + 1),
    "many-agents": ({}, 0, 1000, 3 + 4 + 10),
    "long-history": ({}, 30_000, 0, 3 + 4 + 1),
}


def fill(team: SimulatedTeam, active: Mapping[str, int], finished: int, agents: int) -> None:
    counts = {**active, **dict.fromkeys(FINAL, finished)}
    for status, count in counts.items():
        task_id = team.add_task(status=status, created_at="2025-02-10T14:00:00Z") if count else ""
        template = team.task(task_id) if count else {}
        team.put_tasks({**template, "id": f"{status}-{number}"} for number in range(count - 1))
    team.add_agents(agents)


@pytest.mark.assumes("filtered_total", "provisioning_filter", "stable_order", "unique_agent_ids")
async def test_a_poll_costs_what_the_contract_says(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """A poll costs 3 requests for final statuses, 1 or 2 for each active one, and one for each hundred agents.

    The first poll costs one more, to find out whether the platform filters by `provisioning`.
    """
    for name, (active, finished, agents, _) in CASES.items():
        fill(platform.add_team(name), active, finished, agents)
    done = await run_command("once", {"api": FAST})
    assert done.code == 0, done.stderr
    assert {name: platform.journal.count(team=name) for name in CASES} == {
        name: requests + 1 for name, (*_, requests) in CASES.items()
    }
    samples = parse_text(done.stdout)
    for name, (active, finished, agents, requests) in CASES.items():
        assert [samples.value("cyberun_tasks", team_name=name, status=status) for status in ACTIVE] == [
            active.get(status, 0) for status in ACTIVE
        ]
        assert samples.value("cyberun_tasks", team_name=name, status="completed") == finished
        assert samples.value("cyberun_agents", team_name=name, status="idle") == agents
        assert requests + 1 == sum(
            samples.value("cyberun_exporter_api_requests_total", team_name=name, path=path) or 0
            for path in ("/r/tasks", "/r/agents")
        )


@pytest.mark.parametrize("order", [Order.NEWEST_CREATED, Order.OLDEST_CREATED])
@pytest.mark.assumes("filtered_total", "provisioning_filter", "stable_order", "unique_agent_ids")
async def test_later_polls_cost_the_same(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, order: Order
) -> None:
    """However lists are sorted, no poll reads more of a long history than one page of each final status."""
    team = platform.add_team("render")
    team.order = order
    fill(team, {"running": 3}, 1050, 0)
    exporter = await exporter_factory({"api": FAST, "collect": {"interval": "1s"}})

    async def polled_often() -> bool:
        status = await exporter.json("/api/v1/status")
        return len(status["teams"][0]["collectors"][0]["attempts"]) >= 4

    await exporter.wait_listening()
    await wait_until(polled_often, within=20)
    assert await exporter.stop() == 0
    asked: Counter[Any] = Counter(call.query.get("status") for call in platform.journal.select(path="/r/tasks"))
    # Once whether it filters by `provisioning`; then the unfiltered total, in one poll of ten.
    assert (asked.pop("provisioning"), asked.pop(None)) == (1, 1)
    polls = asked["cancelled"]
    assert 4 <= polls <= 10
    # The last poll may have been cut off by the end.
    assert asked.keys() == {*ACTIVE, *FINAL}
    assert set(asked.values()) <= {polls, polls + 1}
