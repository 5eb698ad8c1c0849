"""The agents of one team: all pages of their list, published completely or not at all.

A list that shrank while it was read is read once more; if that is incomplete too, the snapshot is truncated.
"""

from dataclasses import dataclass
from typing import Final

from exporter.collect.offload import offload
from exporter.collect.result import AgentsResult, FetchAgents, Implausible, PollResult, UnknownValues
from exporter.collect.walk import Walk
from exporter.expose import families
from exporter.expose.series_store import CompressedFamilies, compress_families, concatenate_families
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent, read_agents
from exporter.fleet.presence import Presence
from exporter.fleet.roster import Roster
from exporter.fleet.snapshots import AgentsSnapshot
from exporter.fleet.totals import AgentTotals
from exporter.platform import wire
from exporter.platform.clock import Moment

PAGES_TOGETHER: Final = 4
"""Pages whose samples are compressed together: about a megabyte of text, and milliseconds of the event loop's time."""
LABELS_PER_AGENT: Final = 32
"""Most labels kept, on average over the exposed agents: ten times what agents usually have, 40 MB at 10,000 agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRules:
    """What the configuration says about one team's agents."""

    team: str
    max_pages: int
    max_agents: int
    memory: float
    """Seconds for which a vanished agent is remembered."""
    expected: frozenset[str]
    with_labels: bool


async def collect_agents(
    fetch: FetchAgents, rules: AgentRules, before: Presence, now: Moment, unknown: UnknownValues
) -> AgentsResult:
    """Read the list, a second time if it shrank meanwhile.

    Args:
        fetch: requests a page.
        rules: of this team.
        before: the presence after the last poll.
        now: when this poll began.
        unknown: unknown values are added here, even if the poll fails.

    Raises:
        PlatformError: a page could not be read, or the list contradicts itself.
    """
    poll = await _AgentsPoll(rules, before).read(fetch, unknown)
    if poll.worth_repeating:
        poll = await _AgentsPoll(rules, before).read(fetch, unknown)
    return await offload(poll.agents, poll.result, now)


class _AgentsPoll:
    """One read of the list. Mutable: agents are rendered page by page and then dropped.

    If a large fleet were kept as objects, every garbage collection would stall the event loop.
    """

    def __init__(self, rules: AgentRules, before: Presence) -> None:
        self._rules = rules
        self._before = before
        self._walk = Walk(rules.max_pages)
        self._roster = Roster(before.connected, rules.max_agents)
        self._rendering = _Rendering(rules)
        self._totals = AgentTotals(LABELS_PER_AGENT * rules.max_agents)
        self._duplicates = 0
        self._series_dropped = 0

    async def read(self, fetch: FetchAgents, unknown: UnknownValues) -> "_AgentsPoll":
        number: int | None = 1
        while number is not None:
            page = await fetch(number)
            self._add(page, unknown)
            number = self._walk.add(page)
        if self._walk.stood_still:
            unknown["agent_id"] += self._duplicates
        return self

    def _add(self, page: wire.Page[wire.Agent], unknown: UnknownValues) -> None:
        unknown.update(page.unknown)
        agents = list(read_agents(page, unknown))
        admitted, left_out = self._roster.enter(agents)
        self._duplicates += len(agents) - len(admitted) - len(left_out)
        self._rendering.add(admitted)
        self._series_dropped += sum(map(self._rendering.series, left_out))
        self._totals.add((*admitted, *left_out))

    @property
    def agents(self) -> int:
        """How many agents were read, without duplicates."""
        return len(self._roster)

    @property
    def worth_repeating(self) -> bool:
        """Whether another read may find what this one missed."""
        return not self._walk.bounded and not self._walk.saw_all

    def result(self, now: Moment) -> AgentsResult:
        """The rendered result; raises Implausible if no change of the list could explain it."""
        if self._walk.items and not self._roster:
            raise Implausible(f"none of {self._walk.items} agents has an agent_id")
        snapshot = self._snapshot(now)
        return PollResult(snapshot=snapshot, families=self._rendering.finished(snapshot))

    def _snapshot(self, now: Moment) -> AgentsSnapshot:
        coverage = self._walk.coverage(len(self._roster))
        left_out = frozenset(self._roster.left_out)
        presence = self._before.updated(
            frozenset(self._roster.exposed),
            left_out,
            now,
            complete=not coverage.truncated,
            memory=self._rules.memory,
            limit=self._rules.max_agents,
            expected=self._rules.expected,
        )
        return AgentsSnapshot(
            coverage=coverage,
            counts=self._totals.counts,
            presence=presence,
            expected=self._rules.expected - left_out,
            listed=left_out | self._roster.exposed,
            label_sets=self._totals.label_sets,
            running_tasks=self._totals.running_tasks,
            gpu_capacity=self._totals.gpu_capacity,
            series_dropped=self._series_dropped,
        )


class _Rendering:
    """The series of the agents, compressed a few pages at a time. Mutable."""

    def __init__(self, rules: AgentRules) -> None:
        self._rules = rules
        self._samples = Samples()
        self._pages = 0
        self._compressed: list[CompressedFamilies] = []

    def add(self, agents: list[Agent]) -> None:
        """Render the agents of one page."""
        families.add_agents(self._samples, self._rules.team, agents, with_labels=self._rules.with_labels)
        self._pages += 1
        if self._pages % PAGES_TOGETHER == 0:
            self._compressed.append(compress_families(self._samples))
            self._samples = Samples()

    def series(self, agent: Agent) -> int:
        """The number of series that the agent would add."""
        return families.series_of_agent(agent, with_labels=self._rules.with_labels)

    def finished(self, snapshot: AgentsSnapshot) -> CompressedFamilies:
        """The series of all agents, and those about the fleet as a whole."""
        families.add_agents_snapshot(self._samples, self._rules.team, snapshot)
        return concatenate_families((*self._compressed, compress_families(self._samples)))
