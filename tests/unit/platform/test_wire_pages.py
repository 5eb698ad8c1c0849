"""Reading pages: totals, sizes, and what is not a list."""

import json
from typing import Any

import pytest

from exporter.errors import SchemaMismatch
from exporter.platform import wire
from support.pages import AGENT, page


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
