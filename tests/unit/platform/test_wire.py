"""Reading pages from bytes, valid and invalid."""

import json
import sys
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import PlatformError, SchemaMismatch, Undecodable
from exporter.platform import account, wire
from exporter.platform.bounds import MAX_BYTES, takes_long

FIXTURES = Path(__file__).parents[2] / "fixtures"

TASK: dict[str, Any] = {
    "id": "t1",
    "task_status": "running",
    "status": "running",
    "created_at": "2025-02-10T14:00:00Z",
    "started_at": "2025-02-10T14:00:05Z",
    "completed_at": "2025-02-10T14:01:30Z",
    "retry_count": 2,
    "agent_id": "a1",
    "agent_labels": ["gpu"],
    "gpu_type": "A100",
    "dispatch_target": "agent",
    "target_pool": "team",
    "tool_type": "comfyui",
}
GPU: dict[str, Any] = {"device_name": "RTX", "device_type": "cuda", "vram_total": 24e9, "vram_free": 1}
STATS: dict[str, Any] = {
    "comfyui_version": "0.3.10",
    "pytorch_version": "2.5.1",
    "os_type": "posix",
    "gpu_devices": [GPU],
}
AGENT: dict[str, Any] = {
    "agent_id": "a1",
    "agent_status": "idle",
    "agent_labels": ["gpu"],
    "last_heartbeat": "2025-02-10T14:30:00Z",
    "connected_at": "2025-02-10T14:00:00Z",
    "agent_version": "0.1.3",
    "tool": "comfyui",
    "tool_version": "0.3.13",
    "comfyui_version": "0.3.13",
    "platform_arch": "linux/amd64",
    "gpu_capacity": 8,
    "running_count": 3,
    "tasks_completed": 42,
    "sync_phase": "downloading",
    "sync_percent": 45,
    "system_stats": STATS,
}

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


def page(name: str, items: Any, total: Any = 1, **meta: Any) -> bytes:
    return json.dumps({name: items, "page_meta": {"total_count": total, **meta}}).encode()


def agents_of(*items: Any, total: int | None = None) -> wire.Page[wire.Agent]:
    return wire.decode_agents(page("agent_list", items, len(items) if total is None else total), 1)


def tasks_of(*items: Any, status: str = "running") -> wire.Page[wire.Task]:
    return wire.decode_tasks(page("task_list", items, len(items)), 1, status)


def only(found: wire.Page[Any]) -> Any:
    [item] = found.items
    assert item is not None
    return item


def differing(a: Any, b: Any) -> list[str]:
    return [field for field in type(a).__dataclass_fields__ if getattr(a, field) != getattr(b, field)]


# --- The documented samples ---------------------------------------------------------------------------------


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


# --- Isolation ----------------------------------------------------------------------------------------------


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


# --- The page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "total", [1.0, 1.5, "1", "", None, -1, True, False, [], {}, 2**63, 10**30, float("nan"), float("inf")], ids=repr
)
def test_total_count_that_is_no_whole_number(total: Any) -> None:
    """A page whose total is not a whole number is refused, with the name of the field."""
    with pytest.raises(SchemaMismatch, match="page_meta"):
        wire.decode_agents(page("agent_list", [AGENT], total), 1)


@pytest.mark.parametrize(
    "body",
    [
        {"agent_list": []},
        {"agent_list": [], "page_meta": None},
        {"agent_list": [], "page_meta": {}},
        {"agent_list": [], "page_meta": [1]},
        {"agent_list": [], "page_meta": 1},
        {"page_meta": {"total_count": 0}},
        {"task_list": [], "page_meta": {"total_count": 0}},
        {"agent_list": {}, "page_meta": {"total_count": 0}},
        {"agent_list": "x", "page_meta": {"total_count": 0}},
        {"agent_list": 7, "page_meta": {"total_count": 0}},
        {},
        [],
        [{"agent_list": []}],
        "agents",
        1,
        None,
        True,
    ],
    ids=lambda body: json.dumps(body)[:50],
)
def test_what_is_no_list(body: Any) -> None:
    """JSON that is not the documented shape is a schema mismatch."""
    with pytest.raises(SchemaMismatch):
        wire.decode_agents(json.dumps(body).encode(), 1)


