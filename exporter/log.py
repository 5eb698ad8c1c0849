"""Logging: one line per event, as logfmt or JSON, written without ever blocking the caller."""

import json
import logging
import math
import os
import queue
import re
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from exporter.redact import quoted, redact

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_TAKEN = frozenset({"ts", "level", "logger", "msg"})
MAX_LINES_WAITING: Final = 1000
"""Maximum number of lines that wait for a slow reader."""
FLUSH_TIMEOUT: Final = 1.0
"""Seconds that a stopping process waits for the last lines to be written."""
_MAX_VALUE = 16_384
"""Maximum characters of one value, so that text from outside cannot flood the log."""
_PLAIN = re.compile(r"[^\s\"=\\]+")
_NOT_IN_KEYS = re.compile(r"[^\w.-]")


def configure(level: str, format: Literal["logfmt", "json"], stream: TextIO | None = None) -> None:  # noqa: A002  named as the setting
    """Send everything logged in this process to one stream, replacing what was set up before, without waiting.

    Args:
        level: least severity, `debug`, `info`, `warn` or `error`.
        format: of a line.
        stream: standard error when not given; where that is closed, nothing is written.
    """
    root = logging.getLogger()
    stream = stream or sys.stderr
    if stream is None:
        root.handlers[:] = [logging.NullHandler()]
    else:
        ours = (each for each in root.handlers if isinstance(each, BackgroundHandler) and each.stream is stream)
        handler = next(ours, None) or BackgroundHandler(stream)  # an existing one keeps the lines it holds
        handler.setFormatter(LineFormatter(format))
        root.handlers[:] = [handler]
    root.setLevel(level.upper())


def lines_dropped() -> int:
    """How many lines were lost since the process started."""
    ours = (each for each in logging.getLogger().handlers if isinstance(each, BackgroundHandler))
    return sum(each.dropped + each.unwritten for each in ours)


class BackgroundHandler(logging.Handler):
    """Writes lines in its own thread, so that a stalled reader cannot stop polls and scrapes. Mutable.

    Lines wait in a queue; those beyond its length are dropped, and their number is logged once there is room.

    Attributes:
        stream: where they are written.
        dropped: lines that found no room so far.
        unwritten: lines that could not be written so far, because the reader is gone.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self._write = _writer(stream)
        self._lines: queue.Queue[str] = queue.Queue(MAX_LINES_WAITING)
        self.dropped = self.unwritten = 0
        self._reported = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line. `logging` calls this for one record at a time."""
        try:
            self._start()
            if self.dropped > self._reported:
                self._lines.put_nowait(self._dropped_line())
                self._reported = self.dropped
            self._lines.put_nowait(f"{self.format(record)}\n")
        except (queue.Full, RuntimeError):  # no room, or no thread available
            self.dropped += 1

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._keep_writing, name="log", daemon=True)
            thread.start()
            self._thread = thread

    def _dropped_line(self) -> str:
        of_ours = {"name": __name__, "levelname": "WARNING", "msg": "log lines dropped: nobody read them in time"}
        record = logging.makeLogRecord({**of_ours, "fields": {"lines": self.dropped - self._reported}})
        return f"{self.format(record)}\n"

    def _keep_writing(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._write(line)
            except (OSError, ValueError):  # the reader is gone, or the stream was closed
                self.unwritten += 1
            self._lines.task_done()

    def flush(self) -> None:
        """Wait until all lines are written, `FLUSH_TIMEOUT` seconds at most. `logging` calls this at exit."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_TIMEOUT)


def _writer(stream: TextIO) -> Callable[[str], object]:
    """A write function that bypasses the stream's buffer, whose lock a waiting write would hold even at exit."""
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file
        return stream.write
    encoding = stream.encoding

    def write(text: str) -> None:
        data = text.encode(encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # another process made the descriptor non-blocking
                select.select((), (descriptor,), ())

    return write


def event(logger: logging.Logger, level: int, msg: str, /, **fields: Any) -> None:
    """Log a constant message with fields: `event(log, logging.INFO, "team is up", team_name="render")`."""
    logger.log(level, msg, extra={"fields": fields}, stacklevel=2)


class LineFormatter(logging.Formatter):
    """One line per record: ts, level, logger, msg, then fields; free of credentials and control characters.

    Fields are those of `event` and those given as `extra`. An exception becomes the fields error_type, error
    and traceback.
    """

    def __init__(self, format: Literal["logfmt", "json"]) -> None:  # noqa: A002  named as the setting
        super().__init__()
        self._join = _json if format == "json" else _logfmt

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line without its newline."""
        return self._join(dict(_pairs(record)))


def _pairs(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    yield "ts", time.replace("+00:00", "Z")
    level = record.levelname.lower()
    yield "level", "warn" if level == "warning" else level  # the setting's words
    yield "logger", record.name.removeprefix("exporter.")
    yield "msg", _clean(record.getMessage())
    for key, value in _fields(record):
        yield _key(key), _clean(value)
    if record.exc_info and (error := record.exc_info[1]):
        yield "error_type", type(error).__qualname__
        yield "error", _clean(str(error))
        yield "traceback", _clean("".join(traceback.format_exception(error)))


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for key, value in record.__dict__.items():
        if key == "fields":
            yield from value.items()
        elif key not in _STANDARD:
            yield key, value


def _key(name: str) -> str:
    safe = _NOT_IN_KEYS.sub("_", redact(name)) or "_"
    return f"{safe}_" if safe in _TAKEN else safe


def _clean(value: Any) -> Any:
    """A JSON value: numbers, booleans and None as they are, everything else as redacted text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value)[: 2 * _MAX_VALUE])[:_MAX_VALUE]


def _json(pairs: dict[str, Any]) -> str:
    return json.dumps({key: _finite(value) for key, value in pairs.items()})


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _logfmt(pairs: dict[str, Any]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in pairs.items())


def _logfmt_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else quoted(text)
