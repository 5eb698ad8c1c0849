"""Random changes of agents, compared with a model of connected, former and expected agents."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from exporter.collect.agents import AgentRules, collect_agents
from exporter.collect.result import AgentsResult
from exporter.errors import ServerFailed
from exporter.fleet.presence import Presence
from exporter.platform import wire
from exporter.platform.clock import Moment
from support import Samples, parse_families

PER_PAGE = 3
MEMORY = 60.0
NAMES = [f"agent-{number}" for number in range(5)]
AGENTS = st.sampled_from(NAMES)


@dataclass(slots=True)
class Model:
    """Who has a `connected` series, and since when not seen. Mutable."""

    expected: frozenset[str]
    connected: set[str] = field(default_factory=set)
    seen: dict[str, float] = field(default_factory=dict)

    def look(self, listed: set[str], now: float, *, whole: bool) -> None:
        stay = set() if whole else {name for name in self.connected if now - self.seen[name] <= MEMORY}
        self.connected = listed | stay
        self.seen |= dict.fromkeys(listed, now)
        kept = self.connected | self.expected
        self.seen = {name: time for name, time in self.seen.items() if name in kept or now - time <= MEMORY}

    def series(self) -> dict[tuple[str, str], float]:
        names = self.seen.keys() | self.expected
        connected = {("connected", name): float(name in self.connected) for name in names}
        return connected | {("last_seen_timestamp_seconds", name): time for name, time in self.seen.items()}


class AgentHistory(RuleBasedStateMachine):
    """Agents of one team come and go, and are polled now and then."""

    @initialize(expected=st.frozensets(AGENTS, max_size=2))
    def begin(self, expected: frozenset[str]) -> None:
        self.rules_ = AgentRules(
            team="render", max_pages=100, max_agents=100, memory=MEMORY, expected=expected, with_labels=False
        )
        self.model = Model(expected)
        self.presence = Presence()
        self.listed: list[str] = []
        self.now = 1_000_000.0

    @rule(name=AGENTS, first=st.booleans())
    def come(self, name: str, first: bool) -> None:  # noqa: FBT001  passed by name
        if name not in self.listed:
            self.listed.insert(0 if first else len(self.listed), name)

    @rule(name=AGENTS, place=st.integers(0, 9))
    def clone(self, name: str, place: int) -> None:
        """Another machine connects under an id that is in use."""
        if name in self.listed:
            self.listed.insert(place, name)

    @rule(name=AGENTS)
    def go(self, name: str) -> None:
        if name in self.listed:
            self.listed.remove(name)

    @rule()
    def restart(self) -> None:
        """A new exporter remembers no agents."""
        self.presence, self.model = Presence(), Model(self.model.expected)

    @rule(seconds=st.sampled_from([1, 20, 59, 60, 61, 500]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def _poll(self, *, hidden: int = 0, failing: int = 99) -> AgentsResult:
        async def fetch(number: int) -> wire.Page[wire.Agent]:
            if number >= failing:
                raise ServerFailed("503")
            names = self.listed[(number - 1) * PER_PAGE : number * PER_PAGE]
            items: list[wire.Agent | None] = [wire.Agent(agent_id=name, gpu_capacity=1) for name in names]
            return wire.Page(number, items, len(self.listed) + hidden, PER_PAGE, Counter())

        now = Moment(self.now, self.now)
        return asyncio.run(collect_agents(fetch, self.rules_, self.presence, now, Counter()))

    def _compare(self, result: AgentsResult, *, whole: bool) -> None:
        self.presence = result.snapshot.presence
        self.model.look(set(self.listed), self.now, whole=whole)
        samples = parse_families(result.families)
        assert self._series(samples) == self.model.series()
        others = {name for each in samples.names() for name in _ids(samples, each)} - set(self.listed)
        assert others <= self.model.seen.keys() | self.model.expected
        assert _ids(samples, "cyberun_agent_gpu_capacity") == set(self.listed)
        assert result.snapshot.coverage.truncated is not whole

    def _series(self, samples: Samples) -> dict[tuple[str, str], float]:
        values = {}
        for kind in ("connected", "last_seen_timestamp_seconds"):
            for labels in samples.series(f"cyberun_agent_{kind}"):
                value = samples.value(f"cyberun_agent_{kind}", **labels)
                assert value is not None
                values[kind, labels["agent_id"]] = value
        return values

    @rule()
    def poll(self) -> None:
        """A complete read: agents that are not listed are gone."""
        self._compare(self._poll(), whole=True)

    @rule(hidden=st.integers(1, 5))
    def poll_in_part(self, hidden: int) -> None:
        """A list shorter than its total: no agent vanishes."""
        self._compare(self._poll(hidden=hidden), whole=False)

    @rule(failing=st.integers(1, 3))
    def fail(self, failing: int) -> None:
        """A read that fails at a page changes nothing."""
        try:
            result = self._poll(failing=failing)
        except ServerFailed:
            return
        self._compare(result, whole=True)


def _ids(samples: Samples, name: str) -> set[str]:
    return {labels["agent_id"] for labels in samples.series(name) if "agent_id" in labels}


TestAgentHistory = AgentHistory.TestCase
TestAgentHistory.settings = settings(max_examples=100, stateful_step_count=30, phases=[Phase.explicit, Phase.generate])
