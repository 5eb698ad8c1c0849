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
    """Families that became known together."""

    pieces: Mapping[Metric, Piece]
    series: int


def batch(samples: Samples) -> Batch:
    """Compress what a poll gave. For a large team this takes milliseconds, mostly outside the interpreter's lock."""
    families = list(samples.families())
    return Batch({metric: deflate(text) for metric, text, _ in families}, sum(lines for _, _, lines in families))


@dataclass(frozen=True, slots=True)
class _Served:
    batch: Batch
    fresh_until: float


class _Team:
    """The batches of one team, one per scope. Mutable: every poll replaces some."""

    def __init__(self) -> None:
        self.served: dict[Scope, _Served] = {}

    def fresh(self, now: float) -> list[_Served]:
        """What may be served now; what is true of the team as a whole goes with any of its data."""
        fresh = [served for served in self.served.values() if now < served.fresh_until]
        return fresh if any(served.fresh_until < inf for served in fresh) else []


class Payload:
    """All teams' batches. Mutable; joins them when something changed since the last scrape, and else not at all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._teams: dict[str, _Team] = {}
        self._joined: dict[bool, tuple[Run, float]] = {}

    def put(self, team: str, scope: Scope, new: Batch, fresh_until: float | None) -> None:
        """Serve `new` as the team's data of this scope, until then; None: as long as any other of the team's data."""
        until = inf if fresh_until is None else fresh_until
        self._teams.setdefault(team, _Team()).served[scope] = _Served(new, until)
        self._joined.clear()

    def remove(self, team: str) -> None:
        """Serve nothing of the team any more."""
        self._teams.pop(team, None)
        self._joined.clear()

    def series(self, team: str) -> int:
        """How many domain series of the team are served now."""
        known = self._teams.get(team)
        return sum(served.batch.series for served in known.fresh(self._clock())) if known else 0

    def answer(self, about: bytes, *, openmetrics: bool) -> Answer:
        """The exposition: `about`, the exporter's own lines, first."""
        now = self._clock()
        joined, until = self._joined.get(openmetrics, (None, -inf))
        if joined is None or now >= until:
            joined, until = self._join(now, openmetrics=openmetrics)
            self._joined[openmetrics] = joined, until
        return Answer.of(deflate(about), joined)

    def team_answer(self, about: bytes, team: str, *, openmetrics: bool) -> Answer:
        """The exposition of one team alone."""
        known = self._teams.get(team)
        batches = [served.batch for served in known.fresh(self._clock())] if known else []
        return Answer.of(deflate(about), splice(_family_by_family(batches, openmetrics=openmetrics)))

    def _join(self, now: float, *, openmetrics: bool) -> tuple[Run, float]:
        fresh = [served for team in self._teams.values() for served in team.fresh(now)]
        until = min((served.fresh_until for served in fresh), default=inf)
        return splice(_family_by_family([served.batch for served in fresh], openmetrics=openmetrics)), until


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
