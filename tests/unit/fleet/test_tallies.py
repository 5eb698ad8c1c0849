"""Sums over finished tasks: bounded, each task once, from 0 on."""

import pytest

from exporter.catalog import MAX_COMBINATIONS, OTHER
from exporter.fleet import tallies
from exporter.fleet.tallies import Combination, Tallies
from exporter.fleet.tasks import Task, TaskKind
from support.lists import Item, Poller, TaskLists, done

LATER = 1_000_000.0
ALL_OTHER = TaskKind(OTHER, OTHER, OTHER, OTHER)


def task(agent_id: str = "", gpu_type: str = "", *, seconds: float = 10.0) -> Task:
    kind = TaskKind(gpu_type=gpu_type)
    return Task(task_id="t", started_at=100.0, completed_at=100.0 + seconds, agent_id=agent_id, kind=kind)


def test_failed_tasks_by_agent() -> None:
    """Failed tasks count for their agent; other statuses and tasks without an agent do not."""
    new = {"failed": [task("a"), task("b"), task("a"), task()], "completed": [task("a")], "cancelled": [task("b")]}
    assert Tallies().after(new, ()).failed == {"a": 2, "b": 1}


def test_agents_that_failed_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: of too many agents, those whose last failure was longest ago are forgotten."""
    monkeypatch.setattr(tallies, "MAX_FAILING_AGENTS", 2)
    found = Tallies().after({"failed": [task("a"), task("b"), task("a"), task("c")]}, ())
    assert found.failed == {"a": 2, "c": 1}


def test_execution_by_combination() -> None:
    """Run times of finished tasks are summed by status and kind; an unknown run time adds nothing."""
    unknown = Task(task_id="u", completed_at=5.0)
    new = {"failed": [task(gpu_type="A100")], "completed": [task(gpu_type="A100"), task(gpu_type="A100"), unknown]}
    assert Tallies().after(new, ()).execution == {
        Combination("failed", TaskKind(gpu_type="A100")): 10.0,
        Combination("completed", TaskKind(gpu_type="A100")): 20.0,
    }


@pytest.mark.parametrize("task_", [task(seconds=-1.0), Task(task_id="t", started_at=1.0)], ids=["backwards", "no end"])
def test_a_run_that_is_not_known_adds_nothing(task_: Task) -> None:
    """A run time is unknown if a time is missing or it would be negative."""
    assert Tallies().after({"completed": [task_]}, ()).execution == {}


def test_combinations_begin_at_zero() -> None:
    """A combination that was seen starts at 0, so its first task is an increase."""
    seen = Combination("completed", TaskKind(gpu_type="A100"))
    first = Tallies().after({}, [seen])
    assert first.execution == {seen: 0.0}
    assert first.after({"completed": [task(gpu_type="A100")]}, [seen]).execution == {seen: 10.0}


def test_combinations_are_bounded() -> None:
    """Combinations beyond the limit are summed as other, by status; known ones continue, and nothing is lost."""
    kinds = [f"gpu{number}" for number in range(100)]
    found = Tallies().after({"completed": [task(gpu_type=kind) for kind in kinds]}, ())
    assert len(found.execution) == MAX_COMBINATIONS + 1
    assert found.execution[Combination("completed", ALL_OTHER)] == 10.0 * (100 - MAX_COMBINATIONS)
    found = found.after({"completed": [task(gpu_type="gpu0")], "failed": [task(gpu_type="new")]}, [])
    assert found.execution[Combination("completed", TaskKind(gpu_type="gpu0"))] == 20.0
    assert found.execution[Combination("failed", ALL_OTHER)] == 10.0
    assert sum(found.execution.values()) == 1020.0


def test_what_was_only_seen_takes_no_place_beyond_the_limit() -> None:
    """A combination that is only seen is not added when the limit is reached."""
    seen = [Combination("completed", TaskKind(gpu_type=f"gpu{number}")) for number in range(100)]
    assert len(Tallies().after({}, seen).execution) == MAX_COMBINATIONS


async def test_counted_once_and_from_the_first_poll_on() -> None:
    """Tasks that ended before the first poll add nothing; a later one counts once, even if never seen active."""
    lists = TaskLists()
    lists.put(done("old", LATER, LATER + 10), Item("r", "running", LATER, LATER + 1))
    poller = await Poller(lists).poll()
    key = Combination("completed", TaskKind())
    assert poller.timings.tallies.execution == {key: 0.0}
    lists.put(done("quick", LATER + 20, LATER + 25))
    lists.move("r", "completed", completed_at=LATER + 31)
    for _ in range(2):
        await poller.poll()
        assert poller.timings.tallies.execution == {key: 4.0 + 30.0}
