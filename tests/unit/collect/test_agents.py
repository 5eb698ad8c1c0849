from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from exporter.catalog import AGENTS
from exporter.collect import agents
from exporter.collect.agents import AgentRules, collect_agents
from exporter.collect.result import AgentsResult
from exporter.errors import SchemaMismatch, ServerFailed
from exporter.expose.compression import concatenate, inflate
from exporter.expose.series_store import CompressedFamilies, compress_families
from exporter.expose.text import Samples
from exporter.fleet.presence import Presence
from exporter.platform import wire
from exporter.platform.clock import Moment

RULES = AgentRules(
    team="render", max_pages=1000, max_agents=10_000, memory=3600.0, expected=frozenset(), with_labels=False
)
NOW = 1000.0


def names(*numbers: int) -> list[str]:
    return [f"a{number:04}" for number in numbers]


@dataclass(slots=True)
class Listed:
    """A list of agents, served page by page. Mutable: `moved` may change it between two pages.

    Attributes:
        items: agents, by id or as the platform's item.
        total: what the platform says there are; None for the truth.
        moved: called with the number of the request before each answer, from 1.
    """

    items: Sequence[Any]
    total: int | None = None
    moved: Callable[[int], None] | None = None
    size: int = 100
    asked: list[int] = field(default_factory=list)

    async def fetch(self, number: int) -> wire.Page[wire.Agent]:
        self.asked.append(number)
        if self.moved is not None:
            self.moved(len(self.asked))
        shown = self.items[(number - 1) * self.size : number * self.size]
        items = [wire.Agent(agent_id=each, agent_status="idle") if isinstance(each, str) else each for each in shown]
        total = len(self.items) if self.total is None else self.total
        page = wire.Page(number, items, total, max(self.size, len(items)), Counter[str]())
        if page.missing < 0:
            raise SchemaMismatch("more items than the total")  # as the decoder says
        return page


async def walk(
    listed: Listed, rules: AgentRules = RULES, before: Presence | None = None, unknown: Counter[str] | None = None
) -> AgentsResult:
    return await collect_agents(
        listed.fetch, rules, before or Presence(), Moment(NOW, NOW), Counter() if unknown is None else unknown
    )


def extent(result: AgentsResult) -> tuple[int, int, bool]:
    """What was read, what the platform reports, and whether something may be missing."""
    coverage = result.snapshot.coverage
    return coverage.items, coverage.reported, coverage.truncated


def lines(result: AgentsResult, metric: str) -> list[str]:
    text = inflate(concatenate(result.families.texts.values())).decode()
    return [line.removeprefix(metric) for line in text.splitlines() if line.startswith(metric + "{")]


def exposed(result: AgentsResult) -> set[str]:
    """The ids that have series of their own."""
    return {line.split('agent_id="')[1].split('"')[0] for line in lines(result, "cyberun_agent_info")}


def connected(result: AgentsResult) -> dict[str, int]:
    found = lines(result, "cyberun_agent_connected")
    return {line.split('agent_id="')[1].split('"')[0]: int(line[-1]) for line in found}


@pytest.mark.parametrize(
    ("count", "pages"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (201, 3), (1000, 10)]
)
async def test_requests(count: int, pages: int) -> None:
    """N agents cost max(1, ⌈N/100⌉) requests, and all of them are exposed."""
    listed = Listed(names(*range(count)))
    result = await walk(listed)
    assert listed.asked == list(range(1, pages + 1))
    assert (result.snapshot.coverage.pages, *extent(result)) == (pages, count, count, False)
    assert exposed(result) == set(listed.items)
    assert result.snapshot.presence.connected == set(listed.items)
    assert f'{{team_name="render",status="idle"}} {count}' in lines(result, AGENTS.name)


async def test_smaller_pages() -> None:
    """If a platform serves smaller pages, more of them are requested."""
    listed = Listed(names(*range(42)), size=20)
    result = await walk(listed)
    assert (listed.asked, result.snapshot.coverage.items, result.snapshot.coverage.truncated) == ([1, 2, 3], 42, False)


