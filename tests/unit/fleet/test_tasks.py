from collections import Counter
from datetime import UTC, datetime

import pytest

from exporter.fleet.assignment import without_eligible_agent
from exporter.fleet.tasks import Task, oldest, read_tasks
from exporter.platform import wire

GPU, BIG, BOTH, NONE = frozenset({"gpu"}), frozenset({"h100"}), frozenset({"gpu", "h100"}), frozenset[str]()


def test_task() -> None:
    """Times become Unix seconds, missing retries none, labels a set; what is not known is None."""
    full = wire.Task(
        id="t1",
        created_at=datetime(2025, 2, 10, 14, tzinfo=UTC),
        started_at=datetime(2025, 2, 10, 14, 0, 5, tzinfo=UTC),
        completed_at=datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC),
        retry_count=3,
        agent_labels=["gpu", None],
    )
    page = wire.Page(1, [full, wire.Task(id="t2")], 2, 100, Counter())
    assert list(read_tasks(page, Counter())) == [
        Task(
            task_id="t1",
            created_at=1739196000.0,
            started_at=1739196005.0,
            completed_at=1739196090.0,
            retries=3,
            labels=GPU,
        ),
        Task(task_id="t2"),
    ]


def test_items_without_an_id() -> None:
    """An item without an id, and one that is no object, are skipped and counted; the rest is read."""
    unknown = Counter[str]()
    page = wire.Page(1, [None, wire.Task(), wire.Task(id=""), wire.Task(id="t1")], 4, 100, Counter())
    assert [task.task_id for task in read_tasks(page, unknown)] == ["t1"]
    assert unknown == {"id": 3}


@pytest.mark.parametrize(
    ("times", "earliest"), [([], None), ([None], None), ([3.0, None, 2.0], 2.0), ([0.5], 0.5), ([None, 7.0], 7.0)]
)
def test_oldest(times: list[float | None], earliest: float | None) -> None:
    """The earliest known time; None, not zero, when there is none."""
    assert oldest(times) == earliest


@pytest.mark.parametrize(
    ("required", "offered", "count"),
    [
        ({}, [], 0),
        ({GPU: 2}, [], 2),
        ({NONE: 2}, [], 2),
        ({NONE: 2}, [NONE], 0),
        ({GPU: 2}, [GPU], 0),
        ({GPU: 2}, [BOTH], 0),
        ({BOTH: 2}, [GPU, BIG], 2),
        ({GPU: 1, BIG: 2, BOTH: 4, NONE: 8}, [GPU, NONE], 6),
        ({GPU: 1}, [frozenset({"GPU"})], 1),
    ],
)
def test_without_eligible_agent(required: dict[frozenset[str], int], offered: list[frozenset[str]], count: int) -> None:
    """An agent is eligible when it has all labels a task requires; one agent must have them all."""
    assert without_eligible_agent(required, iter(offered)) == count
