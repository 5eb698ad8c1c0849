"""The metrics about the exporter itself: rendered from live values at every scrape."""

import os
import platform
from typing import Final

from exporter import catalog
from exporter.errors import REASONS
from exporter.expose.compression import DeflatedText, concatenate, deflate, store
from exporter.expose.counters import ApiCounters
from exporter.expose.process import process_lines
from exporter.expose.text import Samples, header
from exporter.status import CollectorStatus, DiscoveryStatus, ExporterStatus, TeamStatus

REVISION_VARIABLE: Final = "CYBERUN_EXPORTER_REVISION"
"""The image sets this to the commit that it was built from."""


class SelfMetrics:
    """The metrics about the exporter for one scrape. Mutable: teams are added one by one, and polls run in between."""

    def __init__(self, counters: ApiCounters) -> None:
        self._counters = counters
        self._samples = Samples()
        self._teams: set[str] = set()

    def add_team(self, team: TeamStatus, *, up: bool) -> None:
        """Add one team's polls and requests; `up` says whether the team counts as up."""
        _add_polls(self._samples, team, up=up)
        _add_requests(self._samples, team.name, self._counters)
        self._teams.add(team.name)

    def render(self, status: ExporterStatus, *, openmetrics: bool) -> DeflatedText:
        """All of it: the teams added so far, discoveries and the process. Includes headers, but no end marker."""
        for name in self._counters.paths:
            if name not in self._teams:
                _add_requests(self._samples, name, self._counters)
        for discovery in status.discoveries:
            _add_discovery(self._samples, discovery)
        _add_process(self._samples, status, self._counters)
        process = store(process_lines(openmetrics=openmetrics))
        return concatenate((self.render_teams(openmetrics=openmetrics), process))

    def render_teams(self, *, openmetrics: bool) -> DeflatedText:
        """Only the teams added so far."""
        families = self._samples.families()
        return deflate(b"".join(header(metric, openmetrics=openmetrics) + lines for metric, lines in families))


def _add_polls(samples: Samples, team: TeamStatus, *, up: bool) -> None:
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


def _add_requests(samples: Samples, team: str, counters: ApiCounters) -> None:
    for path in counters.paths.get(team, ()):
        samples.add(catalog.API_REQUESTS, counters.requests[team, path], team, path)
        failures = (counters.failures[team, path, reason] for reason in REASONS)
        samples.subjects(team, path, names=REASONS).add(catalog.API_REQUEST_FAILURES, failures)


def _add_discovery(samples: Samples, discovery: DiscoveryStatus) -> None:
    samples.add(catalog.DISCOVERY_SUCCESS, int(discovery.success), discovery.name)
    samples.add(catalog.DISCOVERY_LAST_SUCCESS, discovery.last_success_at or 0, discovery.name)
    if discovery.last_success_at is not None:
        teams = {"polled": discovery.polled, "left_out": len(discovery.left_out), "not_wanted": discovery.not_wanted}
        for state in catalog.DISCOVERED_TEAM_STATES:
            samples.add(catalog.DISCOVERY_TEAMS, teams[state], discovery.name, state)


def _add_process(samples: Samples, status: ExporterStatus, counters: ApiCounters) -> None:
    samples.subjects(names=counters.unknown).add(catalog.UNKNOWN_VALUES, counters.unknown.values())
    for path, (buckets, total) in counters.seconds.items():
        samples.add_histogram(catalog.API_REQUEST_SECONDS, buckets, total, path)
    if counters.skew is not None:
        samples.add(catalog.CLOCK_SKEW, counters.skew)
    samples.subjects(names=counters.internal_errors).add(catalog.INTERNAL_ERRORS, counters.internal_errors.values())
    samples.add(catalog.LOG_LINES_DROPPED, status.log_lines_dropped)
    samples.add(catalog.CONFIG_RELOAD_SUCCESSFUL, int(status.last_reload_ok))
    if status.last_reload_ok_at is not None:
        samples.add(catalog.CONFIG_RELOAD_SUCCESS, status.last_reload_ok_at)
    revision = os.environ.get(REVISION_VARIABLE, "")
    samples.add(catalog.BUILD_INFO, 1, status.version, revision, platform.python_version())