async def test_a_list_that_grows() -> None:
    """An agent that moves to the next page while the list grows is one agent; its first item is used."""
    listed, unknown = Listed(names(*range(150))), Counter[str]()

    def grow(request: int) -> None:
        if request == 2:
            listed.items = ["new", *listed.items]

    listed.moved = grow
    result = await walk(listed, unknown=unknown)
    # What came in front is seen at the next poll; nothing that was there at the start was missed.
    assert (listed.asked, *extent(result)) == ([1, 2], 150, 151, False)
    assert exposed(result) == set(names(*range(150)))
    assert len(lines(result, "cyberun_agent_info")) == 150
    assert '{team_name="render",status="idle"} 150' in lines(result, AGENTS.name)
    assert not +unknown


@pytest.mark.parametrize(("place", "pages"), [(1, [1, 2]), (149, [1, 2]), (99, [1, 2]), (100, [1, 2])])
async def test_two_agents_with_one_id(place: int, pages: list[int]) -> None:
    """Of cloned machines with one id, the first is shown and the other counted; the list is not truncated."""
    listed, unknown = Listed(names(*range(149))), Counter[str]()
    listed.items = [*listed.items[:place], wire.Agent(agent_id="a0000", agent_status="busy"), *listed.items[place:]]
    before = Presence({"gone": NOW - 30}, frozenset({"gone"}))
    result = await walk(listed, before=before, unknown=unknown)
    assert (listed.asked, *extent(result)) == (pages, 149, 150, False)
    assert unknown == {"agent_id": 1}
    assert {'{team_name="render",status="busy"} 0', '{team_name="render",status="idle"} 149'} <= set(
        lines(result, AGENTS.name)
    )
    assert connected(result)["gone"] == 0


async def test_list_that_shrank_is_walked_once_more() -> None:
    """An agent that slipped between two pages is found by a second read."""
    listed = Listed(names(*range(250)))

    def shrink(request: int) -> None:
        if request == 2:
            listed.items = listed.items[1:]

    listed.moved = shrink
    result = await walk(listed)
    assert listed.asked == [1, 2, 3, 1, 2, 3]
    assert extent(result) == (
        249,
        249,
        False,
    )
    assert exposed(result) == set(names(*range(1, 250)))


async def test_list_that_keeps_shrinking_is_truncated() -> None:
    """A list that changes all the time is published as far as it was read, as truncated; no agent vanishes."""
    listed = Listed(names(*range(500)))

    def shrink(_: int) -> None:
        listed.items = listed.items[7:]

    listed.moved = shrink
    before = Presence({"gone?": NOW - 60}, frozenset({"gone?"}))
    result = await walk(listed, before=before)
    assert result.snapshot.coverage.truncated
    assert (len(listed.asked), *extent(result)[:2]) == (10, 430, 430)
    assert connected(result)["gone?"] == 1


@pytest.mark.parametrize(("count", "total", "asked"), [(0, 7, [1, 1]), (3, 7, [1, 1]), (100, 250, [1, 2, 1, 2])])
async def test_total_that_is_too_high(count: int, total: int, asked: list[int]) -> None:
    """A list shorter than its total is read once more, then published as truncated."""
    listed = Listed(names(*range(count)), total=total)
    result = await walk(listed)
    assert listed.asked == asked
    assert extent(result) == (
        count,
        total,
        True,
    )


@pytest.mark.parametrize(("count", "total"), [(3, 2), (1, 0), (100, 99)])
async def test_total_that_is_too_low(count: int, total: int) -> None:
    """A page with more items than the whole list is a contradiction."""
    with pytest.raises(SchemaMismatch):
        await walk(Listed(names(*range(count)), total=total))


async def test_pages_of_changing_size() -> None:
    """Pages that are plausible each can have more items in total than any of them reports: a contradiction."""
    sizes = {1: 100, 2: 20, 3: 20}

    async def fetch(number: int) -> wire.Page[wire.Agent]:
        items: list[wire.Agent | None] = [wire.Agent(agent_id=f"{number}-{i}") for i in range(sizes[number])]
        return wire.Page(number, items, 130, sizes[number], Counter[str]())

    with pytest.raises(SchemaMismatch, match="the list has 140 agents, but states a total of 130"):
        await collect_agents(fetch, RULES, Presence(), Moment(NOW, NOW), Counter())


