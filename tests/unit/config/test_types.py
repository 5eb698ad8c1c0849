from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from exporter.config import types as t
from exporter.config.address import ListenAddress
from exporter.config.types import format_duration, parse_duration


def accepted(kind: Any, value: object) -> object:
    return TypeAdapter[object](kind).validate_python(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("2m", 120),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("500ms", 0.5),
        ("1m0s", 60),
        ("1d2h3m4s5ms", 93_784.005),
    ],
)
def test_durations_are_written_as_prometheus_writes_them(text: str, seconds: float) -> None:
    """A duration is numbers with units, from large to small; it becomes seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "30", 30, 1.5, True, None, "1.5s", "-1s", "+1s", "1s1m", "1 s", " 1s", "1s\n", "s", "\u0661s", "9" * 10 + "s"],
)
def test_anything_else_is_no_duration(value: object) -> None:
    """A plain number has no unit, so it is refused, as is what Prometheus would refuse."""
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(value)


@pytest.mark.parametrize("text", ["0s", "1ms", "999ms", "1s500ms", "30s", "2m", "1h30m", "1d", "365d", "1d2h3m4s5ms"])
def test_a_formatted_duration_reads_back_as_itself(text: str) -> None:
    """Formatting gives the shortest text with the same value."""
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10042", None, 10042),
        ("0.0.0.0:10042", "0.0.0.0", 10042),  # noqa: S104  only parsed
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:10042", "::1", 10042),
        ("[::]:65535", "::", 65535),
        ("localhost:9", "localhost", 9),
        ("gpu-1.example.com:80", "gpu-1.example.com", 80),
    ],
)
def test_a_listen_address_is_a_host_and_a_port(text: str, host: str | None, port: int) -> None:
    """The host may be missing; brackets are not part of the address; it prints as it was written."""
    assert accepted(t.Listen, text) == (ListenAddress(host, port),)
    assert str(ListenAddress(host, port)) == text


@pytest.mark.parametrize(
    "value",
    [
        *(10042, None, "", ":", "a b:80"),
        *["10042", ":65536", ":-1", "::1:80", "[::1]", "[::1:80", "[1.2.3.4]:80", "1.2.3:80", "999.1.1.1:80"],
        *["-a:80", "http://a:80", "a:80/", "*:80"],
    ],
)
def test_other_listen_addresses_are_refused(value: object) -> None:
    """IPv6 needs brackets, ports end at 65535, a port alone needs its colon."""
    with pytest.raises(ValidationError):
        accepted(t.Listen, value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://core.cyberun.cloud/api/v1", "https://core.cyberun.cloud/api/v1"),
        ("http://127.0.0.1:8080/api/v1/", "http://127.0.0.1:8080/api/v1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://host//", "https://host"),
    ],
)
def test_a_base_url_loses_its_trailing_slash(text: str, kept: str) -> None:
    """Paths are appended to the base, so it ends without a slash."""
    assert accepted(t.BaseUrl, text) == kept


@pytest.mark.parametrize(
    "value",
    [
        *(1, None, "", "https://h\n", "https://a b", "https://h\\x"),
        *[
            "host",
            "//host",
            "ftp://host",
            "file:///etc",
            "https://",
            "https://:1",
            "https://u@h",
            "https://u:p@h",
            "https://h?a=1",
        ],
        *["https://h?", "https://h#x", "https://h:99999", "https://h:0", "https://h:x", "https://[::1"],
    ],
)
def test_other_base_urls_are_refused(value: object) -> None:
    """A base URL is http or https with a host; no user, query, fragment, space or control character."""
    with pytest.raises(ValidationError):
        accepted(t.BaseUrl, value)


@pytest.mark.parametrize(
    ("text", "name"), [(" a", "a"), ("a\t", "a"), ("\u00a0render\u00a0farm\u202f", "render farm"), ("a  b", "a  b")]
)
def test_names_are_trimmed(text: str, name: str) -> None:
    """Blanks around a name are removed, and a no-break space becomes a space."""
    assert accepted(t.TeamName, text) == name


@pytest.mark.parametrize(
    "value",
    [
        "2027-01-31",
        "2027-01-31T00:00:00Z",
        "2027-01-31T01:00:00+01:00",
        "2027-01-31T00:00:00",
        date(2027, 1, 31),
        datetime(2027, 1, 31),  # noqa: DTZ001  as YAML reads it
        datetime(2027, 1, 31, tzinfo=UTC),
    ],
)
def test_moments(value: object) -> None:
    """A date is its first moment, and a time without a zone is in UTC; YAML reads some of these by itself."""
    assert accepted(t.Moment, value) == 1_801_353_600.0


def test_the_level_warning_is_understood() -> None:
    """The official exporters say `warn`, Python says `warning`."""
    assert accepted(t.LogLevel, "warn") == "warning"


def test_several_addresses() -> None:
    """As a list, or with commas in one text; one alone needs neither."""
    several = (ListenAddress(None, 1), ListenAddress("::1", 2))
    assert accepted(t.Listen, [":1", "[::1]:2"]) == accepted(t.Listen, ":1, [::1]:2") == several
    assert accepted(t.Listen, ":1") == several[:1]


GOOD: list[tuple[Any, list[object]]] = [
    (t.Interval, ["1s", "1s500ms", "1d"]),
    (t.Timeout, ["1ms", "10s", "1h"]),
    (t.Age, ["1s", "1y"]),
    (t.Concurrency, [1, "8", 10_000]),
    (t.Pages, [1, 1000]),
    (t.Agents, [1, 1_000_000]),
    (t.ByteSize, [1024, 2**30]),
    (t.RequestRate, [0.01, 1, "0.5", 100_000]),
    (t.Flag, [True, False, "true", "false"]),
    (t.TeamName, ["a", "render farm", "Ärzte-渲染", "x" * 100, "a\\b", "risk-team", "sk-bratislava"]),
    (t.TeamId, ["019abc12-4567-7890-abcd-ef1234567891", "team_01HX3KQ9", "7", "x" * 100]),
    (t.File, ["secrets/render", "/etc/x", "a b", "./sk-render"]),
    (t.VariableName, ["TOKEN", "_a1"]),
    (t.AgentsPath, ["/agents", "/r/agents"]),
    (t.TelemetryPath, ["/", "/metrics", "/a/b-c_d.~/", "/probes", "/-/metrics"]),
    (t.LogLevel, ["debug", "info", "warn", "warning", "error"]),
    (t.LogFormat, ["logfmt", "json"]),
]
BAD: list[tuple[Any, list[object]]] = [
    (t.Interval, ["999ms", "0s", "1d1s", 30]),
    (t.Timeout, ["0s", "1h1s"]),
    (t.Age, ["0s", "999ms", "1y1d"]),
    (t.Concurrency, [0, -1, 1.5, True, None, "x", 10_001]),
    (t.Pages, [0]),
    (t.Agents, [0]),
    (t.ByteSize, [1023, 2**30 + 1]),
    (t.RequestRate, [0, -1, True, float("nan"), float("inf"), "x", None]),
    (t.Flag, ["perhaps", 2, None]),
    (
        t.TeamName,
        [
            "",
            "x" * 101,
            " ",
            "\u00a0",
            "  sk-0123456789abcdef",
            "a\nb",
            "a\x00",
            "a\u202eb",
            1,
            None,
            "sk-0123456789abcdef",
            "eyJhbGciOiJIUzI1NiJ9.",
        ],
    ),
    (t.TeamId, ["", "x" * 101, "a b", "{019abc12}", "a/b", "é", "sk-0123456789abcdef", 1]),
    (t.Moment, ["", "soon", "31.1.2027", 5, None, True, "2027-13-01"]),
    (t.File, ["", " ", "a\x00b", "sk-0123456789abcdef", 1]),
    (t.VariableName, ["", "1A", "A-B", "sk-abc", "A B", "A\n", 1]),
    (t.AgentsPath, ["agents", "/agents/", "", None]),
    (
        t.TelemetryPath,
        ["", "metrics", "//", "//m", "/m?x", "/{x}", "/a b", "/a/../b", "/.", *sorted(t.RESERVED_PATHS), "/sd/"],
    ),
    (t.LogLevel, ["WARN", "INFO", "", False]),
    (t.LogFormat, ["text", None]),
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in GOOD for value in values])
def test_values_inside_the_bounds_are_accepted(kind: object, value: object) -> None:
    """The bounds themselves are allowed."""
    accepted(kind, value)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD for value in values])
def test_values_outside_the_bounds_are_refused(kind: object, value: object) -> None:
    """Values that make no sense are refused before the exporter starts, instead of failing later."""
    with pytest.raises(ValidationError):
        accepted(kind, value)
