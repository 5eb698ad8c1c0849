"""One team: its two lists, polled side by side, each failing on its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from exporter.catalog import Scope
from exporter.collect.agents import AgentRules, collect_agents
from exporter.collect.history import Clock, History
from exporter.collect.result import AgentsResult, Implausible, PollResult, TasksResult, Unknown
from exporter.collect.tasks import collect_tasks
from exporter.errors import PlatformError, SchemaMismatch, Undecodable
from exporter.expose import families
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import CompressedFamilies, SeriesStore, compress_families, concatenate_families
from exporter.expose.text import Samples
from exporter.fleet.presence import Presence
from exporter.fleet.quotas import own_quotas
from exporter.fleet.tasks import without_eligible_agent
from exporter.fleet.timings import Timings
from exporter.log import event
from exporter.platform import paths, wire
from exporter.platform.client import TeamClient
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import MAX_RETRY_AFTER
from exporter.status import TeamStatus

ME_INTERVAL: Final = 3600.0
"""Seconds between two looks at the quotas, which people change rarely."""
ME_RETRY: Final = 300.0
"""Seconds until the next look after one that failed."""
LARGE: Final = 512 * 1024
"""Bytes of an answer above which it is read in a thread: four times a page of agents."""
RECENT: Final = 1.0
"""Seconds for which a poll answers those who ask for one."""

_log = logging.getLogger(__name__)
R = TypeVar("R", bound=PollResult)
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class TeamRules:
    """What the configuration says about one team."""

    name: str
    team_id: str | None
    interval: float
    stale_after: float
    agents_path: str | None
    """None: the one that fits the credential."""
    agents: AgentRules


class Team:
    """One team's polls and data. Mutable: nothing else writes its part of the payload."""

    def __init__(  # noqa: PLR0913  what the wiring decides, each by its name
        self,
        rules: TeamRules,
        *,
        client: TeamClient,
        credential: TokenSource,
        payload: SeriesStore,
        counters: ApiCounters,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.rules = rules
        self._client = client
        self._credential = credential
        self._payload = payload
        self._counters = counters
        self._clock = clock
        self._tasks = History("tasks", rules.interval, rules.stale_after, clock, random)
        self._agents = History("agents", rules.interval, rules.stale_after, clock, random)
        self._timings = Timings()
        self._presence = Presence()
        self._required: tuple[Mapping[frozenset[str], int], float] | None = None
        self._offered: tuple[frozenset[frozenset[str]], float] | None = None
        self._dropped = 0
        self._held_until: float | None = None
        self._quotas: Mapping[str, float] = {}
        self._quotas_due = clock.monotonic()
        self._was_up: bool | None = None
        self._was_slow = False
        self._retired = False
        self._polling = asyncio.Lock()
        self._polled_at: float | None = None
        counters.start(rules.name, self._paths)

    @property
    def agents_path(self) -> str:
        """Where this team's agents are listed: integration keys may use the runtime surface only."""
        if self.rules.agents_path is not None:
            return self.rules.agents_path
        return paths.RUNTIME_AGENTS if self._credential.kind == "integration" else paths.AGENTS

    @property
    def _paths(self) -> tuple[str, ...]:
        """What it is going to ask."""
        more = () if self._credential.kind == "integration" else (paths.ME,)
        return (paths.TASKS, self.agents_path, *more, *((paths.REFRESH,) if self._credential.renews else ()))

    def is_of(self, team_id: str | None, credential: TokenSource) -> bool:
        """Whether this is the platform's team of that id, read with that credential."""
        return self.rules.team_id == team_id and self._credential is credential

    def reconfigure(self, rules: TeamRules, client: TeamClient) -> None:
        """Go on by other rules, with the data and the counters of before.

        A poll under way makes its next request by them. It is not waited for: a platform that hangs must not keep a
        reload from taking effect.
        """
        self.rules, self._client = rules, client
        for history in (self._tasks, self._agents):
            history.reconfigure(rules.interval, rules.stale_after)
        self._counters.start(rules.name, self._paths)

    def status(self, next_poll_at: float | None) -> TeamStatus:
        """What is known now; `next_poll_at` is Unix seconds."""
        return TeamStatus(
            name=self.rules.name,
            team_id=self.rules.team_id,
            credential_kind=self._credential.kind,
            collectors=(self._tasks.status(self._held_until), self._agents.status(self._held_until)),
            next_poll_at=next_poll_at,
            credential_loaded_at=self._credential.loaded_at,
            credential_expires_at=self._credential.expires_at,
            series=self._payload.series(self.rules.name),
            series_dropped=self._dropped,
        )

    async def poll(self) -> None:
        """Poll what is not held back; what fails is noted, and only a cancellation ends this early."""
        async with self._polling:
            await self._poll()

    async def poll_unless_recent(self) -> None:
        """The same, unless a poll ended within the last second, as one does that was under way until now."""
        async with self._polling:
            if self._polled_at is None or self._clock.monotonic() - self._polled_at >= RECENT:
                await self._poll()

    async def _poll(self) -> None:
        # Waiting for a turn is a part of the poll: it is what grows when the pace is too slow for the intervals.
        started = self._clock.monotonic()
        async with self._client.poll_permit(), asyncio.TaskGroup() as group:
            if self._due(self._tasks):
                group.create_task(self._poll_tasks(started))
            if self._due(self._agents):
                group.create_task(self._poll_agents(started))
            if self._credential.kind != "integration" and started >= max(self._quotas_due, self._held_until or 0.0):
                group.create_task(self._poll_quotas())
        self._put_team()
        self._polled_at = self._clock.monotonic()
        self._tell(self._clock.monotonic() - started)

    def _due(self, history: History) -> bool:
        now = self._clock.monotonic()
        return all(until is None or now >= until for until in (history.backoff.until, self._held_until))

    async def _poll_tasks(self, started: float) -> None:
        async def collect(unknown: Unknown) -> TasksResult:
            return await collect_tasks(self._fetch_tasks, self.rules.name, self._timings, unknown)

        if read := await self._attempt(self._tasks, Scope.TASKS, started, collect):
            result, fresh_until = read
            self._timings = result.timings
            self._required = result.required, fresh_until
            self._put_eligibility()

    async def _poll_agents(self, started: float) -> None:
        async def collect(unknown: Unknown) -> AgentsResult:
            now = self._clock.wall()
            return await collect_agents(self._fetch_agents, self.rules.agents, self._presence, now, unknown)

        if read := await self._attempt(self._agents, Scope.AGENTS, started, collect):
            result, fresh_until = read
            self._presence, self._dropped = result.presence, result.series_dropped
            self._offered = result.offered, fresh_until
            self._put_eligibility()

    async def _attempt(
        self, history: History, scope: Scope, started: float, collect: Callable[[Unknown], Awaitable[R]]
    ) -> tuple[R, float] | None:
        """One poll of one list: publish and note it, or note why it failed."""
        unknown = Counter[str]()
        try:
            result = await collect(unknown)
            prepared = await asyncio.to_thread(_prepared, result)
        except PlatformError as error:
            if isinstance(error, Implausible):
                self._client.fail(paths.TASKS if scope is Scope.TASKS else self.agents_path, error)
            history.failed(started, error)
            self._hold(error)
        except Exception as error:  # noqa: BLE001  a mistake of ours must not end the others' polls; the log is loud
            _log.exception("a poll failed inside the exporter", extra={"team_name": self.rules.name})
            history.failed(started, error)
        else:
            fresh_until = history.succeeded(started, result)
            self._put(scope, prepared, fresh_until)
            return result, fresh_until
        finally:
            self._counters.unknown_values(unknown)
        return None

    def _hold(self, error: PlatformError) -> None:
        """A wait the platform asks for concerns the credential, so both lists keep it."""
        if error.retry_after is not None:
            until = self._clock.monotonic() + min(error.retry_after, MAX_RETRY_AFTER)
            self._held_until = max(until, self._held_until or until)

    def retire(self) -> None:
        """Publish nothing any more: the team is gone, or another one has its name."""
        self._retired = True

    def _put(self, scope: Scope, prepared: CompressedFamilies, fresh_until: float | None) -> None:
        if not self._retired:
            self._payload.put(self.rules.name, scope, prepared, fresh_until)

    def _put_eligibility(self) -> None:
        if self._required is None or self._offered is None:
            return
        (required, tasks_until), (offered, agents_until) = self._required, self._offered
        samples = Samples()
        families.add_eligibility(samples, self.rules.name, without_eligible_agent(required, offered))
        self._put(Scope.ELIGIBILITY, compress_families(samples), min(tasks_until, agents_until))

    async def _poll_quotas(self) -> None:
        self._quotas_due = self._clock.monotonic() + ME_INTERVAL
        try:
            me = await self._get(paths.ME, {}, wire.decode_me)
        except PlatformError as error:  # counted by the client; without an answer there are no quota series
            self._quotas = {}
            self._quotas_due = self._clock.monotonic() + ME_RETRY
            self._hold(error)
        else:
            self._quotas = own_quotas(me, self.rules.team_id)

    def _put_team(self) -> None:
        samples = Samples()
        families.add_team(samples, self.rules.name, self.rules.team_id, self._credential.kind)
        families.add_quotas(samples, self.rules.name, self._quotas)
        self._put(Scope.TEAM, compress_families(samples), None)

    async def _fetch_tasks(self, status: str, number: int) -> wire.Page[wire.Task]:
        query: dict[str, str | int] = {"status": status, "current_page": number, "per_page": wire.PER_PAGE}
        return await self._get(paths.TASKS, query, lambda body: wire.decode_tasks(body, number, status))

    async def _fetch_agents(self, number: int) -> wire.Page[wire.Agent]:
        query = {"current_page": number, "per_page": wire.PER_PAGE}
        return await self._get(self.agents_path, query, lambda body: wire.decode_agents(body, number))

    async def _get(self, path: str, query: Mapping[str, str | int], decode: Callable[[bytes], P]) -> P:
        body = await self._client.get(path, query)
        try:
            # Only a page nobody expects is so large; it may take longer to read than the event loop can wait.
            return decode(body) if len(body) < LARGE else await asyncio.to_thread(decode, body)
        except (Undecodable, SchemaMismatch) as error:
            self._client.fail(path, error)
            raise

    def _tell(self, duration: float) -> None:
        """Log what an operator wants to be told: the team came up or went down, or its polls take too long."""
        status, name = self.status(None), self.rules.name
        if status.up != self._was_up:
            self._was_up = status.up
            if status.up:
                event(_log, logging.INFO, "team is up", team_name=name)
            else:
                last = {c.name: c.attempts[0].error for c in status.collectors if c.attempts and c.attempts[0].error}
                event(_log, logging.WARNING, "team is down", team_name=name, **last)
        if (slow := duration > self.rules.interval) and not self._was_slow:
            event(_log, logging.WARNING, "slow poll", team_name=name, seconds=duration, interval=self.rules.interval)
        self._was_slow = slow


def _prepared(result: PollResult) -> CompressedFamilies:
    return concatenate_families((*result.packed, compress_families(result.samples)))
