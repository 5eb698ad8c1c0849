from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from exporter.demo import ASSUMED, ASSUMPTIONS, SimulatedPlatform, SimulatedTeam, UnknownAssumptionError, reverse
from exporter.demo.assumptions import turned
from exporter.demo.fleet import Listing

if TYPE_CHECKING:
    from unit.demo.conftest import Asker

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize("names", [(), *((name,) for name in ASSUMPTIONS), ("users_me", "status_field"), ASSUMPTIONS])
def test_assumptions_can_be_reversed(names: tuple[str, ...]) -> None:
    """Any one or several of the assumptions can be reversed, which leaves the others as they are."""
    expected = asdict(ASSUMED)
    changed = {key for key, value in asdict(reverse(*names)).items() if value != expected[key]}
    assert changed == set(names)


def test_an_assumption_that_nobody_made() -> None:
    """An unknown name is refused, and the message lists all assumptions."""
    with pytest.raises(UnknownAssumptionError, match=f"found 'users'; allowed: {', '.join(ASSUMPTIONS)}"):
        reverse("users_me", "users")


async def test_labels_on_assignment_alone(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """A task has labels before it has an agent; reversed, only once it has one."""
    team.add_task(status="waiting", labels=["a100"])
    team.add_task(status="running", labels=["a100"], agent_id="gpu-1")
    for assumed, count in ((ASSUMED, 2), (reverse("labels_before_assignment"), 1)):
        platform.assumed = assumed
        tasks = (await ask("/r/tasks", team.token)).json["task_list"]
        assert [task["task_status"] for task in tasks if "agent_labels" in task] == ["running", "waiting"][:count]


async def test_no_account(ask: "Asker", platform: SimulatedPlatform) -> None:
    """A deployment may not serve /users/me."""
    platform.assumed = reverse("users_me")
    reply = await ask("/users/me", "dk-research")
    assert (reply.status, list(reply.json)) == (404, ["error_message"])


@pytest.mark.parametrize(("names", "flat"), [((), False), (("nested_team_quotas",), True)])
async def test_limits_of_teams(
    ask: "Asker", platform: SimulatedPlatform, names: tuple[str, ...], *, flat: bool
) -> None:
    """A team's limits are found by its id, beside its features; reversed, without features."""
    platform.assumed = reverse(*names)
    limits = {"max_agents": 5, "max_workflows": -1}
    flags = (await ask("/users/me", "dk-research")).json["feature_flags"]
    expected = limits if flat else {"features": [], "quotas": limits}
    assert flags["teams"] == {platform.teams["research"].team_id: expected}
    assert flags.keys() == {"global", "account", "teams"}


async def test_provisioning_can_be_asked_for(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """The filter refuses `provisioning`; reversed, it lists those tasks."""
    mine = team.add_task(status="provisioning")
    assert (await ask("/r/tasks", team.token, status="provisioning")).status == 400
    platform.assumed = reverse("provisioning_filter")
    reply = await ask("/r/tasks", team.token, status="provisioning")
    assert [task["id"] for task in reply.json["task_list"]] == [mine]


async def test_a_total_of_everything(ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """The total counts what passes the filter; reversed, all tasks, although the page is the same."""
    team.add_tasks(3, status="running")
    team.add_tasks(4, status="waiting")
    platform.assumed = reverse("filtered_total")
    reply = await ask("/r/tasks", team.token, status="running")
    assert (len(reply.json["task_list"]), reply.json["page_meta"]["total_count"]) == (3, 7)


@pytest.mark.parametrize("path", ["/r/tasks", "/r/agents"])
async def test_an_order_that_does_not_last(
    ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam, path: str
) -> None:
    """Asking for a page twice returns the same items in the same order; reversed, in another order."""
    team.add_tasks(10)
    team.add_agents(10)
    bodies = []
    for assumed in (ASSUMED, reverse("stable_order")):
        platform.assumed = assumed
        answers = [(await ask(path, team.token)).json for _ in range(2)]
        bodies.append([next(value for key, value in answer.items() if key.endswith("_list")) for answer in answers])
    assert bodies[0][0] == bodies[0][1]
    assert bodies[1][0] != bodies[1][1]
    assert [sorted(map(str, items)) for items in bodies[1]] == [sorted(map(str, bodies[0][0]))] * 2


@pytest.mark.parametrize("total", [0, 1, 7, 20])
@pytest.mark.parametrize("by", [0, 1, 5, 23])
def test_pages_of_a_turned_list(total: int, by: int) -> None:
    """Rotating a list moves its items, and its pages still have each of them once."""
    items = list(range(total))
    listing = turned(Listing(total, lambda start, count: items[start : start + count]), by)
    pages = [listing.cut(start, 3) for start in range(0, total + 6, 3)]
    first = by % max(total, 1)
    assert [item for page in pages for item in page] == items[first:] + items[:first]


def test_ids_of_teams(platform: SimulatedPlatform) -> None:
    """A team's id is a UUID; reversed, an opaque word."""
    assert len(platform.add_team("first").team_id) == 36
    platform.assumed = reverse("uuid_team_ids")
    assert platform.add_team("second").team_id.startswith("team_01HX")


@pytest.mark.parametrize("per_page", ["1", "2", "100"])
async def test_two_machines_with_one_id(
    ask: "Asker", platform: SimulatedPlatform, team: SimulatedTeam, per_page: str
) -> None:
    """Ids of agents are unique; reversed, the first one is listed again at the end, and counted."""
    platform.assumed = reverse("unique_agent_ids")
    assert (await ask("/r/agents", team.token)).json["agent_list"] == []
    team.add_agents(3)
    seen = []
    for page in range(1, 6):
        reply = await ask("/r/agents", team.token, current_page=str(page), per_page=per_page)
        assert reply.json["page_meta"]["total_count"] == 4
        seen += [(agent["agent_id"], agent["tool"]) for agent in reply.json["agent_list"]]
    assert seen == [
        ("gpu-node-01", "comfyui"),
        ("gpu-node-02", "comfyui"),
        ("gpu-node-03", "comfyui"),
        ("gpu-node-01", "blender"),
    ]
