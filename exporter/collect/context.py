"""What the collectors of one team share."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from exporter.catalog import Scope
from exporter.collect.agents import AgentRules
from exporter.collect.history import Clock
from exporter.errors import SchemaMismatch, Undecodable
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import CompressedFamilies, SeriesStore
from exporter.platform import paths, wire
from exporter.platform.client import TeamClient
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import MAX_RETRY_AFTER

LARGE: Final = 512 * 1024
"""Bytes of an answer above which it is read in a thread: four times a page of agents."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRules:
    """What the configuration says about one team."""

    name: str
    team_id: str | None
    interval: float
    stale_after: float
    agents_path: str | None
    """None: the one that fits the credential."""
    agents: AgentRules


class Hold:
    """Until when the platform asked not to be asked. Mutable; monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self.until: float | None = None
        self._clock = clock

    def extend(self, seconds: float | None) -> None:
        """Hold back for so long from now, or longer where that was asked for before; None changes nothing."""
        if seconds is not None:
            until = self._clock.monotonic() + min(seconds, MAX_RETRY_AFTER)
            self.until = max(until, self.until or until)

    @property
    def over(self) -> bool:
        """Whether nothing is held back now."""
        return self.until is None or self._clock.monotonic() >= self.until


@dataclass(slots=True, kw_only=True)
class TeamContext:
    """A team as its collectors know it. Mutable: a reload replaces the rules and the client.

    Attributes:
        hold: a wait that the platform asks for concerns the credential, so all lists keep it.
        retired: the team is gone, or another one has its name: nothing is published any more.
    """

    rules: TeamRules
    client: TeamClient
    credential: TokenSource
    store: SeriesStore
    counters: ApiCounters
    clock: Clock
    hold: Hold
    retired: bool = False

    @property
    def agents_path(self) -> str:
        """Where this team's agents are listed: integration keys may use the runtime surface only."""
        if self.rules.agents_path is not None:
            return self.rules.agents_path
        return paths.RUNTIME_AGENTS if self.credential.kind == "integration" else paths.AGENTS

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that are going to be asked."""
        optional = (paths.ME,) if self.may_manage else ()
        return (paths.TASKS, self.agents_path, *optional, *((paths.REFRESH,) if self.credential.renews else ()))

    @property
    def may_manage(self) -> bool:
        """Whether the credential is accepted on management paths."""
        return self.credential.kind != "integration"

    @property
    def latest_now(self) -> float:
        """Unix seconds that no clock has reached yet, neither ours nor the platform's by the last `Date` it sent.

        Infinite before the first `Date`.
        """
        return inf if self.counters.skew is None else self.clock.wall() + max(0.0, self.counters.skew)

    def publish(self, scope: Scope, families: CompressedFamilies, fresh_until: float | None) -> None:
        """Serve the families until then; None: as long as any other data of the team."""
        if not self.retired:
            self.store.put(self.rules.name, scope, families, fresh_until)

    async def fetch_tasks(self, status: str, number: int) -> wire.Page[wire.Task]:
        """A page of the tasks of one status."""
        query: dict[str, str | int] = {"status": status, "current_page": number, "per_page": wire.PER_PAGE}
        return await self.get(paths.TASKS, query, lambda body: wire.decode_tasks(body, number, status))

    async def fetch_agents(self, number: int) -> wire.Page[wire.Agent]:
        """A page of the agents."""
        query = {"current_page": number, "per_page": wire.PER_PAGE}
        return await self.get(self.agents_path, query, lambda body: wire.decode_agents(body, number))

    async def get(self, path: str, query: Mapping[str, str | int], decode: Callable[[bytes], P]) -> P:
        """Ask for a path and read the answer; a body that cannot be read is counted as a failure."""
        body = await self.client.get(path, query)
        try:
            # Only a page nobody expects is so large; it may take longer to read than the event loop can wait.
            return decode(body) if len(body) < LARGE else await asyncio.to_thread(decode, body)
        except (Undecodable, SchemaMismatch) as error:
            self.client.fail(path, error)
            raise
