"""The two text formats: sample lines, which both share, and family headers, which differ.

Specifications: Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate, repeat
from typing import Final

from exporter.catalog import CATALOG, Kind, Metric

OPENMETRICS_END: Final = b"# EOF\n"
_ORDER: Final = {metric: position for position, metric in enumerate(CATALOG)}
_PLACEHOLDER: Final = "\0"
"""Stands for a subject's name; cannot occur in a label value, because `label_text` removes control characters."""


class Samples:
    """Sample lines under construction, by family. Mutable; lives for one poll or one scrape.

    Attributes:
        count: how many samples there are.
    """

    def __init__(self) -> None:
        self._texts: dict[Metric, list[str]] = {}
        self.count = 0

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a sample of a gauge, a counter or an info, as `line` renders it."""
        self._texts.setdefault(metric, []).append(line(metric, value, *labels))
        self.count += 1

    def add_rendered(self, metric: Metric, texts: Iterable[str], count: int) -> None:
        """Add complete lines that hold `count` samples; one text may hold several lines."""
        self._texts.setdefault(metric, []).extend(texts)
        self.count += count

    def subjects(self, *common: str, names: Iterable[str]) -> "Subjects":
        """Start adding samples of many subjects, such as agents.

        Args:
            common: label values that all subjects share; they come before the name.
            names: the label value that identifies each subject.
        """
        return Subjects(self, tuple(map(_escape, common)), [_escape(name) for name in names])

    def add_histogram(self, metric: Metric, counts: Sequence[int], total: float, *labels: str) -> None:
        """Add a histogram: observations per bucket (not cumulative, +Inf last) and the sum of all observations."""
        values = tuple(map(_escape, labels))
        bounds = (*(repr(float(bound)) for bound in metric.buckets), "+Inf")
        rows = zip(bounds, accumulate(counts), strict=True)
        lines = [_template(metric, "_bucket", ("le",)) % (*values, bound, cumulative) for bound, cumulative in rows]
        lines.append(_template(metric, "_sum") % (*values, total))
        lines.append(_template(metric, "_count") % (*values, sum(counts)))
        self.add_rendered(metric, lines, len(lines))

    def families(self) -> Iterator[tuple[Metric, bytes]]:
        """Yield each family's lines as one text, in the order of the catalogue."""
        for metric in sorted(self._texts, key=_ORDER.__getitem__):
            if texts := self._texts[metric]:
                yield metric, "".join(texts).encode()


def line(metric: Metric, value: float, *labels: str) -> str:
    """Render a sample of a gauge, a counter or an info.

    Args:
        metric: its family.
        value: a finite number.
        labels: a value for each label of the metric, in the order of the catalogue.

    Raises:
        TypeError: there are more or fewer values than labels.
    """
    return _template(metric) % (*map(_escape, labels), value)


class Subjects:
    """Adds a sample of each subject (an agent, say) to one family after another.

    The text that all lines of a family have in common is rendered only once.
    """

    def __init__(self, samples: Samples, common: tuple[str, ...], names: Sequence[str]) -> None:
        self._samples = samples
        self._common = common
        self._names = names

    def repeated(self, counts: Iterable[int]) -> "Subjects":
        """The same subjects, each repeated once for each of its parts: an agent, for example, once per GPU."""
        names = [name for name, count in zip(self._names, counts, strict=True) for _ in range(count)]
        return Subjects(self._samples, self._common, names)

    def add(
        self, metric: Metric, values: Iterable[float | None], labels: Iterable[tuple[str, ...]] | None = None
    ) -> None:
        """Add one sample for each subject.

        Args:
            metric: its family.
            values: one for each subject, finite, or None for no sample.
            labels: for each subject, the values of the labels after its name; None if no label follows.

        Raises:
            TypeError: there are more or fewer values than labels.
            ValueError: there are more or fewer values than subjects.
        """
        head, ends = _head(metric, self._common), _Ends(metric, self._common)
        rows = zip(self._names, repeat((), len(self._names)) if labels is None else labels, values, strict=True)
        lines = [f"{head}{name}{ends[following]}{value}\n" for name, following, value in rows if value is not None]
        self._samples.add_rendered(metric, lines, len(lines))

    def add_states(self, metric: Metric, states: Sequence[str], current: Sequence[str | None]) -> None:
        """Add a sample for each state of each subject: 1 for its current one, else 0.

        A subject whose state is None gets no samples.
        """
        # The lines of all states, split wherever the name goes: joining with a name fills it in.
        pieces = {state: _around_states(metric, self._common, states, state) for state in {*current} if state}
        rows = zip(self._names, current, strict=True)
        texts = [name.join(pieces[state]) for name, state in rows if state is not None]
        self._samples.add_rendered(metric, texts, len(texts) * len(states))


class _Ends(dict[tuple[str, ...], str]):
    """The text between a subject's name and the value, by the values of the labels after the name."""

    def __init__(self, metric: Metric, common: tuple[str, ...]) -> None:
        super().__init__()
        self._metric, self._common = metric, common

    def __missing__(self, following: tuple[str, ...]) -> str:
        rendered = _template(self._metric) % (*self._common, _PLACEHOLDER, *map(_escape, following), "")
        end = self[following] = rendered.partition(_PLACEHOLDER)[2].removesuffix("\n")
        return end


def _head(metric: Metric, common: tuple[str, ...]) -> str:
    """The text before a subject's name."""
    following = len(metric.label_names) - len(common) - 1
    return (_template(metric) % (*common, _PLACEHOLDER, *[""] * following, "")).partition(_PLACEHOLDER)[0]


def _around_states(metric: Metric, common: tuple[str, ...], states: Sequence[str], current: str) -> list[str]:
    """The lines of all states of a subject, split where its name goes."""
    lines = (_template(metric) % (*common, _PLACEHOLDER, _escape(state), int(state == current)) for state in states)
    return "".join(lines).split(_PLACEHOLDER)


@cache
def header(metric: Metric, *, openmetrics: bool) -> bytes:
    """The HELP, TYPE and UNIT lines of a family."""
    if not openmetrics:
        kind = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
        return f"# HELP {metric.name} {_escape_help(metric.help)}\n# TYPE {metric.name} {kind.value}\n".encode()
    name = metric.family
    unit = f"# UNIT {name} {metric.unit}\n" if metric.unit else ""
    return f"# HELP {name} {_escape(metric.help)}\n# TYPE {name} {metric.kind.value}\n{unit}".encode()


@cache
def _template(metric: Metric, suffix: str = "", more_labels: tuple[str, ...] = ()) -> str:
    labels = ",".join(f'{label}="%s"' for label in (*metric.label_names, *more_labels))
    return f"{metric.name}{suffix}{{{labels}}} %s\n" if labels else f"{metric.name}{suffix} %s\n"


@lru_cache(maxsize=8192)
def _escape(text: str) -> str:
    return _escape_help(text).replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
