"""Finished tasks by workflow: the busiest have series, the rest share one, and memory is bounded."""

from collections.abc import Iterable

import pytest

from exporter.catalog import OTHER
from exporter.fleet import workflows
from exporter.fleet.tasks import Task
from exporter.fleet.workflows import Workflows


def tasks(ids: Iterable[str]) -> list[Task]:
    return [Task(task_id="t", started_at=1.0, completed_at=3.0, workflow_id=each) for each in ids]


def after(ids: Iterable[str], before: Workflows | None = None, *, seen: str = "", limit: int = 2) -> Workflows:
    """The result of a poll in which one task of each of these workflows (one letter each) completed."""
    return (before or Workflows()).after({"completed": tasks(ids)}, seen, limit)


def completed(found: Workflows) -> dict[str, int]:
    return {workflow_id: totals.finished["completed"] for workflow_id, totals in found.shown.items()}


def test_nothing_without_the_setting() -> None:
    """If no workflow may have series, there are none, not even `other`."""
    assert after("ab", limit=0) == Workflows()
    assert after("a", after("ab"), limit=0) == Workflows()


def test_the_first_workflows_have_places_and_the_rest_share_one() -> None:
    """Workflows get places while any are free; tasks of later ones, and those without a workflow, count as `other`."""
    assert completed(after(["a", "b", "c", "a", ""])) == {"a": 2, "b": 1, OTHER: 2}


def test_totals_by_status() -> None:
    """Every status begins at 0; run times are added up, and an unknown one adds nothing."""
    unknown = Task(task_id="u", workflow_id="a")
    totals = Workflows().after({"completed": tasks("aa"), "failed": [*tasks("a"), unknown]}, "", 1).shown["a"]
    assert totals.finished == {"completed": 2, "failed": 2, "cancelled": 0}
    assert totals.execution == {"completed": 4.0, "failed": 2.0, "cancelled": 0.0}


def test_counters_begin_at_zero() -> None:
    """A workflow seen while a place is free has counters at 0 before its first task ends."""
    assert completed(after("", seen="abc")) == {"a": 0, "b": 0, OTHER: 0}


def test_a_busier_workflow_takes_a_place() -> None:
    """Its counters begin at 0, as its earlier tasks counted as `other`: nothing counts twice, no counter decreases."""
    first = after("aaaabb")
    second = after("ccc", first)
    assert completed(second) == {"a": 4, "c": 0, OTHER: 3}
    assert completed(after("cb", second)) == {"a": 4, "c": 1, OTHER: 4}


def test_equally_busy_workflows_do_not_take_turns() -> None:
    """A workflow only takes another's place if it is clearly busier."""
    found = after("aaaabbbbcccc")
    for _ in range(20):
        found = after("cab", found)
        assert found.shown.keys() == {"a", "b", OTHER}


def test_a_lower_limit_keeps_the_busiest() -> None:
    """After a reload with fewer places, the busiest workflows keep theirs."""
    assert after("", after("aab"), limit=1).shown.keys() == {"a", OTHER}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are too many workflows, the least busy ones without series are forgotten."""
    monkeypatch.setattr(workflows, "MAX_RANKED", 3)
    found = after("aabbccdde")
    assert found.ranked.keys() >= {"a", "b"}
    assert len(found.ranked) == 3
    assert sum(completed(found).values()) == 9
