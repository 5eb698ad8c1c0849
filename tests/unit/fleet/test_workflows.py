"""Finished tasks by workflow: the busiest have series, the rest are together, and memory is bounded."""

from collections.abc import Iterable

import pytest

from exporter.catalog import OTHER
from exporter.fleet import workflows
from exporter.fleet.tasks import Task
from exporter.fleet.workflows import Workflows


def tasks(ids: Iterable[str]) -> list[Task]:
    return [Task(task_id="t", started_at=1.0, completed_at=3.0, workflow_id=each) for each in ids]


def after(ids: Iterable[str], before: Workflows | None = None, *, seen: str = "", limit: int = 2) -> Workflows:
    """A poll in which a task of each of these workflows, of one letter each, completed."""
    return (before or Workflows()).after({"completed": tasks(ids)}, seen, limit)


def completed(found: Workflows) -> dict[str, int]:
    return {workflow_id: totals.finished["completed"] for workflow_id, totals in found.shown.items()}


def test_nothing_without_the_setting() -> None:
    """With none allowed there is nothing, not even the rest."""
    assert after("ab", limit=0) == Workflows()
    assert after("a", after("ab"), limit=0) == Workflows()


def test_the_first_ones_have_places_and_the_rest_is_together() -> None:
    """As long as places are free each workflow has its own; then tasks are `other`, as are those without a workflow."""
    assert completed(after(["a", "b", "c", "a", ""])) == {"a": 2, "b": 1, OTHER: 2}


def test_totals_by_status() -> None:
    """Every status begins at 0; run times are summed up, and one that is not known adds nothing."""
    unknown = Task(task_id="u", workflow_id="a")
    totals = Workflows().after({"completed": tasks("aa"), "failed": [*tasks("a"), unknown]}, "", 1).shown["a"]
    assert totals.finished == {"completed": 2, "failed": 2, "cancelled": 0}
    assert totals.execution == {"completed": 4.0, "failed": 2.0, "cancelled": 0.0}


def test_counters_begin_at_zero() -> None:
    """A workflow that is seen while a place is free has its counters before its first task ends."""
    assert completed(after("", seen="abc")) == {"a": 0, "b": 0, OTHER: 0}


def test_a_busier_workflow_takes_a_place() -> None:
    """It begins at 0 where what it finished before was `other`, so nothing is counted twice; nothing ever falls."""
    first = after("aaaabb")
    second = after("ccc", first)
    assert completed(second) == {"a": 4, "c": 0, OTHER: 3}
    assert completed(after("cb", second)) == {"a": 4, "c": 1, OTHER: 4}


def test_equally_busy_workflows_do_not_take_turns() -> None:
    """A place is only taken by a workflow that is clearly busier."""
    found = after("aaaabbbbcccc")
    for _ in range(20):
        found = after("cab", found)
        assert found.shown.keys() == {"a", "b", OTHER}


def test_a_lower_limit_keeps_the_busiest() -> None:
    """After a reload with fewer places the busiest workflows keep theirs."""
    assert after("", after("aab"), limit=1).shown.keys() == {"a", OTHER}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many workflows the least busy ones without series are forgotten."""
    monkeypatch.setattr(workflows, "MAX_RANKED", 3)
    found = after("aabbccdde")
    assert found.ranked.keys() >= {"a", "b"}
    assert len(found.ranked) == 3
    assert sum(completed(found).values()) == 9
