"""The agents of one team: a walk over all pages, published whole or not at all.

The list has no cursor, so it may move while it is walked. Growing at either end loses nothing that was there at the
start; shrinking can hide an agent between two pages. Then the list is walked once more, and if that does not add up
either, the result says it is truncated.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.catalog import OTHER
from exporter.collect.result import AgentsResult, FetchAgents, Implausible, Unknown
from exporter.expose import families
from exporter.expose.series_store import CompressedFamilies, compress_families
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent, read_agents
from exporter.fleet.presence import Presence
from exporter.platform import wire

PAGES_PACKED: Final = 4
"""Pages whose samples are compressed together: about a megabyte of text, and milliseconds of the event loop."""


@dataclass(frozen=True, slots=True)
class AgentRules:
    """What the configuration says about one team's agents."""

    team: str
    max_pages: int
    max_agents: int
    memory: float
    """Seconds a vanished agent is remembered."""
    expected: frozenset[str]
    with_labels: bool


async def collect_agents(
    fetch: FetchAgents, rules: AgentRules, before: Presence, now: float, unknown: Unknown
) -> AgentsResult:
    """Walk the list, twice if it moved too much.

    Args:
        fetch: gets a page.
        rules: of this team.
        before: who was there until now.
        now: Unix seconds of our clock.
        unknown: is added to.

    Raises:
        PlatformError: a page could not be had, or the list contradicts itself.
    """
    walk = await _Walk(rules, before).run(fetch, unknown)
    if not walk.settled:
        walk = await _Walk(rules, before).run(fetch, unknown)
    walk.check()
    # Presence is for all agents at once: too long a step for the event loop.
    return await asyncio.to_thread(walk.result, now)


class _Walk:
    """One walk. Mutable: pages are turned into samples as they come, and dropped."""

    def __init__(self, rules: AgentRules, before: Presence) -> None:
        self._rules = rules
        self._before = before
        self._samples = Samples()
        self._packed: list[CompressedFamilies] = []
        self._totals: list[int] = []
        self._raw = 0
        self._unnamed = 0
        self._statuses: Counter[str] = Counter()
        self._listed: set[str] = set()
        self._exposed: set[str] = set()
        self._newcomers = 0
        self._offered: set[frozenset[str]] = set()
        self._dropped = 0
        self._bounded = False
        self._short = False

    async def run(self, fetch: FetchAgents, unknown: Unknown) -> "_Walk":
        number = 0
        done = False
        while not done:
            number += 1
            page = await fetch(number)
            self._add(page, unknown)
            done = self._raw >= page.total or page.missing > 0 or not page.items
            if not done and number >= self._rules.max_pages:
                self._bounded = done = True
        return self

    @property
    def settled(self) -> bool:
        """Whether another walk is of no use: nothing that was there at the start can have been missed."""
        return self._bounded or (not self._short and self._totals[0] <= self._seen <= self._totals[-1])

    @property
    def _seen(self) -> int:
        return len(self._listed) + self._unnamed

    def check(self) -> None:
        """Refuse what cannot be right however the list moved."""
        if self._raw and not self._listed:
            raise Implausible(f"none of {self._raw} agents has an agent_id")
        if self._seen > max(self._totals):
            raise Implausible(f"{self._seen} agents seen of a list of {max(self._totals)}")

    def _add(self, page: wire.Page[wire.Agent], unknown: Unknown) -> None:
        unknown.update(page.unknown)
        self._totals.append(page.total)
        self._raw += len(page.items)
        self._short = self._short or page.missing > 0
        agents = {agent.agent_id: agent for agent in read_agents(page, unknown)}
        # Without an id, or twice on one page: no sign that the list moved. Twice on two pages is one.
        self._unnamed += len(page.items) - len(agents)
        new = [agent for agent_id, agent in agents.items() if agent_id not in self._listed]
        self._listed.update(agent.agent_id for agent in new)
        self._statuses.update(agent.status or OTHER for agent in new)
        self._offered.update(agent.labels for agent in new)
        admitted = [agent for agent in new if self._admitted(agent.agent_id)]
        self._exposed.update(agent.agent_id for agent in admitted)
        self._add_agents(self._samples, admitted)
        self._dropped += self._cost([agent for agent in new if agent.agent_id not in self._exposed])
        if page.number % PAGES_PACKED == 0:
            self._packed.append(compress_families(self._samples))
            self._samples = Samples()

    def _add_agents(self, samples: Samples, agents: Sequence[Agent]) -> None:
        families.add_agents(samples, self._rules.team, agents, with_labels=self._rules.with_labels)

    def _cost(self, agents: Sequence[Agent]) -> int:
        """The samples of these, with those of their presence."""
        samples, seen = Samples(), {agent.agent_id: 0.0 for agent in agents}
        self._add_agents(samples, agents)
        families.add_presence(samples, self._rules.team, Presence(seen, frozenset(seen)), frozenset())
        return samples.count

    def _admitted(self, agent_id: str) -> bool:
        """Those that were exposed at the last poll stay so, that the limit does not make series come and go."""
        if agent_id in self._before.connected:
            return True
        self._newcomers += 1
        return self._newcomers + len(self._before.connected) <= self._rules.max_agents

    def result(self, now: float) -> AgentsResult:
        rules = self._rules
        truncated = self._bounded or not self.settled or self._seen < self._totals[-1]
        exposed, left_out = frozenset(self._exposed), frozenset(self._listed - self._exposed)
        presence = self._before.updated(
            exposed,
            left_out,
            now,
            complete=not truncated,
            memory=rules.memory,
            limit=rules.max_agents,
            expected=rules.expected,
        )
        families.add_agent_counts(self._samples, rules.team, self._statuses)
        families.add_presence(self._samples, rules.team, presence, rules.expected - left_out)
        return AgentsResult(
            samples=self._samples,
            packed=tuple(self._packed),
            pages=len(self._totals),
            items=len(self._listed),
            reported=self._totals[-1],
            truncated=truncated,
            series_dropped=self._dropped,
            presence=presence,
            offered=frozenset(self._offered),
        )
