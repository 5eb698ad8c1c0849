"""The metrics about the exporter, made at every scrape from live values: few, and never cached."""

import os
import platform
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from exporter import catalog
from exporter.catalog import Metric
from exporter.errors import REASONS
from exporter.expose.counters import ApiCounters
from exporter.expose.text import OPENMETRICS_END, Samples, header
from exporter.status import CollectorStatus, ExporterStatus, TeamStatus

REVISION_VARIABLE: Final = "CYBERUN_EXPORTER_REVISION"
"""Set by the image to the commit it was built from."""

_process = CollectorRegistry()
ProcessCollector(registry=_process)
PlatformCollector(registry=_process)


def about(status: ExporterStatus, counters: ApiCounters, *, openmetrics: bool) -> bytes:
    """The lines about the exporter and its process, headers included, without an end mark.

    May run in a thread while polls go on counting: what is counted is copied at once before it is looked at.
    """
    samples = Samples()
    for team in status.teams:
        _add_team(samples, team, up=team.up)
    for name in list(counters.paths):
        _add_requests(samples, counters, name)
    _add_process(samples, status, counters)
    return _text(samples, openmetrics=openmetrics) + _process_lines(openmetrics=openmetrics)


def about_team(team: TeamStatus, counters: ApiCounters, *, up: bool, openmetrics: bool) -> bytes:
    """The lines about one team's polls, the last of which was `up`; what concerns the process is left to `about`."""
    samples = Samples()
    _add_team(samples, team, up=up)
    _add_requests(samples, counters, team.name)
    return _text(samples, openmetrics=openmetrics)


def _text(samples: Samples, *, openmetrics: bool) -> bytes:
    return b"".join(header(metric, openmetrics=openmetrics) + text for metric, text in samples.families())


def _add_team(samples: Samples, team: TeamStatus, *, up: bool) -> None:
    samples.add(catalog.UP, int(up), team.name)
    for collector in team.collectors:
        _add_collector(samples, team.name, collector)
    samples.add(catalog.SERIES, team.series, team.name)
    samples.add(catalog.SERIES_DROPPED, team.series_dropped, team.name)
    for metric, time in (
        (catalog.API_BACKOFF_UNTIL, team.backoff_until),
        (catalog.CREDENTIAL_LAST_LOAD, team.credential_loaded_at),
        (catalog.CREDENTIAL_EXPIRY, team.credential_expires_at),
    ):
        if time is not None:
            samples.add(metric, time, team.name)


def _add_collector(samples: Samples, team: str, collector: CollectorStatus) -> None:
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
            samples.add(metric, value, team, collector.name)


def _add_requests(samples: Samples, counters: ApiCounters, team: str) -> None:
    """Add what is counted for a team; its lines are made anew only when a count has changed."""
    version = counters.versions[team]
    known, lines = counters.lines.get(team, (-1, ()))
    if known != version:
        lines = tuple(_request_lines(counters, team))
        counters.lines[team] = version, lines
    for metric, text in lines:
        samples.add_texts(metric, (text,), text.count("\n"))


def _request_lines(counters: ApiCounters, team: str) -> Iterator[tuple[Metric, str]]:
    samples = Samples()
    for path in counters.paths.get(team, ()):
        samples.add(catalog.API_REQUESTS, counters.requests[team, path], team, path)
        for reason in REASONS:
            samples.add(catalog.API_REQUEST_FAILURES, counters.failures[team, path, reason], team, path, reason)
    for metric, text in samples.families():
        yield metric, text.decode()


def _add_process(samples: Samples, status: ExporterStatus, counters: ApiCounters) -> None:
    for field, count in list(counters.unknown.items()):
        samples.add(catalog.UNKNOWN_VALUES, count, field)
    for path, (buckets, total) in list(counters.seconds.items()):
        samples.add_histogram(catalog.API_REQUEST_SECONDS, buckets, total, path)
    if counters.skew is not None:
        samples.add(catalog.CLOCK_SKEW, counters.skew)
    samples.add(catalog.CONFIG_RELOAD_SUCCESSFUL, int(status.last_reload_ok))
    if status.last_reload_ok_at is not None:
        samples.add(catalog.CONFIG_RELOAD_SUCCESS, status.last_reload_ok_at)
    revision = os.environ.get(REVISION_VARIABLE, "")
    samples.add(catalog.BUILD_INFO, 1, status.version, revision, platform.python_version())


def _process_lines(*, openmetrics: bool) -> bytes:
    if not openmetrics:
        return generate_latest(_process)
    text: bytes = openmetrics_exposition.generate_latest(_process)  # type: ignore[no-untyped-call]  # theirs has no types
    return text.removesuffix(OPENMETRICS_END)