def test_a_byte_order_mark_is_no_mistake() -> None:
    """A byte order mark before the JSON is accepted, because some servers send it."""
    assert wire.decode_agents(b"\xef\xbb\xbf" + page("agent_list", [AGENT], 1), 1).items[0] is not None


def test_null_list_is_an_empty_one() -> None:
    """A null list counts as empty, because some servers write empty lists that way."""
    assert wire.decode_agents(page("agent_list", None, 0), 1).items == []


def test_null_list_of_many_is_a_contradiction() -> None:
    """A null list with a total above 0 is refused, because its items are unknown."""
    with pytest.raises(SchemaMismatch, match="agent_list is null, but total_count is 42"):
        wire.decode_agents(page("agent_list", None, 42), 1)
    with pytest.raises(SchemaMismatch, match="task_list is null, but total_count is 1"):
        wire.decode_tasks(page("task_list", None, 1), 1, "running")
    assert wire.decode_tasks(page("task_list", None, 100), 2, "running").items == []
    assert wire.decode_tasks(page("task_list", None, 0), 1, "running").items == []


@pytest.mark.parametrize(("count", "total", "number"), [(1, 0, 1), (2, 1, 1), (1, 100, 2), (3, 102, 2), (1, 5, 7)])
def test_more_items_than_the_total(count: int, total: int, number: int) -> None:
    """A page with more items than its own total allows is refused."""
    with pytest.raises(SchemaMismatch, match=f"page {number} has {count} items of a list of {total}"):
        wire.decode_agents(page("agent_list", [AGENT] * count, total), number)


@pytest.mark.parametrize(
    ("count", "total", "stated", "size", "last", "missing"),
    [
        (0, 0, 100, 100, 1, 0),
        (100, 100, 100, 100, 1, 0),
        (100, 101, 100, 100, 2, 0),
        (20, 42, 20, 20, 3, 0),  # smaller than asked for
        (19, 42, 20, 20, 3, 1),
        (20, 42, None, 100, 1, 22),
        (42, 42, 20, 42, 1, 0),  # states one size and sends another
        (150, 150, 100, 150, 1, 0),  # ignores per_page
        (300, 1000, 100, 300, 4, 0),
        (0, 150, 100, 100, 2, 100),
        (100, 150, 0, 100, 2, 0),
        (100, 150, -5, 100, 2, 0),
        (100, 150, "20", 100, 2, 0),
        (100, 150, 20.0, 100, 2, 0),
        (0, 150, True, 100, 2, 100),
        (100, 150, 5000, 100, 2, 0),
    ],
)
def test_page_size(count: int, total: int, stated: Any, size: int, last: int, missing: int) -> None:
    """The page size is the requested one, unless the platform states a smaller one or sends more."""
    found = wire.decode_agents(page("agent_list", [{}] * count, total, per_page=stated), 1)
    assert (found.per_page, found.last, found.missing) == (size, last, missing)


def test_last_page_may_be_short() -> None:
    """A last page with the remaining items lacks nothing; one beyond the end is empty."""
    assert wire.decode_agents(page("agent_list", [AGENT], 101), 2).missing == 0
    assert wire.decode_agents(page("agent_list", [], 101), 2).missing == 1
    assert wire.decode_agents(page("agent_list", [], 101), 3).missing == 0


# --- The status of a task -----------------------------------------------------------------------------------


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


# --- Bodies that a strict reader refuses --------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xff\xfe",
        b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
        b'{"agent_list": [{"agent_id": "a1"',
        page("agent_list", [AGENT])[:-1],
        page("agent_list", [AGENT]) + b"}",
        b"{'agent_list': []}",
        b"[" * 50_000,
        b'{"agent_list":' * 5000,
        b"nul",
        b"\x00",
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json(body: bytes) -> None:
    """A body that is not JSON is reported as such, without repeating any part of it."""
    for decode in (lambda: wire.decode_agents(body, 1), lambda: wire.decode_tasks(body, 1, "running")):
        with pytest.raises(Undecodable, match=r"^the body is not JSON: .{5,60}$"):
            decode()


