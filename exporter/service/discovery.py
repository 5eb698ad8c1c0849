"""Which teams a credential can read. The platform is asked periodically, because teams come and go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from exporter.catalog import Operation
from exporter.config.types import trimmed
from exporter.errors import PlatformError
from exporter.expose.counters import ApiCounters
from exporter.log import event
from exporter.platform.account import OwnTeam
from exporter.platform.pacing import Backoff
from exporter.platform.team import TeamClient

INTERVAL: Final = 300.0
"""Seconds between two discoveries of the teams of one credential."""
RETRY: Final = 30.0
"""Seconds until the next attempt after a failed one."""
MIN_PAUSE: Final = 5.0
"""Minimum seconds between two attempts, so that many reloads do not cause as many requests."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundTeam:
    """A team as the platform lists it."""

    team_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What has been found with one credential so far.

    Attributes:
        teams: from the last success, sorted by id, so that of two teams with the same name always the same one keeps
            it; the ids of older teams usually come first.
        attempted: whether the platform was asked at all.
        attempted_at: when it was last asked, in monotonic seconds.
        succeeded_at: when it last answered.
        failure: why the last attempt failed; None when it succeeded.
        not_before: when the platform may be asked again, in monotonic seconds, also after a reload; None if at once.
    """

    teams: tuple[FoundTeam, ...] = ()
    attempted: bool = False
    attempted_at: float | None = None
    succeeded_at: float | None = None
    failure: Exception | None = None
    not_before: float | None = None


class Discovery:
    """Asks which teams one credential can read. Mutable: each attempt replaces `findings`.

    Attributes:
        name: used in place of a team's name in logs and in the metrics about requests.
    """

    def __init__(
        self,
        name: str,
        *,
        client: TeamClient,
        findings: Findings,
        counters: ApiCounters,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self.findings = findings
        self._client = client
        self._counters = counters
        self._clock = clock
        self._backoff = Backoff(RETRY, random=random)

    async def look(self) -> None:
        """Request the teams once; a failure is logged, and leaves the teams as they were."""
        now = self._clock()
        self.findings = replace(self.findings, not_before=now + MIN_PAUSE)
        try:
            teams = _with_names(await self._client.teams(required=bool(self.findings.teams)))
        except PlatformError as error:
            event(_log, logging.WARNING, "teams not discovered", credential=self.name, error=str(error))
            self._failed(now, error.without_traceback(), error.retry_after)
        except Exception as error:  # noqa: BLE001  our own bug must not end the polls; it is logged and counted
            self._counters.internal_error(Operation.DISCOVERY)
            _log.exception("internal error while teams were discovered", extra={"credential": self.name})
            self._failed(now, error.with_traceback(None), None)
        else:
            self._backoff.succeeded()
            self.findings = replace(
                self.findings, teams=teams, attempted=True, attempted_at=now, succeeded_at=now, failure=None
            )

    def _failed(self, now: float, failure: Exception, retry_after: float | None) -> None:
        ended = self._clock()
        self._backoff.failed(ended, retry_after)
        not_before = max(now + MIN_PAUSE, ended + (retry_after or 0.0))
        self.findings = replace(self.findings, attempted=True, attempted_at=now, failure=failure, not_before=not_before)

    async def keep_looking(
        self, report: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Request the teams periodically until cancelled, and call `report` after each attempt.

        The first attempt comes at once, or when what is known already may be asked for again.
        """
        held = (self.findings.not_before or 0.0) - self._clock()
        if held > 0:
            await sleep(held)
        while True:
            await self.look()
            await report()
            await sleep(self._pause())

    def _pause(self) -> float:
        held = (self._backoff.until or 0.0) - self._clock()
        return max(RETRY, held) if self.findings.failure else INTERVAL


def _with_names(teams: list[OwnTeam]) -> tuple[FoundTeam, ...]:
    """The teams by id, each once; one without a name is called by its id."""
    found = {team.id: FoundTeam(team.id, trimmed(team.display_name or "") or team.id) for team in teams if team.id}
    return tuple(found[team_id] for team_id in sorted(found))
