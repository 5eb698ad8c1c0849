"""The teams' series as they are served: compressed per team and family, concatenated family by family."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from math import inf
from typing import Final

from exporter.catalog import DOMAIN_METRICS, Metric, Scope
from exporter.expose.compression import DeflatedText, Exposition, concatenate, deflate, inflate, summary
from exporter.expose.text import OPENMETRICS_END, Samples, header

SMALL_TEXT: Final = 8 * 1024
"""Texts shorter than this, in bytes, are compressed together: separately they would take twice the space."""
TEAMS_PER_GROUP: Final = 16
"""Maximum number of teams whose small texts are compressed together. A larger group would save a few per cent of space,
but each poll would recompress more text of other teams."""

_TextsByFamily = Mapping[str, Sequence[DeflatedText]]


@dataclass(frozen=True, slots=True)
class CompressedFamilies:
    """The samples of one scope from one poll."""

    texts: Mapping[str, DeflatedText]
    """By the family's name."""
    series: int


def compress_families(samples: Samples) -> CompressedFamilies:
    """Compress the samples of a poll. For a large team this takes milliseconds, mostly without the interpreter lock."""
    return CompressedFamilies({metric.name: deflate(text) for metric, text in samples.families()}, samples.count)


def concatenate_families(parts: Sequence[CompressedFamilies]) -> CompressedFamilies:
    """Join parts that each hold some of the samples of one poll."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.texts)
    texts = {name: concatenate(part.texts[name] for part in parts if name in part.texts) for name in names}
    return CompressedFamilies(texts, sum(part.series for part in parts))


@dataclass(frozen=True, slots=True)
class _Served:
    """What one scope of a team serves, by family, and until when, in monotonic seconds."""

    texts: Mapping[str, DeflatedText]
    series: int
    fresh_until: float


class _TeamSeries:
    """The series of one team, by scope. Mutable: every poll replaces some of them."""

    def __init__(self) -> None:
        self.served: dict[Scope, _Served] = {}

    def fresh(self, now: float) -> list[_Served]:
        """What may be served now. Series about the team as a whole are served only with fresh data of a list."""
        fresh = [served for served in self.served.values() if now < served.fresh_until]
        return fresh if any(served.fresh_until < inf for served in fresh) else []


class _TeamGroup:
    """A few teams whose small texts are compressed together, because separately they compress badly. Mutable.

    Attributes:
        teams: by name.
    """

    def __init__(self) -> None:
        self.teams: dict[str, _TeamSeries] = {}
        self._sources: _TextsByFamily = {}
        self._recompressed: _TextsByFamily = {}
        self._fresh_until = inf

    def recompress(self, now: float) -> None:
        """Apply a change of `teams`. Only families that have changed are compressed again."""
        sources_before, before = self._sources, self._recompressed
        self._sources, self._fresh_until = self._collect(now)
        self._recompressed = {
            name: before[name] if sources_before.get(name) == texts else tuple(_small_merged(texts))
            for name, texts in self._sources.items()
        }

    def texts(self, now: float) -> tuple[_TextsByFamily, float]:
        """What to serve now, and until when. Once a part is stale, small texts stay separate until the next change."""
        return (self._recompressed, self._fresh_until) if now < self._fresh_until else self._collect(now)

    def _collect(self, now: float) -> tuple[_TextsByFamily, float]:
        fresh = [served for team in self.teams.values() for served in team.fresh(now)]
        texts: dict[str, list[DeflatedText]] = {}
        for served in fresh:
            for name, text in served.texts.items():
                texts.setdefault(name, []).append(text)
        fresh_until = min((served.fresh_until for served in fresh), default=inf)
        return {name: tuple(each) for name, each in texts.items()}, fresh_until


def _small_merged(texts: Iterable[DeflatedText]) -> Iterator[DeflatedText]:
    """The texts, with neighbouring small ones compressed as one."""
    for small, neighbours in groupby(texts, key=lambda text: summary(text)[1] < SMALL_TEXT):
        several = tuple(neighbours)
        if small and len(several) > 1:
            yield deflate(b"".join(map(inflate, several)))
        else:
            yield from several


@dataclass(frozen=True, slots=True)
class _Body:
    """All teams' series, and until when they may be served."""

    text: DeflatedText
    fresh_until: float


