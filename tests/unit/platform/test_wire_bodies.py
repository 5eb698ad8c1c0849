"""Bodies that a strict reader refuses, and bodies with too many values."""

import sys
import tracemalloc

import pytest

from exporter.errors import SchemaMismatch, Undecodable
from exporter.platform import account, wire
from exporter.platform.bounds import MAX_BYTES, takes_long
from support.pages import AGENT, agents_of, only, page


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
