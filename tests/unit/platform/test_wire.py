"""Reading the items of pages: what is wrong in one costs only itself."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import SchemaMismatch
from exporter.platform import wire
from support.pages import AGENT, GPU, STATS, TASK, agents_of, differing, only, tasks_of

FIXTURES = Path(__file__).parents[2] / "fixtures"

NO_TEXT: tuple[Any, ...] = (1, 1.5, True, [], {}, ["a"], {"a": 1}, float("nan"))
NO_COUNT: tuple[Any, ...] = ("1", "", 1.5, True, False, [], {}, -1, 2**63, 10**400, float("nan"), float("inf"))
NO_BYTES: tuple[Any, ...] = ("1", True, [], {}, -1, -0.5, 2**63, 1e300, 10**400, float("nan"), float("-inf"))
NO_PERCENT: tuple[Any, ...] = ("45", True, [], {}, -0.1, 100.5, 101, float("nan"))
NO_TIME: tuple[Any, ...] = (
    *("", "never", "1739194200", "2025-02-10", "2025-02-10T14:00:00", "2025-13-10T14:00:00Z", "T", "P1DT5H"),
    *(1739194200, 1739194200.5, True, [], {}, "2025-02-10 14:00:00Z", "T1739194200", "0000-00-00T00:00:00Z"),
    *("20250210T140000Z", "2025-W07-1T14:00:00Z", "2025-02-10T14Z", "2025-02-10T24:00:00Z", "2025-02-10T23:59:60Z"),
    *("2025-02-10T14:00:00+24:00", "2025-02-10T14:00:00+00:60", "2025-02-10T14:00:00Z\n", "2025-02-30T14:00:00Z"),
)
NO_LIST: tuple[Any, ...] = (1, "gpu", True, {}, {"0": "gpu"}, [["gpu"]] * 300)
NO_OBJECT: tuple[Any, ...] = (1, "x", True, [], [{}])

WRONG_TASK: dict[str, tuple[Any, ...]] = {
    "task_status": NO_TEXT,
    "status": NO_TEXT,
    "created_at": NO_TIME,
    "started_at": NO_TIME,
    "completed_at": NO_TIME,
    "retry_count": NO_COUNT,
    "agent_labels": NO_LIST,
}
WRONG_STATS: dict[str, tuple[Any, ...]] = {
    "comfyui_version": NO_TEXT,
    "pytorch_version": NO_TEXT,
    "os_type": NO_TEXT,
    "gpu_devices": (1, "x", True, {}, [GPU] * 100),
}
WRONG_GPU: dict[str, tuple[Any, ...]] = {
    "device_name": NO_TEXT,
    "device_type": NO_TEXT,
    "vram_total": NO_BYTES,
    "vram_free": NO_BYTES,
}
WRONG_AGENT: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("agent_status", "agent_version", "tool", "tool_version", "comfyui_version", "platform_arch", "sync_phase"),
        NO_TEXT,
    ),
    **dict.fromkeys(("gpu_capacity", "running_count", "tasks_completed"), NO_COUNT),
    "agent_labels": NO_LIST,
    "last_heartbeat": NO_TIME,
    "connected_at": NO_TIME,
    "sync_percent": NO_PERCENT,
    "system_stats": NO_OBJECT,
}


def table(wrong: Mapping[str, tuple[Any, ...]]) -> list[Any]:
    """Every field with each kind of wrong value."""
    return [
        pytest.param(field, value, id=f"{field}={str(value)[:20]}")
        for field, values in wrong.items()
        for value in values
    ]


# --- The documented samples ---


def test_task_sample() -> None:
    """The documented answer of `GET /r/tasks` reads as documented, without anything dropped."""
    found = wire.decode_tasks((FIXTURES / "tasks.json").read_bytes(), 1, "completed")
    assert (found.total, found.per_page, found.last, found.missing, found.unknown) == (42, 20, 3, 19, {})
    task = only(found)
    assert task.id == "019abc12-9012-7890-abcd-ef1234567896"
    assert (task.task_status, task.retry_count, task.agent_labels) == ("completed", 0, ["gpu", "a100"])
    assert task.completed_at == datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC)


def test_agent_sample() -> None:
    """The documented answer of `GET /agents` reads as documented, without anything dropped."""
    found = wire.decode_agents((FIXTURES / "agents.json").read_bytes(), 1)
    assert (found.total, found.per_page, found.unknown) == (42, 20, {})
    agent = only(found)
    assert (agent.agent_id, agent.gpu_capacity, agent.running_count, agent.sync_percent) == ("gpu-node-01", 8, 3, 45)
    assert agent.system_stats.gpu_devices == [
        wire.GpuDevice("NVIDIA GeForce RTX 4090", "cuda", 25769803776, 22548578304)
    ]


def test_unknown_keys_are_ignored() -> None:
    """An undocumented field changes nothing, wherever it is."""
    more = {"brand_new": [{"deep": None}]}
    item = {**AGENT, **more, "system_stats": {**STATS, **more, "gpu_devices": [{**GPU, **more}]}}
    assert only(agents_of(item)) == only(agents_of(AGENT))
    body = json.dumps({"agent_list": [], "page_meta": {"total_count": 0, **more}, **more}).encode()
    assert wire.decode_agents(body, 1).items == []


# --- Isolation ---


@pytest.mark.parametrize(("field", "value"), table(WRONG_TASK))
def test_wrong_field_of_a_task(field: str, value: Any) -> None:
    """A value of a wrong type or out of range is dropped and counted; nothing else of the page is lost."""
    found = tasks_of({**TASK, field: value}, {**TASK, "id": "t2"})
    assert [item.id for item in found.items if item] == ["t1", "t2"]
    assert found.unknown == {field: 1}
    assert found.items[0]
    assert getattr(found.items[0], field) is None
    assert differing(found.items[0], found.items[1]) == ["id", field]


@pytest.mark.parametrize(("field", "value"), table(WRONG_AGENT))
def test_wrong_field_of_an_agent(field: str, value: Any) -> None:
    """The same for agents."""
    found = agents_of({**AGENT, field: value}, {**AGENT, "agent_id": "a2"})
    assert [item.agent_id for item in found.items if item] == ["a1", "a2"]
    assert found.unknown == {field: 1}
    assert found.items[0]
    assert getattr(found.items[0], field) is None
    assert differing(found.items[0], found.items[1]) == ["agent_id", field]


@pytest.mark.parametrize(("field", "value"), table(WRONG_STATS))
def test_wrong_field_of_the_system_stats(field: str, value: Any) -> None:
    """A wrong value inside a nested object loses neither the object nor the agent."""
    found = agents_of({**AGENT, "system_stats": {**STATS, field: value}})
    right = only(agents_of(AGENT))
    assert found.unknown == {field: 1}
    assert differing(only(found), right) == ["system_stats"]
    assert differing(only(found).system_stats, right.system_stats) == [field]


@pytest.mark.parametrize(("field", "value"), table(WRONG_GPU))
def test_wrong_field_of_a_gpu(field: str, value: Any) -> None:
    """A wrong value of a GPU affects neither its other values nor its position nor other GPUs."""
    found = agents_of({**AGENT, "system_stats": {**STATS, "gpu_devices": [GPU, {**GPU, field: value}, GPU]}})
    first, second, third = only(found).system_stats.gpu_devices
    assert found.unknown == {field: 1}
    assert first == third
    assert differing(first, second) == [field]


@pytest.mark.parametrize("value", [1, "x", True, [], [[]]])
def test_wrong_gpu_keeps_its_place(value: Any) -> None:
    """A GPU that is not an object is dropped; those after it keep their position."""
    found = agents_of({**AGENT, "system_stats": {**STATS, "gpu_devices": [value, GPU]}})
    assert found.unknown == {"gpu_devices": 1}
    assert only(found).system_stats.gpu_devices == [None, wire.GpuDevice("RTX", "cuda", 24e9, 1)]


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}])
def test_wrong_label_costs_itself(value: Any) -> None:
    """A label that is not text is dropped and counted; the others are kept."""
    found = agents_of({**AGENT, "agent_labels": ["gpu", value, "a100"]})
    assert (only(found).agent_labels, found.unknown) == (["gpu", None, "a100"], {"agent_labels": 1})


@pytest.mark.parametrize("value", [1, "x", True, [], [[]]])
def test_item_that_is_no_object(value: Any) -> None:
    """An item that is not an object is dropped and counted under its list; the others are kept."""
    found = agents_of(AGENT, value)
    assert found.unknown == {"agent_list": 1}
    assert found.items[0]
    assert found.items[1] is None
    assert tasks_of(value, TASK).unknown == {"task_list": 1}


@pytest.mark.parametrize("item", [AGENT, TASK], ids=["agent", "task"])
def test_null_is_a_way_to_leave_out(item: dict[str, Any]) -> None:
    """A null, and a missing field, mean "not known": nothing is counted."""
    decode = agents_of if item is AGENT else tasks_of
    nothing = decode(dict.fromkeys(item))
    assert nothing.unknown == {}
    assert only(nothing) == only(decode({}))
    assert decode(None).items == [None]


def test_everything_wrong_but_the_id() -> None:
    """An agent of which every field except the id is wrong is an agent with that id, and each field is counted."""
    item = {**{field: values[0] for field, values in WRONG_AGENT.items()}, "agent_id": "a1"}
    found = agents_of(item)
    assert only(found) == wire.Agent(agent_id="a1")
    assert found.unknown == dict.fromkeys(WRONG_AGENT, 1)
    assert found.unknown.keys() <= set(wire.FIELDS)


@pytest.mark.parametrize(
    ("text", "year"),
    [("9999-12-31T23:59:59-14:00", 9999), ("0001-01-01T00:00:00+14:00", 1), ("2025-02-10t14:00:00z", 2025)],
)
def test_extreme_times(text: str, year: int) -> None:
    """Times at the limits of the calendar, and lower-case letters, are valid RFC 3339."""
    found = only(tasks_of({**TASK, "created_at": text}))
    assert found.created_at.year == year


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-02-10T14:00:00.5Z", datetime(2025, 2, 10, 14, 0, 0, 500_000, tzinfo=UTC)),
        ("2025-02-10T14:00:00.123456789Z", datetime(2025, 2, 10, 14, 0, 0, 123_456, tzinfo=UTC)),
        ("2025-02-10T19:30:00+05:30", datetime(2025, 2, 10, 14, tzinfo=UTC)),
        ("2025-02-10T14:00:00-00:00", datetime(2025, 2, 10, 14, tzinfo=UTC)),
        ("2025-02-10T14:00:00,5Z", datetime(2025, 2, 10, 14, 0, 0, 500_000, tzinfo=UTC)),
        ("2025-02-10T14:00+0000", datetime(2025, 2, 10, 14, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    """Fractions of any length and any zone are read, and some forms that only ISO 8601 allows."""
    assert only(tasks_of({**TASK, "created_at": text})).created_at == moment


# --- The status of a task ---


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"task_status": None, "status": None},
        {"task_status": "running"},
        {"status": "running"},
        {"task_status": "running", "status": "queued"},
        {"task_status": None, "status": "running"},
        {"task_status": 7, "status": "running"},
        {"task_status": ""},
    ],
    ids=repr,
)
def test_status_under_either_name_or_none(stated: dict[str, Any]) -> None:
    """A task may state its status under either name or not at all; `task_status` takes precedence."""
    assert only(tasks_of({"id": "t1", **stated})).id == "t1"


@pytest.mark.parametrize(
    "stated",
    [{"task_status": "queued"}, {"status": "queued"}, {"task_status": "queued", "status": "running"}],
    ids=repr,
)
def test_status_other_than_asked_for(stated: dict[str, Any]) -> None:
    """A task with another status means that the filter was ignored: the page is refused, without unknown text."""
    with pytest.raises(SchemaMismatch, match="requested running tasks, got one with the status 'queued'"):
        tasks_of(TASK, {"id": "t2", **stated})
    with pytest.raises(SchemaMismatch) as caught:
        tasks_of({"id": "t2", "task_status": "x" * 10_000})
    assert "xx" not in str(caught.value)
