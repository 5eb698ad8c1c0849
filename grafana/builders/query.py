"""PromQL made from the catalogue: each selector carries the matchers of the dashboard's variables."""

from dataclasses import dataclass
from typing import Final

from exporter.catalog import BUILD_INFO, Kind, Metric

TARGET_MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"

# What Prometheus and its client library add to every target; no metrics of ours.
SCRAPE_UP: Final = "up"
PROCESS_START: Final = "process_start_time_seconds"
PROCESS_MEMORY: Final = "process_resident_memory_bytes"
PROCESS_CPU: Final = "process_cpu_seconds_total"


@dataclass(frozen=True, slots=True)
class Selector:
    """Makes selectors for one dashboard.

    Attributes:
        variables: the dashboard's variables beside job and instance; each is a label of the same name and is
            matched wherever the metric has that label.
    """

    variables: tuple[str, ...]

    def __call__(self, metric: Metric, matchers: str = "", *, suffix: str = "") -> str:
        """An instant selector.

        Args:
            metric: from the catalogue.
            matchers: more of them, as `status="running"`.
            suffix: `_bucket`, `_sum` or `_count` of a histogram.
        """
        own = [f'{name}=~"${name}"' for name in self.variables if name in metric.label_names]
        return f"{metric.name}{suffix}{{{', '.join([TARGET_MATCHERS, *own, *([matchers] if matchers else [])])}}}"

    def rate(self, metric: Metric, matchers: str = "", *, suffix: str = "") -> str:
        """Growth per second of a counter, or of a part of a histogram."""
        return f"rate({self._counted(metric, matchers, suffix)}[{RATE}])"

    def increase(self, metric: Metric, matchers: str = "", *, suffix: str = "", over: str = RATE) -> str:
        """Growth of a counter, or of a part of a histogram, over an interval of Grafana's."""
        return f"increase({self._counted(metric, matchers, suffix)}[{over}])"

    def quantile(self, quantile: float, metric: Metric, matchers: str = "", *, by: str = "") -> str:
        """A quantile of a histogram, in its unit; nothing, rather than NaN, while nothing was counted."""
        labels = f"le, {by}" if by else "le"
        buckets = self.rate(metric, matchers, suffix="_bucket")
        return f"histogram_quantile({quantile}, sum by ({labels}) ({buckets})) >= 0"

    def _counted(self, metric: Metric, matchers: str, suffix: str) -> str:
        if metric.kind not in {Kind.COUNTER, Kind.HISTOGRAM}:
            raise ValueError(f"{metric.name} is a {metric.kind.value}: it has no rate")
        return self(metric, matchers, suffix=suffix)


def of_exporters(expression: str, *, gone_too: bool = False) -> str:
    """Only what comes from targets that are exporters: with all jobs chosen, `up` matches every target there is.

    Args:
        expression: with the labels job and instance.
        gone_too: also of targets that were exporters within the time shown and answer no more.
    """
    info = Selector(())(BUILD_INFO)
    seen = f"last_over_time({info}[{RANGE}])" if gone_too else info
    return f"({expression}) and on (job, instance) {seen}"


def foreign(name: str) -> str:
    """A selector for one of the metrics above that are not ours."""
    return f"{name}{{{TARGET_MATCHERS}}}"


def share(part: str, whole: str) -> str:
    """A ratio of two sums without labels; nothing where the whole is nothing, for then there is no ratio."""
    return f"sum({part}) / (sum({whole}) > 0)"


def age(timestamp: str) -> str:
    """Seconds since a time stamp."""
    return f"time() - {timestamp}"
