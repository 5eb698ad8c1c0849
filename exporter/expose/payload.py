"""What is served of the teams: prepared pieces per team and family, joined family by family."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf

from exporter.catalog import DOMAIN_METRICS, Metric, Scope
from exporter.expose.pieces import Answer, Piece, Run, deflate, merge, splice
from exporter.expose.text import OPENMETRICS_END, Samples, header


@dataclass(frozen=True, slots=True)
class Batch:
    """Families that became known together."""

    pieces: Mapping[Metric, Piece]
    series: int


def batch(samples: Samples) -> Batch:
    """Compress what a poll gave. For a large team this takes milliseconds, mostly outside the interpreter's lock."""
    return Batch({metric: deflate(text) for metric, text in samples.families()}, samples.count)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several, each of which holds a part of the samples of the same poll."""
    if len(batches) == 1:
        return batches[0]
    metrics = dict.fromkeys(metric for each in batches for metric in each.pieces)
    pieces = {metric: merge(each.pieces[metric] for each in batches if metric in each.pieces) for metric in metrics}
    return Batch(pieces, sum(each.series for each in batches))


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
        fresh = [served for served in list(self.served.values()) if now < served.fresh_until]
        return fresh if any(served.fresh_until < inf for served in fresh) else []


@dataclass(frozen=True, slots=True)
class _Joined:
    run: Run
    version: int
    """Of the payload it was joined from."""
    fresh_until: float


class Payload:
    """All teams' batches. Mutable; joins them when something changed since the last scrape, and else not at all.

    Polls put batches in from the event loop; `answer` may run in a thread meanwhile. It works on copies, and keeps
    what it joined only if nothing was put in since.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._teams: dict[str, _Team] = {}
        self._version = 0
        self._joined: dict[bool, _Joined] = {}

    def put(self, team: str, scope: Scope, new: Batch, fresh_until: float | None) -> None:
        """Serve `new` as the team's data of this scope, until then; None: as long as any other of the team's data."""
        until = inf if fresh_until is None else fresh_until
        self._teams.setdefault(team, _Team()).served[scope] = _Served(new, until)
        self._version += 1

    def remove(self, team: str) -> None:
        """Serve nothing of the team any more."""
        self._teams.pop(team, None)
        self._version += 1

    def series(self, team: str) -> int:
        """How many domain series of the team are served now."""
        known = self._teams.get(team)
        return sum(served.batch.series for served in known.fresh(self._clock())) if known else 0

    def answer(self, about: bytes, *, openmetrics: bool) -> Answer:
        """The exposition: `about`, the exporter's own lines, first."""
        now, version = self._clock(), self._version
        joined = self._joined.get(openmetrics)
        if joined is None or joined.version != version or now >= joined.fresh_until:
            joined = self._joined[openmetrics] = self._join(now, version, openmetrics=openmetrics)
        return Answer.of(deflate(about), joined.run)

    def team_answer(self, about: bytes, team: str, *, openmetrics: bool) -> Answer:
        """The exposition of one team alone."""
        known = self._teams.get(team)
        batches = [served.batch for served in known.fresh(self._clock())] if known else []
        return Answer.of(deflate(about), splice(_family_by_family(batches, openmetrics=openmetrics)))

    def _join(self, now: float, version: int, *, openmetrics: bool) -> _Joined:
        fresh = [served for team in list(self._teams.values()) for served in team.fresh(now)]
        run = splice(_family_by_family([served.batch for served in fresh], openmetrics=openmetrics))
        return _Joined(run, version, min((served.fresh_until for served in fresh), default=inf))


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
