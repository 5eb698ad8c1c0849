"""The two text formats: lines of samples, which both share, and family headers, in which they differ.

Sources: Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Final

from exporter.catalog import CATALOG, Kind, Metric

OPENMETRICS_END: Final = b"# EOF\n"


class Samples:
    """Sample lines under construction, by family. Mutable; lives for one poll or one scrape."""

    def __init__(self) -> None:
        self._lines: dict[Metric, list[str]] = {}

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a sample of a gauge, a counter or an info.

        Args:
            metric: its family.
            value: a finite number.
            labels: a value for each of the metric's labels, in the catalogue's order.

        Raises:
            TypeError: there are more or fewer values than labels.
        """
        self._family(metric).append(_template(metric) % (*map(_escape, labels), value))

    def add_histogram(self, metric: Metric, counts: Sequence[int], total: float, *labels: str) -> None:
        """Add a histogram: observations per bucket, not cumulated, the unbounded one last; and their sum."""
        values = tuple(map(_escape, labels))
        lines = self._family(metric)
        bounds = (*(repr(float(bound)) for bound in metric.buckets), "+Inf")
        for bound, cumulated in zip(bounds, accumulate(counts), strict=True):
            lines.append(_template(metric, "_bucket", ("le",)) % (*values, bound, cumulated))
        lines.append(_template(metric, "_sum") % (*values, total))
        lines.append(_template(metric, "_count") % (*values, sum(counts)))

    @property
    def count(self) -> int:
        """How many samples there are."""
        return sum(map(len, self._lines.values()))

    def _family(self, metric: Metric) -> list[str]:
        return self._lines.setdefault(metric, [])

    def families(self) -> Iterator[tuple[Metric, bytes, int]]:
        """Yield each family's lines as one text, and their number, in the catalogue's order."""
        for metric in CATALOG:
            if lines := self._lines.get(metric):
                yield metric, "".join(lines).encode(), len(lines)


@cache
def header(metric: Metric, *, openmetrics: bool) -> bytes:
    """The lines that open a family."""
    if not openmetrics:
        kind = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
        return f"# HELP {metric.name} {_escape_help(metric.help)}\n# TYPE {metric.name} {kind.value}\n".encode()
    name = metric.family
    unit = f"# UNIT {name} {metric.unit}\n" if metric.unit else ""
    return f"# HELP {name} {_escape(metric.help)}\n# TYPE {name} {metric.kind.value}\n{unit}".encode()


@cache
def _template(metric: Metric, suffix: str = "", more_labels: tuple[str, ...] = ()) -> str:
    labels = ",".join(f'{label}="%s"' for label in (*metric.labels, *more_labels))
    return f"{metric.name}{suffix}{{{labels}}} %s\n" if labels else f"{metric.name}{suffix} %s\n"


@lru_cache(maxsize=8192)
def _escape(text: str) -> str:
    return _escape_help(text).replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
