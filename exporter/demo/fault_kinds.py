"""The kinds of faults, and the values that each can have."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from exporter.demo.hostile import VARIETIES

_STATUS = re.compile("[2-9][0-9]{2}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_SIZE = re.compile(r"([0-9]+)(KiB|MiB|GiB)?")
_SECONDS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}
_BYTES = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LIES = ("float", "string", "null", "negative", "missing", "huge")


@dataclass(frozen=True, slots=True)
class RefuseWith:
    """An HTTP status.

    Attributes:
        retry_after: text of a Retry-After header; seconds from now (a float) for an HTTP date; or None.
    """

    status: int
    retry_after: str | float | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        parse: a value as given (text, a number, JSON; None for the default) to what the server works with. A value
            that is not allowed raises ValueError or TypeError.
        allowed: the values in words.
    """

    parse: Callable[[Any], object]
    allowed: str


def _nothing(value: Any) -> bool:
    if value not in {None, True}:
        raise ValueError
    return True


def _seconds(value: Any) -> float:
    match = _DURATION.fullmatch(str(value))
    seconds = float(match[1]) * _SECONDS[match[2]] if match else math.inf
    if seconds == math.inf:
        raise ValueError
    return seconds


def _drift(value: Any) -> float:
    text = str(value)
    return -_seconds(text[1:]) if text.startswith("-") else _seconds(text.removeprefix("+"))


def _status(value: Any) -> RefuseWith:
    code, slash, wait = str(value).partition("/")
    if _STATUS.fullmatch(code) is None:
        raise ValueError
    if wait.startswith("@"):
        return RefuseWith(int(code), _drift(wait[1:]))
    return RefuseWith(int(code), wait.removesuffix("s") if slash else None)


def _count(default: int | None = None) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        number = default if value is None else int(str(value))
        if number is None or number < 1:
            raise ValueError
        return number

    return parse


def _size(value: Any) -> int:
    match = _SIZE.fullmatch("256MiB" if value is None else str(value))
    if match is None:
        raise ValueError
    return int(match[1]) * _BYTES[match[2]]


def _lie(value: Any) -> str | int:
    if value in _LIES:
        return str(value)
    if re.fullmatch(r"[+-][0-9]+", str(value)) is None:
        raise ValueError
    return int(value)


def _text(default: str) -> Callable[[Any], str]:
    return lambda value: default if value is None else str(value)


def _hostile(value: Any) -> str:
    if value not in VARIETIES:
        raise ValueError
    return str(value)


def _body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


_NOTHING = Kind(_nothing, "no value")
_DELAY = Kind(_seconds, "a duration: 2s, 500ms, 1m")
KINDS: Final[dict[str, Kind]] = {
    "latency": _DELAY,
    "drip": _DELAY,
    "hang": _NOTHING,
    "hang_body": _NOTHING,
    "reset": _NOTHING,
    "reset_body": _NOTHING,
    "status": Kind(_status, "500, 429/30 (Retry-After: 30), 503/@30 (an HTTP date 30 s ahead), 429/any text"),
    "redirect": Kind(_text("/_simulate/elsewhere"), "a location"),
    "empty": _NOTHING,
    "html": _NOTHING,
    "truncated": _NOTHING,
    "endless": _NOTHING,
    "gzip_bomb": Kind(_size, "the unpacked size: 256MiB, 1GiB"),
    "encoding": Kind(_text("gzip"), "the Content-Encoding to claim: gzip, br"),
    "body": Kind(_body, "the whole body"),
    "date": Kind(_drift, "how far the Date header is off: +30s, -5m"),
    "total": Kind(_lie, f"+N, -N, {', '.join(_LIES)}"),
    "ignore_filter": _NOTHING,
    "per_page": Kind(_count(20), "the page size served whatever was asked for"),
    "per_page_cap": Kind(_count(), "the largest page size served"),
    "shift": Kind(lambda value: int(str(value)), "+N or -N items that arrive or leave before each further page"),
    "duplicate": Kind(_count(1), "how many items of each page are repeated"),
    "no_id": Kind(lambda value: value if value == "all" else _count(1)(value), "how many items of each page, or all"),
    "hostile": Kind(_hostile, ", ".join(VARIETIES)),
    "items": Kind(_items, "the list to serve instead, as JSON"),
}
