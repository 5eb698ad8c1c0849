"""Counters of what has happened since the process started, mainly of requests to the platform."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from exporter.catalog import REQUEST_BUCKETS, Operation
from exporter.errors import REASONS
from exporter.platform import wire


class ApiCounters:
    """Requests, failures, durations, unknown values and internal errors. Mutable: the whole exporter counts here."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """By team and path."""
        self.failures: Counter[tuple[str, str, str]] = Counter()
        """By team, path and reason."""
        self.internal_errors: Counter[Operation] = Counter(dict.fromkeys(Operation, 0))
        self.unknown: Counter[str] = Counter(dict.fromkeys(wire.FIELDS, 0))
        """By field."""
        self.seconds: dict[str, tuple[list[int], float]] = {}
        """By path: answers per bucket, not cumulative, and the sum of their durations."""
        self.paths: dict[str, tuple[str, ...]] = {}
        """By team."""
        self.skew: float | None = None
        """The platform's clock minus ours, in seconds, as of its last answer."""

    def start(self, team: str, paths: Iterable[str]) -> None:
        """Start every counter of the team at 0, so that its first increase is visible."""
        for path in paths:
            if path not in self.paths.get(team, ()):
                self.paths[team] = (*self.paths.get(team, ()), path)

    def forget(self, team: str) -> None:
        """Remove the counters of a team that is gone."""
        for path in self.paths.pop(team, ()):
            self.requests.pop((team, path), None)
            for reason in REASONS:
                self.failures.pop((team, path, reason), None)

    def request(self, team: str, path: str) -> None:
        """Count a request that is being sent; not one of a team that is gone, whose last poll is being cancelled."""
        if team in self.paths:
            self.start(team, (path,))
            self.requests[team, path] += 1

    def answered(self, path: str, seconds: float) -> None:
        """Observe how long a request took, whether or not it succeeded."""
        counts, total = self.seconds.get(path) or ([0] * (len(REQUEST_BUCKETS) + 1), 0.0)
        counts[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        self.seconds[path] = counts, total + seconds

    def failed(self, team: str, path: str, reason: str) -> None:
        """Count a request that got no usable answer; not one of a team that is gone."""
        if team in self.paths:
            self.start(team, (path,))
            self.failures[team, path, reason] += 1

    def internal_error(self, operation: Operation) -> None:
        """Count a failure of the exporter itself."""
        self.internal_errors[operation] += 1

    def clock_skew(self, seconds: float) -> None:
        """Record the difference between the platform's clock and ours."""
        self.skew = seconds

    def unknown_values(self, fields: Counter[str]) -> None:
        """Count values that were dropped or not understood, by field."""
        self.unknown.update(fields)
