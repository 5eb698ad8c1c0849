"""Items that no platform should send, made from normal ones. Pure functions; the id stays unless noted."""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, Final

from exporter.demo.wire import Item

NASTY: Final = (
    'quote " backslash \\ newline \n return \r tab \t nul \x00 escape \x1b[31m delete \x7f rtl \u202e isolate \u2066 '
    'bom \ufeff separator \u2028 astral \U0001f4a5 <script>alert(1)</script> {label="x"} 1 # HELP # EOF'
)
"""Text that breaks code without escaping."""
DEEP: Final = "\ue000deep\ue000"
"""Placeholder for 100,000 nested arrays: no encoder makes them, so `bury` puts them into the finished JSON."""
_DEPTH = 100_000
_LONG = 10_000_000
_KEPT = {
    *("created_at", "started_at", "completed_at", "connected_at", "last_heartbeat"),
    *("status", "task_status", "agent_status"),
}
_NUMBERS = (10**400, float("nan"), -1, float("inf"), float("-inf"), 1e308, 2**63, -(2**63), 0.5, 2**53 + 1)
_TIMES = (
    "not a time",
    "",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2025-02-30T12:00:00Z",
    "2025-02-10T14:00:00",
    "2025-02-10T14:00:00+14:00",
    1739196000,
    -1,
    1e300,
)
_ENUMS = ("task_status", "agent_status", "sync_phase", "dispatch_target", "target_pool", "tool_type", "tool")
_IDS: tuple[Any, ...] = (7, {}, [], "", " ", None, True, 1.5, "x" * 100_000, NASTY, "\ud800")

_NOT_OBJECTS: tuple[Any, ...] = (None, 5, "text", [], True, [{}])


def _wrong(value: Any) -> Any:
    match value:
        case bool():
            return "yes"
        case str():
            return {"not": ["text"]}
        case int() | float():
            return "many"
        case list():
            return {"0": "zero"}
        case _:
            return [1, "two", None]


def _types(item: Item, key: str) -> Item:
    return {name: value if name == key else _wrong(value) for name, value in item.items()}


def _nulls(item: Item, key: str) -> Item:
    return {name: value if name == key else None for name, value in item.items()}


def _every(value: Any, change: Callable[[Any], Any]) -> Any:
    match value:
        case dict():
            return {name: value[name] if name in _KEPT else _every(value[name], change) for name in value}
        case list():
            return [_every(part, change) for part in value]
        case _:
            return change(value)


def _with_text(text: str) -> Callable[[Item, str], Item]:
    def make(item: Item, key: str) -> Item:
        changed: Item = _every(item, lambda value: text if isinstance(value, str) else value)
        return changed | {key: item[key]}

    return make


def _numbers(item: Item, _: str) -> Item:
    numbers = cycle(_NUMBERS)
    changed: Item = _every(item, lambda value: next(numbers) if isinstance(value, int | float) else value)
    return changed


def _times(item: Item, _: str) -> Item:
    times = cycle(_TIMES)
    return {name: next(times) if name.endswith(("_at", "_heartbeat")) else value for name, value in item.items()}


def _enums(item: Item, _: str) -> Item:
    return {name: "quantum-leap" if name in _ENUMS else value for name, value in item.items()}


def _fields(item: Item, _: str) -> Item:
    return item | {"": 1, "__class__": "dict", "surprise": {"of": ["any", {"kind": None}]}, "étrange\n": True}


def _each(make: Callable[[Item, str], Item]) -> Callable[[Sequence[Item], str], list[Any]]:
    return lambda items, key: [make(item, key) for item in items]


def _first(field: Item) -> Callable[[Sequence[Item], str], list[Any]]:
    return lambda items, _: [item | field if position == 0 else item for position, item in enumerate(items)]


def _ids(items: Sequence[Item], key: str) -> list[Any]:
    return [item | {key: wrong} for item, wrong in zip(items, cycle(_IDS), strict=False)]


def _not_objects(items: Sequence[Item], _: str) -> list[Any]:
    return [wrong for _, wrong in zip(items, cycle(_NOT_OBJECTS), strict=False)]


def _mixed(items: Sequence[Item], key: str) -> list[Any]:
    makers = (_types, _nulls, _with_text(NASTY), _with_text("\ud800 lone \udfff"), _numbers, _times, _enums, _fields)
    return [make(item, key) for item, make in zip(items, cycle(makers), strict=False)]


VARIETIES: Final[dict[str, Callable[[Sequence[Item], str], list[Any]]]] = {
    "types": _each(_types),
    "nulls": _each(_nulls),
    "text": _each(_with_text(NASTY)),
    "surrogates": _each(_with_text("\ud800 lone \udfff")),
    "long_text": _first({"tool": "x" * _LONG}),
    "numbers": _each(_numbers),
    "times": _each(_times),
    "enums": _each(_enums),
    "fields": _each(_fields),
    "nesting": _first({"system_stats": DEEP, "agent_labels": DEEP}),
    "ids": _ids,
    "not_objects": _not_objects,
    "mixed": _mixed,
}
"""The variants of the `hostile` fault: functions from items and the name of their id to changed items."""


def bury(body: bytes) -> bytes:
    """Put the nested arrays where JSON text holds `DEEP`."""
    return body.replace(b'"\\ue000deep\\ue000"', b"[" * _DEPTH + b"]" * _DEPTH)