async def test_totals_that_grow_without_end() -> None:
    """A platform that always reports one more page is read up to the limit, and no further."""
    listed = Listed(names(*range(1000)))

    def promise(_: int) -> None:
        listed.total = 100 * len(listed.asked) + 100

    listed.moved = promise
    result = await walk(listed, replace(RULES, max_pages=5))
    assert listed.asked == [1, 2, 3, 4, 5]
    assert (result.snapshot.coverage.items, result.snapshot.coverage.truncated) == (500, True)


@pytest.mark.parametrize(("max_pages", "items", "truncated"), [(1, 100, True), (2, 200, True), (3, 201, False)])
async def test_max_pages(max_pages: int, items: int, *, truncated: bool) -> None:
    """A read ends at the limit; only if pages are left unread is it truncated, and it is not repeated."""
    listed = Listed(names(*range(201)))
    result = await walk(listed, replace(RULES, max_pages=max_pages))
    assert listed.asked == list(range(1, max_pages + 1))
    assert (result.snapshot.coverage.items, result.snapshot.coverage.truncated) == (items, truncated)


async def test_items_without_an_id() -> None:
    """They are skipped and counted, and the list still adds up."""
    unknown = Counter[str]()
    listed = Listed(["a", wire.Agent(), None, "b"])
    result = await walk(listed, unknown=unknown)
    assert (listed.asked, *extent(result)) == ([1], 2, 4, False)
    assert unknown == {"agent_id": 2}


@pytest.mark.parametrize("item", [None, wire.Agent(), wire.Agent(agent_id="")])
async def test_nothing_but_items_without_an_id(item: wire.Agent | None) -> None:
    """A list of only such items is a failure, not an empty fleet."""
    with pytest.raises(SchemaMismatch, match="none of 3 agents has an agent_id"):
        await walk(Listed([item] * 3))


async def test_failure_on_a_later_page_fails_the_walk() -> None:
    """If a page cannot be read, nothing is published: never half of a fleet."""
    listed = Listed(names(*range(300)))

    def fail(request: int) -> None:
        if request == 3:
            raise ServerFailed("GET /agents: 500")

    listed.moved = fail
    with pytest.raises(ServerFailed):
        await walk(listed)


async def test_status_counts() -> None:
    """Every agent counts in one status, or as `other` if that is missing or unknown; other statuses are 0."""
    listed = Listed([wire.Agent(agent_id=f"a{i}", agent_status=s) for i, s in enumerate(("idle", "busy", None, "new"))])
    result = await walk(listed)
    assert [line[-1] for line in lines(result, AGENTS.name)] == ["1", "1", "0", "0", "0", "2"]


async def test_statuses_of_one_agent() -> None:
    """An agent has exactly one status; without a status it has no status series."""
    listed = Listed([wire.Agent(agent_id="a", agent_status="busy"), wire.Agent(agent_id="b")])
    found = lines(await walk(listed), "cyberun_agent_status")
    assert {line for line in found if line.endswith(" 1")} == {'{team_name="render",agent_id="a",status="busy"} 1'}
    assert len(found) == 6


async def test_max_agents() -> None:
    """Agents beyond the limit only count in their status; their series count as dropped."""
    result = await walk(Listed(names(*range(5))), replace(RULES, max_agents=3))
    assert exposed(result) == connected(result).keys() == set(names(0, 1, 2))
    assert (result.snapshot.coverage.items, result.snapshot.coverage.truncated) == (5, False)
    assert '{team_name="render",status="idle"} 5' in lines(result, AGENTS.name)
    unlimited = await walk(Listed(names(*range(5))))
    failed = 2  # the counter of failed tasks is made of both lists, and not here
    assert result.snapshot.series_dropped == unlimited.families.series - result.families.series + failed > failed


