"""Faults on demand: which exist, how they are written, and which apply to a request."""

import math
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Final

from exporter.demo.hostile import VARIETIES
from exporter.demo.wire import PATHS

EVERY: Final = "*"
_STATUS = re.compile("[2-9][0-9]{2}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_SIZE = re.compile(r"([0-9]+)(KiB|MiB|GiB)?")
_SECONDS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}
_BYTES = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LIES = ("float", "string", "null", "negative", "missing", "huge")


class FaultError(ValueError):
    """A fault that does not exist or cannot have this value; the text says what is allowed."""


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
        parse: a value as given (text, a number, JSON; None for the default) to what the server works with.
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
    if match is None:
        raise ValueError
    return float(match[1]) * _SECONDS[match[2]]


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


def _count(default: int | None = None, *, least: int = 1) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        number = default if value is None else int(str(value))
        if number is None or number < least:
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


@dataclass(slots=True)
class Fault:
    """A fault that is switched on. Mutable: `left` counts down.

    Attributes:
        team: a team's name or `*`.
        path: a path template or `*`.
        left: how many more requests it affects; None without end.
    """

    kind: str
    team: str
    path: str
    value: object
    left: int | None

    def strikes(self, team: str | None, path: str) -> bool:
        """Whether it applies to a request; a request of an unknown team only matches `*`."""
        return self.team in {EVERY, team} and self.path in {EVERY, path}


class Faults:
    """The active faults. Mutable.

    Args:
        teams: the allowed names; read when a fault is set.
    """

    def __init__(self, teams: Container[str]) -> None:
        self._teams = teams
        self._active: list[Fault] = []

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._active))

    def set(
        self,
        kind: str,
        *,
        team: str | None = None,
        path: str | None = None,
        value: Any = None,
        times: int | None = None,
    ) -> Fault:
        """Switches a fault on, in place of the same kind for the same team and path.

        Args:
            kind: one of `KINDS`.
            team: a team's name; None or `*` for all.
            path: a path template such as `/r/tasks`; None or `*` for all.
            value: what the kind takes, as text or as the fitting JSON value.
            times: how many requests it affects before it is switched off; None for no end.

        Raises:
            FaultError: something of this is not allowed.
        """
        team, path = team or EVERY, path or EVERY
        if kind not in KINDS:
            raise FaultError(f"unknown fault {kind!r}; allowed: {', '.join(KINDS)}")
        if team != EVERY and team not in self._teams:
            raise FaultError(f"unknown team {team!r}")
        if path not in {EVERY, *PATHS}:
            raise FaultError(f"unknown path {path!r}; allowed: *, {', '.join(PATHS)}")
        if times is not None and times < 1:
            raise FaultError(f"times is {times}; allowed: 1 and more")
        fault = Fault(kind, team, path, _value(kind, value), times)
        self.clear(kind, team=team, path=path)
        self._active.append(fault)
        return fault

    def parse(self, text: str) -> None:
        """Switches on what `team:path:kind=value#times,…` says; `=value` and `#times` are optional.

        Raises:
            FaultError: it cannot be read; nothing of it is switched on then.
        """
        before = list(self._active)
        try:
            for part in filter(None, (part.strip() for part in text.split(","))):
                self._parse_one(part)
        except FaultError:
            self._active = before
            raise

    def clear(self, kind: str | None = None, *, team: str | None = None, path: str | None = None) -> None:
        """Switches off all faults, or those set with this kind, team and path."""
        wanted = (kind, team, path)
        self._active = [
            fault
            for fault in self._active
            if any(
                want not in {None, is_} for want, is_ in zip(wanted, (fault.kind, fault.team, fault.path), strict=True)
            )
        ]

    def strike(self, team: str | None, path: str) -> dict[str, Any]:
        """The faults that apply to a request, kind to value; those with a count are used up by one."""
        struck = [fault for fault in self._active if fault.strikes(team, path)]
        for fault in struck:
            if fault.left is not None:
                fault.left -= 1
        self._active = [fault for fault in self._active if fault.left != 0]
        return {fault.kind: fault.value for fault in struck}

    def _parse_one(self, part: str) -> None:
        try:
            team, path, what = part.split(":", 2)
        except ValueError:
            allowed = "team:path:kind, team:path:kind=value#times"
            raise FaultError(f"cannot read the fault {part!r}; allowed: {allowed}") from None
        what, hash_, times = what.partition("#")
        if hash_ and not times.isdecimal():
            raise FaultError(f"times is {times!r} in {part!r}; allowed: 1 and more")
        kind, equals, value = what.partition("=")
        self.set(kind, team=team, path=path, value=value if equals else None, times=int(times) if hash_ else None)


def _value(kind: str, value: Any) -> object:
    try:
        parsed = KINDS[kind].parse(value)
    except (ValueError, TypeError):
        raise FaultError(f"{kind} cannot be {value!r}; allowed: {KINDS[kind].allowed}") from None
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise FaultError(f"{kind} cannot be {value!r}; allowed: {KINDS[kind].allowed}")
    return parsed
