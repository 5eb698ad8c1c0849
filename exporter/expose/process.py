"""The lines about the process itself: the client library's findings, written as everything else is."""

from functools import cache
from typing import Final

from prometheus_client import PlatformCollector, ProcessCollector

from exporter.catalog import Kind, Metric, Scope
from exporter.expose.text import header, line

_PROCESS: Final = ProcessCollector(registry=None)


def process_lines(*, openmetrics: bool) -> bytes:
    """`python_info`, and `process_*` as of now: nothing of the latter where there is no /proc. Headers included."""
    lines = [_python(openmetrics)]
    for family in _PROCESS.collect():
        [sample] = family.samples
        lines.append(_header(sample.name, family.type, family.documentation, openmetrics))
        lines.append(f"{sample.name} {sample.value}\n".encode())
    return b"".join(lines)


@cache
def _python(openmetrics: bool) -> bytes:  # noqa: FBT001  a key
    [family] = PlatformCollector(registry=None).collect()
    [sample] = family.samples
    info = Metric(family.name, Kind(family.type), Scope.EXPORTER, family.documentation, tuple(sample.labels))
    return header(info, openmetrics=openmetrics) + line(info, sample.value, *sample.labels.values()).encode()


@cache
def _header(name: str, kind: str, text: str, openmetrics: bool) -> bytes:  # noqa: FBT001  a key
    return header(Metric(name, Kind(kind), Scope.EXPORTER, text), openmetrics=openmetrics)
