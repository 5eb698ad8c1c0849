"""The two text formats: lines of samples, which both share, and family headers, in which they differ.

Sources: Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Final

from exporter.catalog import CATALOG, Kind, Metric

OPENMETRICS_END: Final = b"# EOF\n"
Row = tuple[tuple[str, ...], float | str]
"""Label values and a value."""
_CUT: Final = "\0"
"""Stands in no label value: control characters were replaced at the door."""


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

    def add_text(self, metric: Metric, text: str) -> None:
        """Add whole lines that were made before."""
        self._family(metric).append(text)

    def subject(self, *labels: str) -> "Subject":
        """Add many samples that begin with the same label values, as those of one agent do."""
        return Subject(self._lines, *map(_escape, labels))

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
        return sum(text.count("\n") for texts in self._lines.values() for text in texts)

    def _family(self, metric: Metric) -> list[str]:
        return self._lines.setdefault(metric, [])

    def families(self) -> Iterator[tuple[Metric, bytes, int]]:
        """Yield each family's lines as one text, and their number, in the catalogue's order."""
        for metric in CATALOG:
            if lines := self._lines.get(metric):
                text = "".join(lines).encode()
                yield metric, text, text.count(b"\n")


class Subject:
    """Adds the samples of one thing. The labels that all have in common are escaped and joined once."""

    __slots__ = ("_common", "_lines", "_name")

    def __init__(self, lines: dict[Metric, list[str]], *labels: str) -> None:
        self._lines = lines
        self._common, self._name = labels[:-1], labels[-1]

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a sample; `labels` are the values that follow the common ones. Raises TypeError like `Samples.add`."""
        head, tail = _ends(metric, self._common, labels)
        self._append(metric, f"{head}{self._name}{tail}{value}\n")

    def add_rows(self, metric: Metric, rows: tuple[Row, ...]) -> None:
        """Add samples that many subjects have alike: the rest of their labels, and their values."""
        self._append(metric, self._name.join(_around(metric, self._common, rows)))

    def _append(self, metric: Metric, text: str) -> None:
        try:
            self._lines[metric].append(text)
        except KeyError:
            self._lines[metric] = [text]


@lru_cache(maxsize=8192)
def _ends(metric: Metric, common: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, str]:
    """What stands before the name of the subject, and between it and the value."""
    head, tail = _around(metric, common, ((labels, ""),))
    return head, tail.removesuffix("\n")


@lru_cache(maxsize=8192)
def _around(metric: Metric, common: tuple[str, ...], rows: tuple[Row, ...]) -> tuple[str, ...]:
    """The text of these samples, cut where the name of the subject stands."""
    template = _template(metric)
    text = "".join(template % (*common, _CUT, *map(_escape, labels), value) for labels, value in rows)
    return tuple(text.split(_CUT))


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
