"""The metrics about the process itself, collected and rendered by the client library."""

from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition

from exporter.expose.text import OPENMETRICS_END

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)


def process_lines(*, openmetrics: bool) -> bytes:
    """`python_info`, and `process_*` if /proc exists. Includes headers, but no end marker."""
    if openmetrics:
        text: bytes = exposition.generate_latest(REGISTRY)  # type: ignore[no-untyped-call]  # has no annotations
        return text.removesuffix(OPENMETRICS_END)
    return generate_latest(REGISTRY)
