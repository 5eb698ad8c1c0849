"""A team's limits: optional, read rarely, and never a reason for a poll to fail."""

from collections.abc import Mapping
from typing import Final

from exporter.catalog import Operation
from exporter.collect.context import TeamContext
from exporter.errors import NOT_OFFERED, PlatformError, explained
from exporter.fleet.quotas import own_quotas
from exporter.status import QuotaStatus

INTERVAL: Final = 3600.0
"""Seconds between two requests for the quotas, which rarely change; also after a refusal."""
RETRY: Final = 300.0
"""Seconds until the next request after a temporary failure."""


class QuotasCollector:
    """Reads the quotas of one team. Mutable: it keeps the last quotas and when to ask again.

    Attributes:
        quotas: by name; empty while they cannot be read.
        status: the result of the last request; None before the first.
    """

    quotas: Mapping[str, float]

    def __init__(self, team: TeamContext) -> None:
        self.quotas = {}
        self.status: QuotaStatus | None = None
        self._team = team
        self._due_at = team.clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time, and the credential may read them."""
        return self._team.may_manage and self._team.hold.over and self._team.clock.monotonic() >= self._due_at

    async def poll(self) -> None:
        """Request them once. Raises nothing: without an answer there are no quotas."""
        self._due_at = self._team.clock.monotonic() + INTERVAL
        try:
            me = await self._team.client.me(expected=NOT_OFFERED)
        except PlatformError as error:
            self._failed(error)
            if not isinstance(error, NOT_OFFERED):
                # A wait that the platform asks for here concerns only this path.
                self._due_at = self._team.clock.monotonic() + max(RETRY, error.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001  nothing optional may end other polls; it is logged and counted
            self._team.internal_error(Operation.QUOTAS, error)
            self._failed(error)
        else:
            self.quotas = own_quotas(me, self._team.rules.team_id)
            self.status = QuotaStatus(limits=len(self.quotas))

    def _failed(self, failure: Exception) -> None:
        reason, error = explained(failure)
        self.quotas = {}
        self.status = QuotaStatus(limits=0, reason=reason, error=error)