class SeriesStore:
    """The series of all teams; only used in the event loop. Mutable: after each change they are concatenated once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._groups: list[_TeamGroup] = []
        self._group_of: dict[str, _TeamGroup] = {}
        self._bodies: dict[bool, _Body] = {}
        """By format: whether it is OpenMetrics."""

    def put(self, team: str, scope: Scope, families: CompressedFamilies, fresh_until: float | None) -> None:
        """Serve these series of the team and scope until `fresh_until`; if None, for as long as others of the team."""
        group = self._group_of.get(team) or self._add_to_group(team)
        until = inf if fresh_until is None else fresh_until
        group.teams[team].served[scope] = _Served(families.texts, families.series, until)
        group.recompress(self._clock())
        self._bodies.clear()

    def extend(self, team: str, seconds: float) -> None:
        """Serve the team's series this much longer, or shorter if it is negative."""
        if group := self._group_of.get(team):
            served = group.teams[team].served
            served.update(
                {scope: replace(each, fresh_until=each.fresh_until + seconds) for scope, each in served.items()}
            )
            group.recompress(self._clock())
            self._bodies.clear()

    def remove(self, team: str) -> None:
        """Stop serving the team's series."""
        if group := self._group_of.pop(team, None):
            del group.teams[team]
            group.recompress(self._clock())
            if not group.teams:
                self._groups.remove(group)
            self._bodies.clear()

    def _add_to_group(self, team: str) -> _TeamGroup:
        group = next((group for group in self._groups if len(group.teams) < TEAMS_PER_GROUP), None)
        if group is None:
            group = _TeamGroup()
            self._groups.append(group)
        group.teams[team] = _TeamSeries()
        self._group_of[team] = group
        return group

    def series(self, team: str) -> int:
        """Count the team's domain series that are served now."""
        return sum(served.series for served in self._fresh(team))

    def exposition(self, self_metrics: DeflatedText, *, openmetrics: bool) -> Exposition:
        """The metrics about the exporter, then all teams' series."""
        now = self._clock()
        body = self._bodies.get(openmetrics)
        if body is None or now >= body.fresh_until:
            body = self._bodies[openmetrics] = self._concatenated(now, openmetrics=openmetrics)
        return Exposition.of(self_metrics, body.text)

    def team_exposition(self, self_metrics: DeflatedText, team: str, *, openmetrics: bool) -> Exposition:
        """The same for only one team."""
        sources = [{name: (text,) for name, text in each.texts.items()} for each in self._fresh(team)]
        return Exposition.of(self_metrics, concatenate(_family_by_family(sources, openmetrics=openmetrics)))

    def _fresh(self, team: str) -> list[_Served]:
        group = self._group_of.get(team)
        return group.teams[team].fresh(self._clock()) if group else []

    def _concatenated(self, now: float, *, openmetrics: bool) -> _Body:
        groups = [group.texts(now) for group in self._groups]
        text = concatenate(_family_by_family([texts for texts, _ in groups], openmetrics=openmetrics))
        return _Body(text, min((until for _, until in groups), default=inf))


def _family_by_family(sources: Sequence[_TextsByFamily], *, openmetrics: bool) -> Iterator[DeflatedText]:
    for metric in DOMAIN_METRICS:
        texts = [text for source in sources for text in source.get(metric.name, ())]
        if texts:
            yield _header(metric, openmetrics=openmetrics)
            yield from texts
    if openmetrics:
        yield _end()


@cache
def _header(metric: Metric, *, openmetrics: bool) -> DeflatedText:
    return deflate(header(metric, openmetrics=openmetrics))


@cache
def _end() -> DeflatedText:
    return deflate(OPENMETRICS_END)
