"""Limits of one answer: they apply before objects are built, and a long text costs only that text."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import SchemaMismatch
from exporter.platform import bounds, wire
from exporter.platform.bounds import MAX_BYTES, MAX_TEXT, MAX_VALUES, bounded

LIMIT = 16 * 1024 * 1024
"""The default of `api.max_response_bytes`."""


def agents(*items: Any) -> bytes:
    """A page of these agents."""
    meta = {"total_count": len(items)}
    return json.dumps({"page_meta": meta, "agent_list": items}, ensure_ascii=False).encode()


def long(begin: str, unit: str, end: str = "", size: int = LIMIT - 4096) -> str:
    """A text of about `size` bytes."""
    return begin + unit * (size // len(unit.encode())) + end


@pytest.mark.parametrize(
    "text",
    [
        long("", "x"),
        long("x", "é"),
        long("", "界"),
        long("", "\N{PILE OF POO}"),
        long("", "x", "\N{PILE OF POO}"),
        long("", "\\", size=MAX_BYTES),
        long("", ", [{", size=40_000) + long("", "x", size=MAX_BYTES),
    ],
    ids=("ASCII", "Latin", "Chinese", "emoji", "one emoji", "backslashes", "punctuation"),
)
def test_a_long_text_costs_only_itself(text: str) -> None:
    """A long text is shortened before it is built; otherwise one emoji would make it take four times the memory."""
    body = agents({"agent_id": "a", "tool": text, "gpu_capacity": 7})
    tracemalloc.start()
    [agent] = wire.decode_agents(body, 1).items
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert agent is not None
    assert (agent.agent_id, agent.gpu_capacity) == ("a", 7)
    assert agent.tool is not None
    assert text.startswith(agent.tool.partition("~")[0])


@pytest.mark.parametrize("text", ["a," * 700, '"[{,\\' * 300, "," * (MAX_TEXT + 1)])
def test_punctuation_in_texts_is_no_value(text: str) -> None:
    """A prompt or an error text full of commas, in a field that is not read, does not make a page too large."""
    body = agents(*({"agent_id": f"a{number}", "gpu_capacity": 7, "prompt": text} for number in range(100)))
    assert [agent and agent.gpu_capacity for agent in wire.decode_agents(body, 1).items] == [7] * 100
    many = agents(*({"agent_id": "a", "x": [[], text, {}] * 40} for _ in range(700)))
    with pytest.raises(SchemaMismatch, match="more than"):
        wire.decode_agents(many, 1)


@pytest.mark.parametrize("where", ["agent_id", "agent_status", "running_count", "last_heartbeat", "more"])
def test_a_long_text_anywhere(where: str) -> None:
    """A long text in a field of another type, in an unused field, or as a key does not affect the fields beside it."""
    for item in ({where: long("", "x")}, {where: 5, long("", "x"): 7}):
        [agent] = wire.decode_agents(agents({"agent_id": "a", "gpu_capacity": 7, **item}), 1).items
        assert agent is not None
        assert agent.gpu_capacity == 7


def test_shortened_texts_stay_distinct() -> None:
    """Long ids that only differ at their ends are different agents, and each stays the same at every poll."""
    ids = [long("", "x", end, size=MAX_BYTES // 2) for end in ("ab", "ba", 'a"', "a\\")]
    found = [wire.decode_agents(agents(*({"agent_id": each} for each in ids)), 1).items for _ in range(2)]
    assert found[0] == found[1]
    names = [agent.agent_id for agent in found[0] if agent and agent.agent_id]
    assert len(set(names)) == len(ids)
    assert all(len(name) < MAX_TEXT for name in names)


@pytest.mark.parametrize("after", ["", '\\"', "\\\\", 'é"'])
def test_only_long_texts_change(after: str) -> None:
    """Everything else stays unchanged: short texts, escapes, numbers, and what is between them."""
    beside = {"a": f"short{after}", "b": [1, None, True, -2.5e3], f'"{after}': {"c": "\\"}}
    found = json.loads(bounded(json.dumps({**beside, "long": long("", "y"), "z": after}).encode()))
    assert found.pop("long").startswith("yyy")
    assert found == {**beside, "z": after}


texts = st.text(st.sampled_from('abé\N{PILE OF POO}"\\\n,[{'), max_size=12)


@settings(max_examples=50)
@given(st.recursive(texts | st.integers() | st.none(), lambda some: st.lists(some) | st.dictionaries(texts, some)))
def test_shortening_is_right_for_any_json(value: Any) -> None:
    """Even if every text counts as long, the shape of the JSON stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_TEXT", 4)
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
            assert _shape(json.loads(bounds._shortened(text.encode()))) == _shape(value)


def _shape(value: Any) -> Any:
    match value:
        case dict():
            return [_shape(each) for each in value.values()]
        case list():
            return [_shape(each) for each in value]
        case str():
            return "text"
    return value


@pytest.mark.parametrize(
    "body",
    [
        b'"' * LIMIT,
        b'{"agent_list": [' + b"7" * MAX_BYTES + b"]}",
        b'{"agent_list": ["' + b"x" * MAX_BYTES,
        b'{"page_meta": {"total_count": 1}, "agent_list": [{"x": [' + (b"7" * 4000 + b",") * 2000 + b"7]}]}",
        agents({"agent_id": "a", "agent_labels": ["x" * (MAX_TEXT - 1)] * (MAX_BYTES // MAX_TEXT + 10)}),
    ],
    ids=("quotes", "a number", "a text without end", "long numbers", "texts"),
)
def test_an_answer_that_is_large_without_long_texts_is_refused_unread(body: bytes) -> None:
    """Bytes are limited as well as values: long numbers would block the interpreter for tenths of a second."""
    with pytest.raises(SchemaMismatch, match="more than"):
        wire.decode_agents(body, 1)


def listed(value: bytes, times: int) -> bytes:
    return b"[" + b",".join([value] * times) + b"]"


@pytest.mark.parametrize("value", [b"7", b'"a"', b"[]", b"{}", b'{"":7}'])
def test_values_are_limited_however_short_they_are(value: bytes) -> None:
    """As many numbers as allowed are read; one value more is refused, whatever it is."""
    assert bounded(listed(b"7", MAX_VALUES)) == listed(b"7", MAX_VALUES)
    with pytest.raises(SchemaMismatch, match=f"more than {MAX_VALUES} values"):
        bounded(listed(value, MAX_VALUES + 1))


def test_wrong_values_of_a_full_page_are_found_item_by_item() -> None:
    """A thousand agents with numbers as labels do not produce a list of fifty thousand mistakes."""
    body = agents(*({"agent_id": str(number), "agent_labels": [7] * 50} for number in range(1000)))
    tracemalloc.start()
    page = wire.decode_agents(body, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert page.unknown == {"agent_labels": 50_000}
    assert peak < 6_000_000