async def test_max_agents_keeps_the_same_agents() -> None:
    """Exposed agents stay exposed, wherever new ones are in the list; a free place goes to a new agent."""
    rules = replace(RULES, max_agents=3)
    first = await walk(Listed(names(5, 6, 7)), rules)
    second = await walk(Listed(names(*range(9))), rules, first.snapshot.presence)
    assert exposed(second) == set(names(5, 6, 7))
    third = await walk(Listed(names(1, 5, 7)), rules, second.snapshot.presence)
    fourth = await walk(Listed(names(1, 5, 7)), rules, third.snapshot.presence)
    assert exposed(fourth) == set(names(1, 5, 7))


async def test_agents_beyond_the_limit_do_not_look_gone() -> None:
    """A listed agent without series is not reported as disconnected, even if it is expected or remembered."""
    rules = replace(RULES, max_agents=1, expected=frozenset({"expected", "absent"}))
    before = Presence({"first": NOW - 30, "returned": NOW - 30}, frozenset({"first"}))
    result = await walk(Listed(["first", "expected", "returned"]), rules, before)
    assert connected(result) == {"first": 1, "absent": 0}


async def test_expected_agents() -> None:
    """An expected agent is disconnected until it is first seen, without a time of being seen."""
    rules = replace(RULES, expected=frozenset({"a", "b"}))
    result = await walk(Listed(["a"]), rules)
    assert connected(result) == {"a": 1, "b": 0}
    assert lines(result, "cyberun_agent_last_seen_timestamp_seconds") == [f'{{team_name="render",agent_id="a"}} {NOW}']


async def test_vanished_agent() -> None:
    """An agent that left has `connected` 0 and its last-seen time; its other series end at once."""
    first = await walk(Listed(["a", "b"]))
    second = await collect_agents(
        Listed(["b"]).fetch, RULES, first.snapshot.presence, Moment(NOW + 30, NOW + 30), Counter()
    )
    assert connected(second) == {"a": 0, "b": 1}
    assert exposed(second) == {"b"}
    assert f'{{team_name="render",agent_id="a"}} {NOW}' in lines(second, "cyberun_agent_last_seen_timestamp_seconds")


async def test_pages_are_compressed_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages there are, only a few pages' samples are kept as text at a time: 1 MB, not 100."""
    compressed: list[int] = []

    def compress(samples: Samples) -> CompressedFamilies:
        compressed.append(samples.count)
        return compress_families(samples)

    monkeypatch.setattr(agents, "compress_families", compress)
    result = await walk(Listed(names(*range(950))))
    each = 7  # statuses and info; presence comes at the end
    assert compressed[:2] == [agents.PAGES_TOGETHER * 100 * each] * 2
    assert len(compressed) == 3
    assert result.families.series == sum(compressed)
    assert exposed(result) == set(names(*range(950)))


@pytest.mark.parametrize(("with_labels", "count"), [(False, 0), (True, 2)])
async def test_labels(*, with_labels: bool, count: int) -> None:
    """Labels have series only if configured; eligibility uses the labels anyway."""
    listed = Listed(
        [wire.Agent(agent_id="a", agent_labels=["x", "y"]), wire.Agent(agent_id="b", agent_labels=["x", "y"])]
    )
    result = await walk(listed, replace(RULES, with_labels=with_labels))
    assert len(lines(result, "cyberun_agent_label")) == 2 * count
    assert result.snapshot.label_sets == frozenset({frozenset({"x", "y"})})


async def test_too_many_labels_are_not_held() -> None:
    """The label sets of a hostile list stay within what `max_agents` allows; eligibility is then unknown."""
    agents = [wire.Agent(agent_id=f"a{i}", agent_labels=[f"{i}-{n}" for n in range(256)]) for i in range(300)]
    few = await walk(Listed(agents[:3]), replace(RULES, max_agents=100))
    assert few.snapshot.label_sets is not None
    assert len(few.snapshot.label_sets) == 3
    many = await walk(Listed(agents), replace(RULES, max_agents=100))
    assert many.snapshot.label_sets is None
    same = [wire.Agent(agent_id=f"a{i}", agent_labels=["gpu", "a100"]) for i in range(5000)]
    shared = await walk(Listed(same), replace(RULES, max_agents=10))
    assert shared.snapshot.label_sets == frozenset({frozenset({"gpu", "a100"})})
