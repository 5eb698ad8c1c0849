"""Whatever the platform sends, what is exposed stays valid: from bytes to both formats, with made-up hostility."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.catalog import TASK_STATUSES
from exporter.errors import PlatformError
from exporter.fleet.text import MAX_LENGTH
from exporter.platform import wire
from fixtures import FakeClient, Rig

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.sampled_from([2**63, 10**400, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.sampled_from(["2025-02-10T14:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now", ""])


def item_like(model: type[Any], **nested: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have the documented fields, each holding anything."""
    values = {name: nested.get(name, ANY_JSON | TIMES) for name in model.__dataclass_fields__}
    return st.fixed_dictionaries({}, optional=values) | ANY_JSON


GPUS = st.lists(item_like(wire.GpuDevice), max_size=3) | ANY_JSON
AGENTS = item_like(wire.Agent, agent_id=ANY_TEXT | ANY_JSON, system_stats=item_like(wire.SystemStats, gpu_devices=GPUS))
TASKS = item_like(wire.Task, id=ANY_TEXT, task_status=st.none(), status=st.none() | st.integers())


few = settings(max_examples=settings().max_examples // 4)  # each of these examples is a whole poll or two


def page(name: str, items: list[Any]) -> bytes:
    return json.dumps({name: items, "page_meta": {"total_count": len(items)}}).encode()


@few
@given(st.lists(AGENTS, max_size=6), st.lists(TASKS, max_size=4))
async def test_any_items(agents: list[Any], tasks: list[Any]) -> None:
    """Items of any shape give a valid exposition, the same in both formats, with no failure but a documented one."""
    client = FakeClient(agents=agents, tasks=dict.fromkeys(TASK_STATUSES, tasks), me={"quotas": {"x": 10**400}})
    rig = Rig.of(client, kind="device", with_labels=True)
    await rig.poll()
    await rig.poll(after=30.0)
    for name in ("tasks", "agents"):
        assert {attempt.reason for attempt in rig.collector(name).attempts} <= {None, "schema"}


@few
@given(ANY_JSON, ANY_JSON)
async def test_any_json(answer: Any, me: Any) -> None:
    """An answer of any shape fails its list for a documented reason, and nothing else."""
    body = json.dumps(answer).encode()
    client = FakeClient(me=me, raw={("/agents", ""): body, **{("/r/tasks", each): body for each in TASK_STATUSES}})
    rig = Rig.of(client, kind="device")
    await rig.poll()
    assert {rig.collector(name).attempts[0].reason for name in ("tasks", "agents")} <= {None, "schema"}


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """A body of any bytes is read or refused, without any other error."""
    for decode in (lambda: wire.decode_agents(body, 1), lambda: wire.decode_tasks(body, 1, "running")):
        with pytest.raises(PlatformError):
            decode()


@given(st.data())
def test_damaged_page(data: st.DataObject) -> None:
    """A good page with any byte changed, or cut anywhere, is read or refused, without any other error."""
    body = bytearray(page("agent_list", [{"agent_id": "a\u00e9\U0001f600", "gpu_capacity": 8, "agent_labels": ["x"]}]))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut])):
        with suppress(PlatformError):
            wire.decode_agents(damaged, 1)


@few
@given(st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=8, unique=True))
async def test_any_agent_ids(ids: list[str]) -> None:
    """Distinct ids stay distinct, and those that are printable and short are read back as they are."""
    items = [{"agent_id": each, "agent_labels": [each], "tool": each, "agent_status": each} for each in ids]
    # As the platform's JSON would hold them: halves of surrogate pairs cannot be told apart once they were sent.
    sent = list(dict.fromkeys(each.encode("utf-8", "replace").decode() for each in ids))
    found = await Rig.of(FakeClient(agents=items), with_labels=True).poll()
    shown = {labels["agent_id"] for labels in found.series("cyberun_agent_connected")}
    assert len(shown) == len(sent)
    for each in sent:
        if each.isprintable() and len(each) <= MAX_LENGTH:
            assert each in shown
            assert found.value("cyberun_agent_label", team_name="render", agent_id=each, label=each) == 1
