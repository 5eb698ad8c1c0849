import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from exporter.log import LineFormatter, configure, event

log = logging.getLogger("exporter.collect.poll")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where log lines go; the root logger is restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def line(format: Literal["logfmt", "json"], msg: str = "m", **fields: Any) -> str:  # noqa: A002  named as the setting
    record = logging.makeLogRecord(
        {"name": "exporter.web", "levelname": "INFO", "msg": msg, "created": 1739197800.0456, "fields": fields}
    )
    return LineFormatter(format).format(record)


def test_a_logfmt_line_starts_with_time_level_logger_and_message() -> None:
    """Time is RFC 3339 in UTC with milliseconds; the package's own name is left out of the logger."""
    assert line("logfmt", "team is up", team_name="render") == (
        'ts=2025-02-10T14:30:00.045Z level=info logger=web msg="team is up" team_name=render'
    )


def test_a_json_line_holds_the_same() -> None:
    """Numbers, booleans and null keep their type."""
    assert json.loads(line("json", "team is up", n=1, ratio=0.5, ok=True, none=None)) == {
        "ts": "2025-02-10T14:30:00.045Z",
        "level": "info",
        "logger": "web",
        "msg": "team is up",
        "n": 1,
        "ratio": 0.5,
        "ok": True,
        "none": None,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain/value:1", "plain/value:1"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a\nb", '"a\\nb"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\u202e", '"\\u202e"'),
        ("渲染", "渲染"),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        (0.25, "0.25"),
        (float("nan"), "nan"),
        (["a"], "['a']"),
    ],
)
def test_logfmt_values_are_quoted_where_needed(value: object, text: str) -> None:
    """A value with spaces, quotes, equal signs or invisible characters stands in quotes, escaped."""
    assert line("logfmt", value=value).endswith(f" msg=m value={text}")


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_no_text_breaks_a_line(format: Literal["logfmt", "json"]) -> None:  # noqa: A002  named as the setting
    """Whatever message, key or value holds, the event is one line."""
    text = line(format, "a\nb\r\u2028", **{"k\n=": "c\nd", "e": "\x85"})
    assert len(text.splitlines()) == 1
    assert text.isprintable()


def test_json_stays_json_for_numbers_it_cannot_write() -> None:
    """JSON has no NaN and no infinity."""
    assert json.loads(line("json", a=float("nan"), b=float("inf")), parse_constant=pytest.fail)["b"] == "inf"


def test_a_field_does_not_hide_the_message() -> None:
    """The names of the fixed parts are taken."""
    assert line("logfmt", "m", level="x").endswith("msg=m level_=x")


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_credentials_are_masked_everywhere(stream: io.StringIO, format: Literal["logfmt", "json"]) -> None:  # noqa: A002  named as the setting
    """Message, arguments, fields, keys, exceptions and their causes are masked."""
    configure("info", format, stream)
    try:
        try:
            int("https://user:marker@host")
        except ValueError as cause:
            raise RuntimeError("sk-marker-0123456789") from cause
    except RuntimeError:
        log.exception(
            "failed with %s",
            "sk-marker-0123456789",
            extra={"fields": {"f": "eyJmarker0123456789.x", "sk-marker-0123456789": 1}},
        )
    log.info("plain extra", extra={"url": "https://marker@h"})
    event(log, logging.INFO, "event", header="Bearer marker")
    text = stream.getvalue()
    assert "marker" not in text
    assert len(text.splitlines()) == 3


def test_an_exception_becomes_fields_of_the_same_line(stream: io.StringIO) -> None:
    """Type and message can be searched; the traceback is there, escaped."""
    configure("info", "json", stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("poll failed")
    entry = json.loads(stream.getvalue())
    assert (entry["msg"], entry["error_type"]) == ("poll failed", "ZeroDivisionError")
    assert entry["error"] == "division by zero"
    assert entry["traceback"].startswith("Traceback (most recent call last):\n")


def test_an_event_carries_fields_of_any_name(stream: io.StringIO) -> None:
    """Names that a log record uses itself are no obstacle."""
    configure("debug", "logfmt", stream)
    event(log, logging.DEBUG, "hello", name="n", module="m", args=1)
    assert stream.getvalue().endswith("level=debug logger=collect.poll msg=hello name=n module=m args=1\n")


def test_the_level_decides_and_setting_up_twice_does_not_repeat_lines(stream: io.StringIO) -> None:
    """The last set-up replaces the one before."""
    configure("debug", "logfmt", stream)
    configure("warning", "logfmt", stream)
    log.info("unheard")
    log.warning("heard")
    assert [text.partition("msg=")[2] for text in stream.getvalue().splitlines()] == ["heard"]


def test_a_long_value_is_cut() -> None:
    """Text from outside cannot flood the log."""
    assert len(line("logfmt", "m", text="x" * 1_000_000)) < 20_000
