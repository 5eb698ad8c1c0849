"""The metrics about the exporter: live values at every scrape, written anew only where a value changed."""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from exporter import catalog
from exporter.catalog import EXPORTER_METRICS, Metric
from exporter.errors import REASONS
from exporter.expose.compression import DeflatedText, concatenate, deflate, store
from exporter.expose.counters import ApiCounters
from exporter.expose.process import process_lines
from exporter.expose.text import Samples, header
from exporter.status import CollectorStatus, ExporterStatus, TeamStatus

REVISION_VARIABLE: Final = "CYBERUN_EXPORTER_REVISION"
"""Set by the image to the commit it was built from."""


class _Observed(NamedTuple):
    """The value of a histogram: observations per bucket, not cumulated, and their sum."""

    counts: tuple[int, ...]
    sum: float


_Row = tuple[Metric, float | _Observed, tuple[str, ...]]
"""A sample or a histogram: its family, its value, its label values."""
_Lines = Mapping[Metric, bytes]
"""Text by family."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A compressed text, and what it was made of."""

    teams: tuple[TeamStatus, ...]
    counted: int
    reload: tuple[bool, float | None]
    text: DeflatedText


class SelfMetrics:
    """Writes about the exporter and its process. Mutable: it remembers what it wrote, and of which values.

    May run in a thread while polls go on counting: what is counted is copied at once before it is looked at.
    """

    def __init__(self, counters: ApiCounters) -> None:
        self._counters = counters
        self._written: dict[tuple[str, str], tuple[object, _Lines]] = {}
        """By what it is about, and whom: what the lines depend on, and the lines."""
        self._told: dict[bool, _Told] = {}
        """By format."""

    def render(self, status: ExporterStatus, *, openmetrics: bool) -> DeflatedText:
        """All there is to say, headers included, without an end mark."""
        counted, reload = self._counters.version, (status.last_reload_ok, status.last_reload_ok_at)
        told = self._told.get(openmetrics)
        if told is None or (told.counted, told.reload, told.teams) != (counted, reload, status.teams):
            text = deflate(_text(self._all(status), openmetrics=openmetrics))
            told = self._told[openmetrics] = _Told(status.teams, counted, reload, text)
        return concatenate((told.text, store(process_lines(openmetrics=openmetrics))))

    def render_team(self, team: TeamStatus, *, up: bool, openmetrics: bool) -> DeflatedText:
        """What there is to say about one team's polls, the last of which was `up`; nothing about the process."""
        rows = (_polls(team, up=up), _requests(team.name, self._counters), _failures(team.name, self._counters))
        return deflate(_text(map(_lines, rows), openmetrics=openmetrics))

    def _all(self, status: ExporterStatus) -> Iterator[_Lines]:
        before, written, counters = self._written, dict[tuple[str, str], tuple[object, _Lines]](), self._counters

        def write(of: tuple[str, str], state: object, rows: Callable[[], Iterator[_Row]]) -> _Lines:
            known = before.get(of)
            known = written[of] = known if known is not None and known[0] == state else (state, _lines(rows()))
            return known[1]

        for team in status.teams:
            yield write(("polls", team.name), team, partial(_polls, team, up=team.up))
        for name in list(counters.paths):  # of discoveries, too
            yield write(("requests", name), counters.versions[name], partial(_requests, name, counters))
            yield write(("failures", name), counters.failure_versions[name], partial(_failures, name, counters))
        yield _lines(_process(status, counters))
        self._written = written


def _lines(rows: Iterable[_Row]) -> _Lines:
    samples = Samples()
    for metric, value, labels in rows:
        if isinstance(value, _Observed):
            samples.add_histogram(metric, value.counts, value.sum, *labels)
        else:
            samples.add(metric, value, *labels)
    return dict(samples.families())


def _text(parts: Iterable[_Lines], *, openmetrics: bool) -> bytes:
    families: dict[Metric, list[bytes]] = {}
    for part in parts:
        for metric, lines in part.items():
            families.setdefault(metric, []).append(lines)
    in_order = ((metric, families[metric]) for metric in EXPORTER_METRICS if metric in families)
    return b"".join(header(metric, openmetrics=openmetrics) + b"".join(lines) for metric, lines in in_order)


def _polls(team: TeamStatus, *, up: bool) -> Iterator[_Row]:
    who = (team.name,)
    yield catalog.UP, int(up), who
    for collector in team.collectors:
        yield from _collector(team.name, collector)
    yield catalog.SERIES, team.series, who
    yield catalog.SERIES_DROPPED, team.series_dropped, who
    for metric, time in (
        (catalog.API_BACKOFF_UNTIL, team.backoff_until),
        (catalog.CREDENTIAL_LAST_LOAD, team.credential_loaded_at),
        (catalog.CREDENTIAL_EXPIRY, team.credential_expires_at),
    ):
        if time is not None:
            yield metric, time, who


def _collector(team: str, collector: CollectorStatus) -> Iterator[_Row]:
    who = (team, collector.name)
    for metric, value in (
        (catalog.COLLECTOR_SUCCESS, int(collector.success)),
        (catalog.COLLECTOR_DURATION, collector.attempts[0].duration if collector.attempts else None),
        (catalog.COLLECTOR_INTERVAL, collector.interval),
        (catalog.COLLECTOR_LAST_SUCCESS, collector.last_success_at),
        (catalog.COLLECTOR_LAST_ATTEMPT, collector.last_attempt_at),
        (catalog.COLLECTOR_ITEMS, collector.items),
        (catalog.COLLECTOR_ITEMS_REPORTED, collector.items_reported),
        (catalog.COLLECTOR_TRUNCATED, None if collector.truncated is None else int(collector.truncated)),
    ):
        if value is not None:
            yield metric, value, who


def _requests(team: str, counters: ApiCounters) -> Iterator[_Row]:
    for path in counters.paths.get(team, ()):
        yield catalog.API_REQUESTS, counters.requests[team, path], (team, path)


def _failures(team: str, counters: ApiCounters) -> Iterator[_Row]:
    for path in counters.paths.get(team, ()):
        for reason in REASONS:
            yield catalog.API_REQUEST_FAILURES, counters.failures[team, path, reason], (team, path, reason)


def _process(status: ExporterStatus, counters: ApiCounters) -> Iterator[_Row]:
    for field, count in list(counters.unknown.items()):
        yield catalog.UNKNOWN_VALUES, count, (field,)
    for path, (buckets, total) in list(counters.seconds.items()):
        yield catalog.API_REQUEST_SECONDS, _Observed(tuple(buckets), total), (path,)
    if counters.skew is not None:
        yield catalog.CLOCK_SKEW, counters.skew, ()
    yield catalog.CONFIG_RELOAD_SUCCESSFUL, int(status.last_reload_ok), ()
    if status.last_reload_ok_at is not None:
        yield catalog.CONFIG_RELOAD_SUCCESS, status.last_reload_ok_at, ()
    revision = os.environ.get(REVISION_VARIABLE, "")
    yield catalog.BUILD_INFO, 1, (status.version, revision, platform.python_version())
