"""One team: its collectors run side by side, and a failure of one does not affect the others."""

import asyncio
from collections.abc import Callable
from typing import Final

from exporter.catalog import Operation, Scope
from exporter.collect.collector import AgentsCollector, TasksCollector
from exporter.collect.context import Hold, TeamContext, TeamRules
from exporter.collect.offload import offload
from exporter.collect.quotas import QuotasCollector
from exporter.collect.transitions import TransitionLog
from exporter.expose import families
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import CompressedFamilies, SeriesStore, compress_families
from exporter.expose.text import Samples
from exporter.fleet.assignment import assignment
from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot
from exporter.platform.clock import Clock
from exporter.platform.credentials import TokenSource
from exporter.platform.team import TeamClient
from exporter.status import FleetStatus, TeamStatus

RECENT: Final = 1.0
"""Seconds within which a request for a poll is answered by the last one."""


class Team:
    """One team's polls and data. Mutable. Only this object publishes the team's series."""

    def __init__(  # noqa: PLR0913  what the assembly decides, each by its name
        self,
        rules: TeamRules,
        *,
        client: TeamClient,
        credential: TokenSource,
        store: SeriesStore,
        counters: ApiCounters,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._context = TeamContext(
            rules=rules,
            client=client,
            credential=credential,
            store=store,
            counters=counters,
            clock=clock,
            hold=Hold(clock),
        )
        self._tasks = TasksCollector(self._context, random)
        self._agents = AgentsCollector(self._context, random)
        self._quotas = QuotasCollector(self._context)
        self._transitions = TransitionLog()
        self._polling = asyncio.Lock()
        self._polled_at: float | None = None
        counters.start(rules.name, self._context.paths)

    @property
    def rules(self) -> TeamRules:
        """The team's rules in the current configuration."""
        return self._context.rules

    @property
    def agents_path(self) -> str:
        """The API path of its list of agents."""
        return self._context.client.agents_path

    def is_of(self, team_id: str | None, credential: TokenSource) -> bool:
        """Whether this is the platform's team with that id, read with that credential."""
        return self.rules.team_id == team_id and self._context.credential is credential

    def reconfigure(self, rules: TeamRules, client: TeamClient) -> None:
        """Apply other rules, keeping data and counters. Another `stale_after` applies to the data served now.

        A poll under way uses them from its next request on. It is not awaited: a hanging platform must not delay a
        reload.
        """
        if longer := rules.stale_after - self._context.rules.stale_after:
            self._context.store.extend(rules.name, longer)
        self._context.rules, self._context.client = rules, client
        self._tasks.reconfigure()
        self._agents.reconfigure()
        self._context.counters.start(rules.name, self._context.paths)

    def retire(self) -> None:
        """Stop publishing, because the team is gone, or its name now belongs to another one."""
        self._context.retired = True

    def status(self, next_poll_at: float | None) -> TeamStatus:
        """The current state; `next_poll_at` is Unix seconds."""
        credential = self._context.credential
        return TeamStatus(
            name=self.rules.name,
            team_id=self.rules.team_id,
            credential_kind=credential.kind,
            collectors=(self._tasks.status(), self._agents.status()),
            next_poll_at=next_poll_at,
            credential_loaded_at=credential.loaded_at,
            credential_expires_at=credential.expires_at or self.rules.token_expires,
            series=self._context.store.series(self.rules.name),
            series_dropped=self._agents.series_dropped,
            fleet=FleetStatus(**self._tasks.fresh_totals, **self._agents.fresh_totals),
            quotas=self._quotas.status,
            provisioning_filtered=self._tasks.provisioning.accepted,
            totals_ignore_filter=self._tasks.filtered_totals.ignore_filter,
        )

    async def poll(self) -> None:
        """Poll the lists that are not held back. Failures are recorded; only a cancellation ends this early."""
        async with self._polling:
            await self._poll()

    async def poll_unless_recent(self) -> None:
        """The same, unless a poll ended within the last second, such as one that was under way when this was called."""
        async with self._polling:
            if self._polled_at is None or self._context.clock.monotonic() - self._polled_at >= RECENT:
                await self._poll()

    async def _poll(self) -> None:
        # The duration includes the wait for a permit, which grows when the request rate is too low for the intervals.
        clock = self._context.clock.monotonic
        started = clock()
        async with self._context.client.poll_permit(), asyncio.TaskGroup() as group:
            for collector in (self._tasks, self._agents):
                if collector.due:
                    group.create_task(collector.poll(started))
            for optional in (self._quotas, self._tasks.workflow_names):
                if optional.due:
                    group.create_task(optional.poll())
        try:
            await self._publish_assignment()
            self._publish_team()
        except Exception as error:  # noqa: BLE001  our own bug must not end other polls; it is logged and counted
            self._context.internal_error(Operation.PUBLISHING, error)
        self._polled_at = clock()
        self._transitions.note(self.status(None), self._polled_at - started, self.rules.interval)

    async def _publish_assignment(self) -> None:
        """Publish what is computed from both lists, each as last read."""
        tasks, agents = self._tasks.snapshot, self._agents.snapshot
        if tasks is not None and agents is not None:
            rendered = await offload(len(agents.listed), _rendered, self.rules.name, tasks, agents)
            fresh_until = min(self._tasks.fresh_until, self._agents.fresh_until)
            self._context.publish(Scope.ASSIGNMENT, rendered, fresh_until)

    def _publish_team(self) -> None:
        """Publish the series about the team, which are served while any of its data is fresh."""
        samples = Samples()
        families.add_team(samples, self.rules.name, self.rules.team_id, self._context.credential.kind)
        families.add_quotas(samples, self.rules.name, self._quotas.quotas)
        self._context.publish(Scope.TEAM, compress_families(samples), None)


def _rendered(team: str, tasks: TasksSnapshot, agents: AgentsSnapshot) -> CompressedFamilies:
    samples = Samples()
    families.add_assignment(samples, team, assignment(tasks, agents))
    return compress_families(samples)
