"""What is served of the teams: prepared pieces per team and family, joined family by family."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf

from exporter.catalog import DOMAIN_METRICS, Metric, Scope
from exporter.expose.pieces import Answer, Piece, Run, deflate, splice
from exporter.expose.text import OPENMETRICS_END, Samples, header


@dataclass(frozen=True, slots=True)
class Batch:
    """Families that became known together and stay fresh equally long."""

    pieces: Mapping[Metric, Piece]
    series: int
    fresh_until: float
    """On the monotonic clock; `inf` for what does not age by itself."""


def batch(samples: Samples, fresh_until: float) -> Batch:
    """Compress what a poll gave. For a large team this takes milliseconds, mostly outside the interpreter's lock."""
    families = list(samples.families())
    pieces = {metric: deflate(text) for metric, text, _ in families}
    return Batch(pieces, sum(lines for _, _, lines in families), fresh_until)


class TeamPayload:
    """The batches of one team, one per scope. Mutable: every poll replaces some."""

    def __init__(self) -> None:
        self._batches: dict[Scope, Batch] = {}

    def put(self, scope: Scope, new: Batch) -> None:
        """Serve `new` in place of the scope's last batch."""
        self._batches[scope] = new

    def fresh(self, now: float) -> list[Batch]:
        """The batches that may be served now; what is true of the team as a whole goes with any of its data."""
        fresh = [batch for scope, batch in self._batches.items() if scope is not Scope.TEAM and now < batch.fresh_until]
        team = self._batches.get(Scope.TEAM)
        return [*fresh, team] if fresh and team else fresh


class Payload:
    """All teams' batches. Mutable; joins them when something changed since the last scrape, and else not at all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._teams: dict[str, TeamPayload] = {}
        self._joined: dict[bool, tuple[Run, float]] = {}

    def put(self, team: str, scope: Scope, new: Batch) -> None:
        """Serve `new` as the team's data of this scope."""
        self._teams.setdefault(team, TeamPayload()).put(scope, new)
        self._joined.clear()

    def series(self, team: str) -> int:
        """How many domain series of the team are served now."""
        payload = self._teams.get(team)
        return sum(batch.series for batch in payload.fresh(self._clock())) if payload else 0

    def answer(self, about: bytes, *, openmetrics: bool) -> Answer:
        """The exposition: `about`, the exporter's own lines, first."""
        now = self._clock()
        joined, until = self._joined.get(openmetrics, (None, -inf))
        if joined is None or now >= until:
            joined, until = self._join(now, openmetrics=openmetrics)
            self._joined[openmetrics] = joined, until
        return Answer.of(deflate(about), joined)

    def _join(self, now: float, *, openmetrics: bool) -> tuple[Run, float]:
        batches = [batch for team in self._teams.values() for batch in team.fresh(now)]
        until = min((batch.fresh_until for batch in batches), default=inf)
        return splice(_family_by_family(batches, openmetrics=openmetrics)), until


def _family_by_family(batches: list[Batch], *, openmetrics: bool) -> Iterator[Piece]:
    for metric in DOMAIN_METRICS:
        pieces = [batch.pieces[metric] for batch in batches if metric in batch.pieces]
        if pieces:
            yield _header(metric, openmetrics=openmetrics)
            yield from pieces
    if openmetrics:
        yield _end()


@cache
def _header(metric: Metric, *, openmetrics: bool) -> Piece:
    return deflate(header(metric, openmetrics=openmetrics))


@cache
def _end() -> Piece:
    return deflate(OPENMETRICS_END)
