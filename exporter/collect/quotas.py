"""A team's limits: optional, read rarely, and never the reason why a poll fails."""

import logging
from collections.abc import Mapping
from typing import Final

from exporter.collect.context import TeamContext
from exporter.errors import ClientRefused, Forbidden, NotFound, PlatformError, Unauthorized
from exporter.fleet.quotas import own_quotas
from exporter.status import QuotaStatus

INTERVAL: Final = 3600.0
"""Seconds between two looks at the quotas, which people change rarely; also after a refusal."""
RETRY: Final = 300.0
"""Seconds until the next look after a failure that may pass."""
REFUSALS: Final = (Unauthorized, Forbidden, NotFound, ClientRefused)
"""A deployment may not serve quotas, or not to this credential: an answer, and no failure."""

_log = logging.getLogger(__name__)


class QuotasCollector:
    """Reads the quotas of one team. Mutable: it knows when to ask again.

    Attributes:
        quotas: by name; empty while they cannot be read.
        status: how the last look went; None before the first.
    """

    quotas: Mapping[str, float]

    def __init__(self, team: TeamContext) -> None:
        self.quotas = {}
        self.status: QuotaStatus | None = None
        self._team = team
        self._due_at = team.clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time, and the credential may ask at all."""
        return self._team.may_manage and self._team.hold.over and self._team.clock.monotonic() >= self._due_at

    async def poll(self) -> None:
        """Ask once. Nothing is raised: without an answer there are no quotas, and that is all."""
        self._due_at = self._team.clock.monotonic() + INTERVAL
        try:
            me = await self._team.client.me(expected=REFUSALS)
        except PlatformError as error:
            self._failed(str(error), error.reason)
            if not isinstance(error, REFUSALS):
                # A wait that is asked for here concerns this path alone.
                self._due_at = self._team.clock.monotonic() + max(RETRY, error.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001  nothing optional may end the others' polls; the log is loud
            _log.exception("quotas could not be read", extra={"team_name": self._team.rules.name})
            self._failed(f"internal error of the exporter: {type(error).__name__}", "internal")
        else:
            self.quotas = own_quotas(me, self._team.rules.team_id)
            self.status = QuotaStatus(limits=len(self.quotas))

    def _failed(self, error: str, reason: str) -> None:
        self.quotas = {}
        self.status = QuotaStatus(limits=0, reason=reason, error=error)
