"""Makes one page of a list and applies faults to it. No I/O."""

from collections.abc import Mapping
from typing import Any

from exporter.demo.access import Refused
from exporter.demo.fleet import Listing
from exporter.demo.hostile import VARIETIES
from exporter.demo.wire import Item

_DEFAULT_PER_PAGE = 20
_MAX_PER_PAGE = 100
_LARGEST = 2**53


def paging(query: Mapping[str, str]) -> tuple[int, int]:
    """`current_page` and `per_page` of a query.

    Raises:
        Refused: 400 when one is not a whole number or is out of range.
    """
    return (
        _number(query, "current_page", 1, _LARGEST),
        _number(query, "per_page", _DEFAULT_PER_PAGE, _MAX_PER_PAGE),
    )


def list_page(listing: Listing, name: str, key: str, query: Mapping[str, str], faults: Mapping[str, Any]) -> Item:
    """The answer of a list endpoint.

    Args:
        listing: what to cut the page from.
        name: the field that carries the items, for example `task_list`.
        key: the field of an item that identifies it.
        query: of the request.
        faults: kind to value, as `Faults.strike` gives them.

    Raises:
        Refused: 400 for paging that is out of range.
    """
    current_page, per_page = paging(query)
    per_page = faults.get("per_page", min(per_page, faults.get("per_page_cap", per_page)))
    if "items" in faults:
        listing = _fixed(faults["items"])
    arrived = faults.get("shift", 0) * (current_page - 1)
    items = listing.cut(max((current_page - 1) * per_page - arrived, 0), per_page)
    meta = {"current_page": current_page, "per_page": per_page, "total_count": max(listing.total + arrived, 0)}
    return {name: _spoil(items, key, faults), "page_meta": _lie(meta, faults.get("total"))}


def _number(query: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(largest)) and 1 <= int(text) <= largest):
        raise Refused(400, f"{name} must be a whole number from 1" + (f" to {largest}" if largest < _LARGEST else ""))
    return int(text)


def _fixed(items: list[Any]) -> Listing:
    return Listing(len(items), lambda start, count: items[start : start + count])


def _spoil(items: list[Any], key: str, faults: Mapping[str, Any]) -> list[Any]:
    if "duplicate" in faults:
        items = items + items[: faults["duplicate"]]
    if "hostile" in faults:
        items = VARIETIES[faults["hostile"]]([item for item in items if isinstance(item, dict)], key)
    if "no_id" in faults:
        count = len(items) if faults["no_id"] == "all" else faults["no_id"]
        items = [_without(item, key) for item in items[:count]] + items[count:]
    return items


def _without(item: Any, key: str) -> Any:
    return {name: item[name] for name in item if name != key} if isinstance(item, dict) else item


def _lie(meta: Item, lie: str | int | None) -> Item:
    total = meta["total_count"]
    match lie:
        case None:
            return meta
        case int():
            return meta | {"total_count": max(total + lie, 0)}
        case "missing":
            return {name: value for name, value in meta.items() if name != "total_count"}
        case _:
            lies = {"float": total + 0.5, "string": str(total), "null": None, "negative": -1, "huge": 10**400}
            return meta | {"total_count": lies[lie]}
