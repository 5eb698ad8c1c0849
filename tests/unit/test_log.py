import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Literal, TextIO

import pytest

from exporter import log as module
from exporter.log import BackgroundHandler, LineFormatter, configure, event, lines_dropped

log = logging.getLogger("exporter.collect.poll")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream for log lines; the root logger is restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def background(stream: TextIO) -> BackgroundHandler:
    handler = BackgroundHandler(stream)
    handler.setFormatter(LineFormatter("json"))
    return handler


def written(stream: io.StringIO) -> str:
    """The content of the stream once all lines are written."""
    logging.getLogger().handlers[0].flush()
    return stream.getvalue()


def record_of(msg: str = "m", **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "exporter.web", "levelname": "INFO", "msg": msg, "created": 1739197800.0456, "fields": fields}
    )


def line(format: Literal["logfmt", "json"], msg: str = "m", **fields: Any) -> str:  # noqa: A002  named as the setting
    return LineFormatter(format).format(record_of(msg, **fields))


def test_a_logfmt_line_starts_with_time_level_logger_and_message() -> None:
    """Time is RFC 3339 in UTC with milliseconds; the logger's name omits the package."""
    assert line("logfmt", "team is up", team_name="render") == (
        'ts=2025-02-10T14:30:00.045Z level=info logger=web msg="team is up" team_name=render'
    )


def test_a_line_names_its_level_as_the_setting_does() -> None:
    """Whoever sets `warn` finds `level=warn` in the log."""
    lines = LineFormatter("logfmt")
    names = {"DEBUG", "INFO", "WARNING", "ERROR"}
    levels = {lines.format(logging.makeLogRecord({"name": "a", "levelname": each})).split()[1] for each in names}
    assert levels == {"level=debug", "level=info", "level=warn", "level=error"}


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
    """A value with spaces, quotes, equal signs or invisible characters is quoted and escaped."""
    assert line("logfmt", value=value).endswith(f" msg=m value={text}")


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_no_text_breaks_a_line(format: Literal["logfmt", "json"]) -> None:  # noqa: A002  named as the setting
    """Whatever message, key and value contain, the event is one line."""
    text = line(format, "a\nb\r\u2028", **{"k\n=": "c\nd", "e": "\x85"})
    assert len(text.splitlines()) == 1
    assert text.isprintable()


def test_json_stays_json_for_numbers_it_cannot_write() -> None:
    """NaN and infinities become text in JSON, which lacks them."""
    assert json.loads(line("json", a=float("nan"), b=float("inf")), parse_constant=pytest.fail)["b"] == "inf"


def test_a_field_does_not_hide_the_message() -> None:
    """A field with the name of a fixed part is renamed."""
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
    text = written(stream)
    assert "marker" not in text
    assert len(text.splitlines()) == 3


def test_an_exception_becomes_fields_of_the_same_line(stream: io.StringIO) -> None:
    """An exception's type and message are fields, and the escaped traceback too."""
    configure("info", "json", stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("poll failed")
    entry = json.loads(written(stream))
    assert (entry["msg"], entry["error_type"]) == ("poll failed", "ZeroDivisionError")
    assert entry["error"] == "division by zero"
    assert entry["traceback"].startswith("Traceback (most recent call last):\n")


def test_an_event_carries_fields_of_any_name(stream: io.StringIO) -> None:
    """Fields may have names that a log record uses itself."""
    configure("debug", "logfmt", stream)
    event(log, logging.DEBUG, "hello", name="n", module="m", args=1)
    assert written(stream).endswith("level=debug logger=collect.poll msg=hello name=n module=m args=1\n")


def test_the_level_decides_and_setting_up_twice_does_not_repeat_lines(stream: io.StringIO) -> None:
    """The last configuration replaces the previous one."""
    configure("debug", "logfmt", stream)
    configure("warning", "logfmt", stream)
    log.info("unheard")
    log.warning("heard")
    assert [text.partition("msg=")[2] for text in written(stream).splitlines()] == ["heard"]


def test_a_long_value_is_cut() -> None:
    """Text from outside cannot flood the log."""
    assert len(line("logfmt", "m", text="x" * 1_000_000)) < 20_000


class Reader:
    """A stream that is read when a test chooses."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.reads = threading.Event()
        self.text = ""

    def fileno(self) -> int:
        raise io.UnsupportedOperation

    def write(self, text: str) -> None:
        self.asked.set()
        self.reads.wait(10)
        self.text += text


def test_a_reader_that_stands_still_holds_up_nobody(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines beyond the queue are dropped and counted; queued ones are written once somebody reads."""
    monkeypatch.setattr(module, "MAX_LINES_WAITING", 10)
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.01)
    reader = Reader()
    configure("info", "json", reader)  # type: ignore[arg-type]  # all of a stream that is used
    for number in range(100):
        log.info("line %d", number)
        assert reader.asked.wait(10)  # the first line has left the queue
    logging.getLogger().handlers[0].flush()  # as at exit: waits, but not for ever
    assert reader.text == ""
    reader.reads.set()
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 10)
    logging.getLogger().handlers[0].flush()
    log.info("after")
    logging.getLogger().handlers[0].flush()
    *lines, note, after = map(json.loads, reader.text.splitlines())
    assert [each["msg"] for each in lines] == [f"line {number}" for number in range(len(lines))]
    assert len(lines) == 11  # the queue and the one that had left it
    assert (note["level"], note["msg"]) == ("warn", "log lines dropped: nobody read them in time")
    assert note["lines"] == lines_dropped() == 100 - len(lines)
    assert after["msg"] == "after"
    del stream


def test_a_stream_that_is_gone_is_no_error() -> None:
    """When the reader of the log is gone, lines that cannot be written are counted."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        handler = background(stream)
        handler.handle(record_of())
        handler.flush()
        assert handler._thread
        assert handler._thread.is_alive()
        assert handler.unwritten == 1


def test_a_descriptor_that_does_not_block(capfd: pytest.CaptureFixture[str]) -> None:
    """A long line is written completely, even if another process made the descriptor non-blocking."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[bytes] = []
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as source:
        handler = background(stream)
        for _ in range(20):
            handler.handle(record_of("x" * 10_000))
        got += [source.readline() for _ in range(20)]
    assert all(json.loads(each)["msg"] == "x" * 10_000 for each in got)
    assert capfd.readouterr().err == ""


def test_a_closed_standard_error(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a closed standard error (`2>&-`) nothing is written and nothing fails."""
    monkeypatch.setattr(sys, "stderr", None)
    configure("info", "json")
    log.info("m")
    assert stream.getvalue() == ""


def test_no_thread_to_be_had(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the line is dropped and counted, and the next one tries again."""
    configure("info", "json", stream)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        log.info("lost")
    log.info("found")
    assert lines_dropped() == 1
    assert [json.loads(each)["msg"] for each in written(stream).splitlines()] == [
        "log lines dropped: nobody read them in time",
        "found",
    ]


def test_another_configuration_does_not_wait_for_the_reader(stream: io.StringIO) -> None:
    """A reload keeps the thread and the waiting lines; later lines have the new format."""
    reader = Reader()
    configure("info", "json", reader)  # type: ignore[arg-type]  # all of a stream that is used
    log.info("before")
    [handler] = logging.getLogger().handlers
    configure("info", "logfmt", reader)  # type: ignore[arg-type]  # all of a stream that is used
    log.info("after")
    assert logging.getLogger().handlers == [handler]
    assert reader.text == ""
    reader.reads.set()
    handler.flush()
    before, after = reader.text.splitlines()
    assert json.loads(before)["msg"] == "before"
    assert after.endswith("msg=after")
    del stream