def test_deep_nesting_in_a_field_nobody_reads() -> None:
    """Nesting that is too deep for the parser, which depends on the Python version, fails at most the page."""
    body = page("agent_list", [AGENT]).replace(b'"a1"', b'"a1","x":' + b"[" * 50_000 + b"]" * 50_000)
    try:
        found = wire.decode_agents(body, 1)
    except Undecodable:
        assert sys.version_info < (3, 14)
    else:
        assert only(found).gpu_capacity == 8


@pytest.mark.parametrize("sign", ["", "-"])
def test_number_of_five_thousand_digits(sign: str) -> None:
    """A number that no parser accepts only loses its own field."""
    body = page("agent_list", [AGENT]).replace(b'"running_count": 3', f'"running_count": {sign}{"9" * 5000}'.encode())
    found = wire.decode_agents(body, 1)
    assert found.unknown == {"running_count": 1}
    assert only(found).gpu_capacity == 8


@pytest.mark.parametrize("number", [b"9" * 5000, b"1" + b"0" * 400, b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_total_of_absurd_size(number: bytes) -> None:
    """A huge total is a schema mismatch."""
    with pytest.raises(SchemaMismatch, match="page_meta"):
        wire.decode_agents(page("agent_list", [AGENT], 77).replace(b"77", number), 1)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_json_does_not_have(number: bytes) -> None:
    """NaN and infinities, which some servers write, only lose their own field."""
    body = page("agent_list", [AGENT]).replace(b'"vram_free": 1', b'"vram_free": ' + number)
    assert wire.decode_agents(body, 1).unknown == {"vram_free": 1}


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"a\xffb", "a\N{REPLACEMENT CHARACTER}b"),
        (b"a\xed\xa0\x80b", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"),
        (b"a\\ud800b", "a?b"),
        (b"a\\udc00\\ud800b", "a??b"),
        (b"a\\ud83d\\ude00b", "a\N{GRINNING FACE}b"),
        (b"a\\ud83d\\ude00\\uDE00b", "a\N{GRINNING FACE}?b"),
        (b"a\\ud800\\\\ud800b", "a?\\ud800b"),
        (b"a\\u0000b", "a\x00b"),
    ],
)
def test_text_that_is_no_unicode(raw: bytes, read: str) -> None:
    """Invalid UTF-8 and lone surrogates are replaced; the text, its item and its page are kept."""
    found = wire.decode_agents(page("agent_list", [AGENT]).replace(b'"a1"', b'"' + raw + b'"'), 1)
    assert (only(found).agent_id, found.unknown) == (read, {})


def test_large_page_with_text_that_is_no_unicode() -> None:
    """One such text costs a page no more than itself, however large a page may be."""
    agents = [{**AGENT, "agent_id": f"a{number}", "agent_labels": ["l" * 380] * 100} for number in range(100)]
    body = page("agent_list", agents, total=100).replace(b'"a7"', b'"a7\\ud800"')
    assert 0.9 * MAX_BYTES < len(body) < MAX_BYTES
    found = wire.decode_agents(body, 1)
    assert (len(found.items), found.unknown) == (100, {})


def test_key_twice() -> None:
    """Of a duplicate key the last value counts, as in every JSON parser."""
    body = page("agent_list", [AGENT]).replace(b'"a1"', b'"a0", "agent_id": "a2"')
    assert only(wire.decode_agents(body, 1)).agent_id == "a2"


@pytest.mark.parametrize(
    "item", [b"1", b"{}", b"null", b'"x"', b"[]", b'{"agent_id":1}'], ids=lambda item: item.decode()
)
def test_list_without_end(item: bytes) -> None:
    """A page with too many items is refused without keeping all of its mistakes in memory."""
    rest = b'":[' + b",".join([item] * 20_000) + b'],"page_meta":{"total_count":20000}}'
    with pytest.raises(SchemaMismatch, match="agent_list"):
        wire.decode_agents(b'{"agent_list' + rest, 1)
    with pytest.raises(SchemaMismatch, match="task_list"):
        wire.decode_tasks(b'{"task_list' + rest, 1, "running")


