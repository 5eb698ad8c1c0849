from typing import Any, NoReturn

import pytest

from exporter.demo import Order, SimulatedPlatform, SimulatedTeam

T0 = "2025-02-10T14:00:00Z"


@pytest.fixture
def team() -> SimulatedTeam:
    return SimulatedPlatform(clock=lambda: 1_800_000_000.0).add_team("render")


def ids(team: SimulatedTeam, status: str | None = None) -> list[str]:
    listing = team.tasks(status)
    return [task["id"] for task in listing.cut(0, listing.total)]


def put(team: SimulatedTeam, task_id: str, created: Any, completed: Any = None) -> None:
    team.put_task({"id": task_id, "task_status": "completed", "created_at": created, "completed_at": completed})


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.NEWEST_CREATED, ["c", "b", "a"]),
        (Order.OLDEST_CREATED, ["a", "b", "c"]),
        (Order.NEWEST_FINISHED, ["a", "c", "b"]),
        (Order.OLDEST_FINISHED, ["b", "c", "a"]),
    ],
)
def test_order(team: SimulatedTeam, order: Order, expected: list[str]) -> None:
    """Each order sorts as its name says, even if only fractions of a second differ or it is set afterwards."""
    put(team, "b", "2025-02-10T14:00:00.5Z", "2025-02-10T15:00:00Z")
    put(team, "a", T0, "2025-02-10T15:00:02Z")
    put(team, "c", "2025-02-10T14:00:01Z", "2025-02-10T15:00:01Z")
    team.order = order
    assert ids(team) == ids(team, "completed") == expected


def test_moving_a_task_changes_its_list(team: SimulatedTeam) -> None:
    """A task is in exactly one status and in the list of all."""
    task_id = team.add_task(status="waiting", created_at=0)
    team.move(task_id, status="running", started_at=90.25, agent_labels=None)
    assert ids(team, "waiting") == []
    assert ids(team, "running") == ids(team) == [task_id]
    task = team.task(task_id)
    assert task["created_at"] == "1970-01-01T00:00:00Z"
    assert task["started_at"] == "1970-01-01T00:01:30.250Z"
    assert "agent_labels" not in task


def test_hand_written_tasks_may_hold_anything(team: SimulatedTeam) -> None:
    """Fields other than the id may be missing or wrong: such tasks sort first and can be removed again."""
    for number, created in enumerate((None, 5, {"x": 1}, "2025")):
        put(team, str(number), created)
    team.put_task({"id": "bare"})
    assert sorted(ids(team)) == ["0", "1", "2", "3", "bare"]
    for task_id in ids(team):
        team.remove_task(task_id)
    assert ids(team) == []


def test_put_tasks_replaces(team: SimulatedTeam) -> None:
    """Putting many tasks replaces those with the same ids; of equal ids in one call, the last wins."""
    put(team, "a", T0)
    team.put_tasks(
        [{"id": "b", "created_at": T0}, {"id": "a", "task_status": "x"}, {"id": "a", "task_status": "failed"}]
    )
    assert sorted(ids(team)) == ["a", "b"]
    assert ids(team, "failed") == ["a"]
    assert ids(team, "completed") == []


def test_agents(team: SimulatedTeam) -> None:
    """Agents are listed by id; removed ones are gone; what was put in was copied."""
    team.add_agents(3, gpus=2, status="busy")
    given = {"agent_id": "a"}
    team.put_agent(given)
    given["agent_id"] = "changed"
    team.remove_agent("gpu-node-02")
    team.remove_agent("never-there")
    team.update_agent("gpu-node-03", status="tunnel", last_heartbeat=0)
    listing = team.agents()
    assert [agent["agent_id"] for agent in listing.cut(0, 10)] == ["a", "gpu-node-01", "gpu-node-03"]
    assert team.agent("gpu-node-01")["agent_status"] == "busy"
    assert len(team.agent("gpu-node-01")["system_stats"]["gpu_devices"]) == 2
    assert team.agent("gpu-node-03")["agent_status"] == "tunnel"
    assert team.agent("gpu-node-03")["last_heartbeat"] == "1970-01-01T00:00:00Z"


class Counted(list[Any]):
    """A list that counts the items taken out of it, and cannot be iterated."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.taken += len(found) if isinstance(key, slice) else 1
        return found

    def __iter__(self) -> NoReturn:
        raise AssertionError("the whole list was read")


@pytest.mark.parametrize("order", list(Order))
def test_a_page_costs_a_slice(team: SimulatedTeam, order: Order) -> None:
    """A page of a long list costs no more than one of a short list, wherever it lies."""
    team.order = order
    team.add_tasks(2000, status="waiting")
    view = team._views["waiting"] = Counted(team._views["waiting"])
    assert len(team.tasks("waiting").cut(1900, 50)) == 50
    assert view.taken == 50


def test_ids_are_uuid7_and_repeatable() -> None:
    """The same seed and clock give the same ids, credentials and team ids; versions are 7."""

    def made(seed: int) -> list[Any]:
        platform = SimulatedPlatform(seed=seed, clock=lambda: 1_800_000_000.0)
        team = platform.add_team("a", kind="jwt")
        return [team.team_id, team.token, team.refresh_token, *team.add_tasks(3)]

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert {task_id[14] for task_id in made(1)[3:]} == {"7"}
