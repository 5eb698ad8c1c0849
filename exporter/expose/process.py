"""The lines about the process itself: the client library's findings, written as everything else is."""

from functools import cache
from typing import Final

from prometheus_client import PlatformCollector, ProcessCollector

from exporter.catalog import Kind, Metric, Scope
from exporter.expose.text import header, line

_COLLECTORS: Final = (ProcessCollector(registry=None), PlatformCollector(registry=None))


def process_lines(*, openmetrics: bool) -> bytes:
    """`process_*` and `python_info` as of now, headers included; of the former nothing where there is no /proc."""
    lines: list[bytes] = []
    for collector in _COLLECTORS:
        for family in collector.collect():
            labels = tuple(family.samples[0].labels)
            metric = _metric(family.samples[0].name, Kind(family.type), family.documentation, labels)
            lines.append(header(metric, openmetrics=openmetrics))
            lines.extend(line(metric, each.value, *each.labels.values()).encode() for each in family.samples)
    return b"".join(lines)


@cache
def _metric(name: str, kind: Kind, text: str, labels: tuple[str, ...]) -> Metric:
    return Metric(name, kind, Scope.EXPORTER, text, labels)
