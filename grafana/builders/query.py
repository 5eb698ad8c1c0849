"""PromQL made from the catalogue: each selector carries the matchers of the dashboard's variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter import catalog
from exporter.catalog import Kind, Metric, Scope

TARGET_MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"
INTERVAL: Final = "$__interval"

# What Prometheus and its client library add to every target; no metrics of ours.
SCRAPE_UP: Final = "up"
PROCESS_START: Final = "process_start_time_seconds"
PROCESS_MEMORY: Final = "process_resident_memory_bytes"
PROCESS_CPU: Final = "process_cpu_seconds_total"

# Where two exporters of one team differ, the lower value is the one to worry about; of all others, the higher.
_LOWEST: Final = {
    catalog.AGENT_GPU_VRAM_FREE,
    catalog.TASK_OLDEST_CREATED,
    catalog.TASK_OLDEST_STARTED,
    catalog.CREDENTIAL_EXPIRY,
}
# Exposed exactly as long as the other metrics of its scope, for each team.
_PRESENT: Final = {
    Scope.TASKS: catalog.TASKS,
    Scope.AGENTS: catalog.AGENTS,
    Scope.ASSIGNMENT: catalog.AGENTS,
}


@dataclass(frozen=True, slots=True)
class Selector:
    """Makes selectors for one dashboard.

    Attributes:
        variables: the dashboard's variables beside job and instance; each is a label of the same name and is
            matched wherever the metric has that label.
    """

    variables: tuple[str, ...]

    def __call__(self, metric: Metric, matchers: str = "") -> str:
        """One value for each job and each combination of the metric's labels, however many exporters expose it.

        Args:
            metric: from the catalogue.
            matchers: more of them, as `status="running"`.
        """
        return _once(metric, self.each(metric, matchers))

    def each(self, metric: Metric, matchers: str = "", *, suffix: str = "") -> str:
        """An instant selector: what each exporter exposes.

        Args:
            metric: from the catalogue.
            matchers: more of them, as `status="running"`.
            suffix: `_bucket`, `_sum` or `_count` of a histogram.
        """
        own = [f'{name}=~"${name}"' for name in self.variables if name in metric.label_names]
        return f"{metric.name}{suffix}{{{', '.join([TARGET_MATCHERS, *own, *([matchers] if matchers else [])])}}}"

    def rate(self, metric: Metric, matchers: str = "", *, suffix: str = "") -> str:
        """Growth per second of a counter, or of a part of a histogram."""
        return self._growth("rate", metric, matchers, suffix, RATE)

    def increase(self, metric: Metric, matchers: str = "", *, suffix: str = "") -> str:
        """Growth of a counter, or of a part of a histogram, between two points of a graph."""
        return self._growth("increase", metric, matchers, suffix, RATE)

    def increase_in_range(self, metric: Metric, matchers: str = "") -> str:
        """Growth of a counter within the time shown, while its exporter is there and its team's data is known.

        A range still has a value after that, unlike an instant selector.
        """
        growth = self._growth("increase", metric, matchers, "", RANGE)
        if metric.scope is Scope.EXPORTER:
            return f"({growth} and on (job, instance) {self.each(catalog.UP)})"
        return f"({growth} and on (job, team_name) {self(_PRESENT[metric.scope])})"

    def quantile(self, quantile: float, metric: Metric, matchers: str = "", *, by: str = "") -> str:
        """A quantile of a histogram, in its unit; nothing, rather than NaN, while nothing was counted."""
        labels = f"le, {by}" if by else "le"
        buckets = self.rate(metric, matchers, suffix="_bucket")
        return f"histogram_quantile({quantile}, sum by ({labels}) ({buckets})) >= 0"

    def _growth(self, function: str, metric: Metric, matchers: str, suffix: str, over: str) -> str:
        if metric.kind not in {Kind.COUNTER, Kind.HISTOGRAM}:
            raise ValueError(f"{metric.name} is a {metric.kind.value}: it has no rate")
        growth = f"{function}({self.each(metric, matchers, suffix=suffix)}[{over}])"
        # Two exporters see the same work once, but each sends requests of its own.
        return growth if metric.scope is Scope.EXPORTER else _once(metric, growth, suffix)


def _once(metric: Metric, expression: str, suffix: str = "") -> str:
    labels = ["job", *metric.label_names, *(["le"] if suffix == "_bucket" else [])]
    return f"{'min' if metric in _LOWEST else 'max'} by ({', '.join(labels)}) ({expression})"


def of_exporters(expression: str) -> str:
    """Only what comes from targets that are exporters: all jobs may be chosen, and other programs have it too.

    Args:
        expression: with the labels job and instance.
    """
    return f"({expression}) and on (job, instance) {Selector(()).each(catalog.BUILD_INFO)}"


def foreign(name: str) -> str:
    """A selector for one of the metrics above that are not ours."""
    return f"{name}{{{TARGET_MATCHERS}}}"


def none(known: str, labels: Mapping[str, str] | None = None, value: str = "0") -> str:
    """One series that says that there is none of something, for the right side of `or on ()`.

    An empty result alone does not tell whether there is none or nothing is known.

    Args:
        known: gives something only while it is known.
        labels: what the series says.
        value: of the series.
    """
    series = f"0 * count({known})" if value == "0" else f"0 * count({known}) + {value}"
    return labelled(series, labels or {})


def labelled(expression: str, labels: Mapping[str, str]) -> str:
    """With these labels, where it has none of the name."""
    for label, text in labels.items():
        expression = f'label_replace({expression}, "{label}", "{text}", "{label}", "")'
    return expression


def share(part: str, whole: str) -> str:
    """A ratio of two sums without labels; no value where the denominator is 0."""
    return f"sum({part}) / (sum({whole}) > 0)"


def age(timestamp: str) -> str:
    """Seconds since a time stamp."""
    return f"time() - {timestamp}"


@dataclass(frozen=True, slots=True)
class Rank:
    """By what few of many series are chosen, over the time shown.

    Attributes:
        words: "the series with …".
        aggregation: of the series.
        over_time: of the values of a series.
    """

    words: str
    aggregation: str
    over_time: str


HIGHEST: Final = Rank("the highest values", "topk", "max_over_time")
HIGHEST_ON_AVERAGE: Final = Rank("the highest values on average", "topk", "avg_over_time")
LOWEST: Final = Rank("the lowest values", "bottomk", "min_over_time")


def chosen(rank: Rank, limit: int, expression: str, keys: str) -> str:
    """Over time, only the series that rank first.

    Args:
        rank: which come first.
        limit: how many.
        expression: gives one series for each combination of the keys.
        keys: its labels.
    """
    # Once for all points, at the end: chosen at each point anew, nearly all would be drawn at one or another.
    first = f"{rank.aggregation}({limit}, {rank.over_time}(({expression})[{RANGE}:{INTERVAL}] @ end()))"
    return f"({expression}) and on ({keys}) {first}"


def longest(limit: int, expression: str, condition: str, keys: str) -> str:
    """Over time, only the series whose condition, 0 or 1, held longest within the time shown, if it held at all."""
    held = f"sum_over_time(({condition})[{RANGE}:{INTERVAL}] @ end()) > 0"
    return f"({expression}) and on ({keys}) topk({limit}, {held})"
