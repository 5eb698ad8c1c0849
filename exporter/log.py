"""Logging: one line per event, as logfmt or as JSON."""

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from exporter.redact import quoted, redact

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_TAKEN = frozenset({"ts", "level", "logger", "msg"})
_LONGEST = 16_384
"""Characters of one value; what comes from outside must not flood the log."""
_PLAIN = re.compile(r"[^\s\"=\\]+")
_NOT_IN_KEYS = re.compile(r"[^\w.-]")


def configure(level: str, format: Literal["logfmt", "json"], stream: TextIO | None = None) -> None:  # noqa: A002  named as the setting
    """Send everything logged in this process to one stream, replacing what was set up before.

    Args:
        level: least severity, `debug`, `info`, `warning` or `error`.
        format: of a line.
        stream: standard error when not given.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def event(logger: logging.Logger, level: int, msg: str, /, **fields: Any) -> None:
    """Log a constant message with the facts as fields: `event(log, logging.INFO, "team is up", team_name="render")`."""
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
    yield "level", record.levelname.lower()
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
    """A value as JSON knows it: numbers, booleans and None as they are, all else as redacted text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value)[: 2 * _LONGEST])[:_LONGEST]


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