def test_lists_inside_items_are_bounded() -> None:
    """A list with an unrealistic number of labels or GPUs is dropped as one wrong field."""
    longest = {**AGENT, "agent_labels": ["a"] * 256, "system_stats": {"gpu_devices": [{}] * 64}}
    assert agents_of(longest).unknown == {}
    longer = {**AGENT, "agent_labels": [1] * 257, "system_stats": {"gpu_devices": [1] * 65}}
    assert agents_of(longer).unknown == {"agent_labels": 1, "gpu_devices": 1}


# --- /users/me ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "teams", "flags"),
    [
        ({}, None, None),
        ({"team_list": None, "feature_flags": None}, None, None),
        ({"team_list": [{"id": "x", "display_name": "X"}]}, [account.OwnTeam("x", "X")], None),
        (
            {"team_list": [{"id": 7}, None, 1], "feature_flags": {"global": 4}},
            [account.OwnTeam(), None, None],
            {"global": 4},
        ),
        ({"team_list": {}, "feature_flags": []}, None, None),
        ({"team_list": [{"id": "x", "more": [1]}], "feature_flags": "many"}, [account.OwnTeam("x")], None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_me(answer: Any, teams: Any, flags: Any) -> None:
    """Every part of `/users/me` may be missing or wrong; the rest is read."""
    assert account.decode_me(json.dumps(answer).encode()) == account.Me(teams, flags)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", SchemaMismatch), (b"1", SchemaMismatch), (b"", Undecodable), (b"<html>", Undecodable)]
)
def test_me_that_is_no_object(body: bytes, kind: type[PlatformError]) -> None:
    """An answer that is not a JSON object is refused."""
    with pytest.raises(kind):
        account.decode_me(body)


BOMBS = {
    "numbers": b"1," * 600_000 + b"1",
    "empty lists": b"[]," * 600_000 + b"[]",
    "nested lists": b"[" * 600_000 + b"]" * 600_000,
    "lists in a field": b'{"agent_id": "a", "x": [' + b"[]," * 600_000 + b"[]]}",
    "objects": b"{}," * 600_000 + b"{}",
    "keys": b"{" + b",".join(b'"%d":0' % i for i in range(100_000)) + b"}",
    "labels": b",".join([b'{"agent_id": "a", "agent_labels": [' + b"7," * 229 + b"7]}"] * 1000),
}


@pytest.mark.parametrize("shape", BOMBS)
def test_an_answer_of_absurdly_many_values_is_refused_unread(shape: str) -> None:
    """JSON that would take seconds and gigabytes is refused before it is parsed, whatever its shape."""
    listed = b'"agent_list": [' + BOMBS[shape] + b'], "task_list": [], "team_list": []'
    body = b'{"page_meta": {"total_count": 1}, "refresh_token": "a", ' + listed + b"}"
    tracemalloc.start()
    for decode in (
        lambda: wire.decode_agents(body, 1),
        lambda: wire.decode_tasks(body, 1, "running"),
        lambda: account.decode_me(body),
        lambda: account.decode_tokens(body),
    ):
        with pytest.raises(SchemaMismatch, match=r"more than 60000 values in one answer|too large"):
            decode()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_long_text_is_no_such_answer() -> None:
    """The limit is on the number of values, not on their length."""
    long_text = {**AGENT, "tool": "x" * 2_000_000}
    assert len(wire.decode_agents(page("agent_list", [long_text]), 1).items) == 1


@pytest.mark.parametrize(("agents", "labels", "slow"), [(100, 40, False), (100, 90, True), (1000, 10, True)])
def test_what_takes_long_is_known_before_it_is_read(agents: int, labels: int, slow: bool) -> None:  # noqa: FBT001  a parameter
    """An ordinary page is read directly; one with more values than two pages have, in a thread."""
    assert takes_long(page("agent_list", [{"agent_id": "a", "agent_labels": ["x"] * labels}] * agents)) is slow
