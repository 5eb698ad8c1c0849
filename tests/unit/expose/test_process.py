from collections.abc import Iterator

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.expose.process import REGISTRY, process_lines
from support import Samples, parse_openmetrics, parse_text


class NextRelease(Collector):
    """What a later client library may add: labels, families with several samples or none, other types."""

    def collect(self) -> Iterator[Metric]:
        """Yield a family of each kind."""
        threads = GaugeMetricFamily("process_threads", "Threads by state.", labels=["state"])
        threads.add_metric(["running"], 2)
        threads.add_metric(["sleeping"], 7)
        yield threads
        switches = CounterMetricFamily("process_context_switches", "Context switches.", labels=["kind"])
        switches.add_metric(["voluntary"], 30, created=1.5)
        yield switches
        yield HistogramMetricFamily("process_pause_seconds", "Pauses.", buckets=[("1.0", 3), ("+Inf", 4)], sum_value=9)
        yield Metric("process_mood", "Of no type.", "unknown")


@pytest.fixture
def next_release() -> Iterator[None]:
    collector = NextRelease()
    REGISTRY.register(collector)
    yield
    REGISTRY.unregister(collector)


def lines(*, openmetrics: bool) -> Samples:
    text = process_lines(openmetrics=openmetrics).decode()
    return parse_openmetrics(text + "# EOF\n") if openmetrics else parse_text(text)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_process_and_its_python(*, openmetrics: bool) -> None:
    """The process metrics of the official exporters are there in both formats, without an end marker."""
    found = lines(openmetrics=openmetrics)
    names = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
    assert names | {"process_open_fds", "process_max_fds", "python_info"} <= found.names()


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.usefixtures("next_release")
def test_a_later_client_library_breaks_no_scrape(*, openmetrics: bool) -> None:
    """Families with any number of samples, labels and any type are exposed."""
    found = lines(openmetrics=openmetrics)
    assert found.value("process_threads", state="running") == 2
    assert found.value("process_threads", state="sleeping") == 7
    assert found.value("process_context_switches_total", kind="voluntary") == 30
    assert found.value("process_pause_seconds_bucket", le="1.0") == 3
    assert "process_open_fds" in found.names()
