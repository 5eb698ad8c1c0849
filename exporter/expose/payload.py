"""What is served of the teams: prepared pieces per team and family, joined family by family."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import inf
from typing import Final

from exporter.catalog import DOMAIN_METRICS, Metric, Scope
from exporter.expose.pieces import Answer, Piece, Run, deflate, inflate, merge, splice
from exporter.expose.text import OPENMETRICS_END, Samples, header

SMALL: Final = 8 * 1024
"""Bytes of text below which a piece is compressed together with its neighbours: alone it would be twice as large."""
TOGETHER: Final = 16
"""Teams on a shelf: more would save a few per cent, and make each poll compress more of what is others'."""

_Pieces = Mapping[Metric, Sequence[Piece]]


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
        fresh = [served for served in self.served.values() if now < served.fresh_until]
        return fresh if any(served.fresh_until < inf for served in fresh) else []


class _Shelf:
    """A few teams. Small pieces of theirs, which compress badly alone, are compressed together. Mutable.

    Attributes:
        teams: by name.
    """

    def __init__(self) -> None:
        self.teams: dict[str, _Team] = {}
        self._sources: _Pieces = {}
        self._packed: _Pieces = {}
        self._fresh_until = inf

    def pack(self, now: float) -> None:
        """Take notice of what was put in or taken out; only families that changed are compressed again."""
        before, known = self._sources, self._packed
        self._sources, self._fresh_until = self._gathered(now)
        self._packed = {
            metric: known[metric] if before.get(metric) == pieces else list(_packed(pieces))
            for metric, pieces in self._sources.items()
        }

    def pieces(self, now: float) -> tuple[_Pieces, float]:
        """What to serve now, and until when. Once some of it is stale the rest goes as it is until the next change."""
        return (self._packed, self._fresh_until) if now < self._fresh_until else self._gathered(now)

    def _gathered(self, now: float) -> tuple[_Pieces, float]:
        fresh = [served for team in self.teams.values() for served in team.fresh(now)]
        pieces: dict[Metric, list[Piece]] = {}
        for served in fresh:
            for metric, piece in served.batch.pieces.items():
                pieces.setdefault(metric, []).append(piece)
        return pieces, min((served.fresh_until for served in fresh), default=inf)


def _packed(pieces: Iterable[Piece]) -> Iterator[Piece]:
    for small, run in groupby(pieces, key=lambda piece: piece.length < SMALL):
        several = tuple(run)
        if small and len(several) > 1:
            yield deflate(b"".join(map(inflate, several)))
        else:
            yield from several


@dataclass(frozen=True, slots=True)
class _Joined:
    run: Run
    fresh_until: float


class Payload:
    """All teams' batches, for the event loop alone. Mutable; joins them once after each change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shelves: list[_Shelf] = []
        self._shelf_of: dict[str, _Shelf] = {}
        self._joined: dict[bool, _Joined] = {}

    def put(self, team: str, scope: Scope, new: Batch, fresh_until: float | None) -> None:
        """Serve `new` as the team's data of this scope, until then; None: as long as any other of the team's data."""
        shelf = self._shelf_of.get(team) or self._place(team)
        shelf.teams[team].served[scope] = _Served(new, inf if fresh_until is None else fresh_until)
        shelf.pack(self._clock())
        self._joined.clear()

    def remove(self, team: str) -> None:
        """Serve nothing of the team any more."""
        if shelf := self._shelf_of.pop(team, None):
            del shelf.teams[team]
            shelf.pack(self._clock())
            if not shelf.teams:
                self._shelves.remove(shelf)
            self._joined.clear()

    def _place(self, team: str) -> _Shelf:
        shelf = next((shelf for shelf in self._shelves if len(shelf.teams) < TOGETHER), None)
        if shelf is None:
            shelf = _Shelf()
            self._shelves.append(shelf)
        shelf.teams[team] = _Team()
        self._shelf_of[team] = shelf
        return shelf

    def series(self, team: str) -> int:
        """How many domain series of the team are served now."""
        return sum(served.batch.series for served in self._fresh(team))

    def answer(self, about: Piece, *, openmetrics: bool) -> Answer:
        """The exposition: `about`, the exporter's own lines, first."""
        now = self._clock()
        joined = self._joined.get(openmetrics)
        if joined is None or now >= joined.fresh_until:
            joined = self._joined[openmetrics] = self._join(now, openmetrics=openmetrics)
        return Answer.of(about, joined.run)

    def team_answer(self, about: Piece, team: str, *, openmetrics: bool) -> Answer:
        """The exposition of one team alone."""
        sources = [{metric: (piece,) for metric, piece in each.batch.pieces.items()} for each in self._fresh(team)]
        return Answer.of(about, splice(_family_by_family(sources, openmetrics=openmetrics)))

    def _fresh(self, team: str) -> list[_Served]:
        shelf = self._shelf_of.get(team)
        return shelf.teams[team].fresh(self._clock()) if shelf else []

    def _join(self, now: float, *, openmetrics: bool) -> _Joined:
        shelves = [shelf.pieces(now) for shelf in self._shelves]
        run = splice(_family_by_family([pieces for pieces, _ in shelves], openmetrics=openmetrics))
        return _Joined(run, min((until for _, until in shelves), default=inf))


def _family_by_family(sources: Sequence[_Pieces], *, openmetrics: bool) -> Iterator[Piece]:
    for metric in DOMAIN_METRICS:
        pieces = [piece for source in sources for piece in source.get(metric, ())]
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
