import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.web.negotiate import accepts_gzip, prefers_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
PROMETHEUS_3_TEXT_ONLY = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (PROMETHEUS_3_PROTOBUF, True),
        (PROMETHEUS_3_TEXT_ONLY, False),
        (BROWSER, False),
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/*", False),
        ("application/openmetrics-text", True),
        ("APPLICATION/OpenMetrics-Text; Version=1.0.0", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text;version=0.0.1", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", False),
        ("application/*", False),
        ("application/*,text/*", False),
        ("application/openmetrics-text,text/plain", True),
        ("text/plain,application/openmetrics-text", True),
        ("application/openmetrics-text,*/*", True),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.6", False),
        ("application/openmetrics-text;q=0.5,*/*;q=0.6", False),
        ("application/openmetrics-text;q=0,*/*", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=0.0.1;q=0,application/openmetrics-text", True),
        ("text/plain;version=1.0.0,application/openmetrics-text;q=0.1", True),
        ("text/plain;q=0,*/*;q=0.5", False),
        ("text/html", False),
        ("application/openmetrics-text;q=2", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=-1", False),
        ("application/openmetrics-text;q=", False),
        (",,;;=,application/openmetrics-text", True),
    ],
)
def test_format(accept: str, openmetrics: bool) -> None:  # noqa: FBT001  a column of the table
    """OpenMetrics is sent if it is named with at least the weight of text; text is the fallback."""
    assert prefers_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("gzip;q=0.1", True),
        ("gzip;q=1.0, identity;q=0.5", True),
        ("gzip, identity", True),
        ("*", True),
        ("identity;q=0, *", True),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=3", False),
        ("identity;q=0", False),
    ],
)
def test_coding(accept_encoding: str, gzip: bool) -> None:  # noqa: FBT001  a column of the table
    """Gzip is sent if it is accepted, unless identity is named with a greater weight."""
    assert accepts_gzip(accept_encoding) is gzip


@given(st.text() | st.text(alphabet='application/openmetrics-text;plain*=,q.019 "gzip'))
@example("a;q=" + "9" * 5000)
@example("text/plain;q=0." + "0" * 5000 + "1")
def test_any_header_has_an_answer(header: str) -> None:
    """No header makes a scrape fail, whatever bytes it contains."""
    assert prefers_openmetrics(header) in {True, False}
    assert accepts_gzip(header) in {True, False}


@given(st.binary())
def test_any_bytes_have_an_answer(header: bytes) -> None:
    """Headers are decoded as UTF-8, with surrogates for invalid bytes."""
    text = header.decode("utf-8", "surrogateescape")
    assert prefers_openmetrics(text) in {True, False}
    assert accepts_gzip(text) in {True, False}
