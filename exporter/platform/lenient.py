"""Reads JSON that may be partly wrong: a mistake in an item loses its field, not the page.

The strict, fast parser comes first. Only an answer that it refuses is read again as plain JSON, repaired item by item
and validated.
"""

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from exporter.errors import SchemaMismatch, Undecodable
from exporter.platform.bounds import bounded

_MAX_DIGITS: Final = 20
"""Maximum digits of an integer; 2**63 has 19."""
_NO_JSON: Final = "json_invalid"
_REQUIRED: Final = frozenset({"page_meta", "task_list", "agent_list", "workflow_list"})


def validated(adapter: TypeAdapter[Any], body: bytes, name: str, item: TypeAdapter[Any]) -> tuple[Any, Counter[str]]:
    """Read an answer; wrong values inside an item of its list are dropped.

    Args:
        adapter: of the answer.
        body: of the answer.
        name: of the field that holds the list.
        item: the adapter of an item. Items are repaired one at a time, so the mistakes of only one are in memory.

    Returns:
        The value, and how many values of each field were dropped.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: something outside the items is wrong, or the answer is too large.
    """
    body = bounded(body.removeprefix(BOM_UTF8))
    try:
        return adapter.validate_json(body), Counter()
    except ValidationError as error:
        readable = error.error_count() > 1 or error.errors()[0]["type"] != _NO_JSON
    answer = from_json(body) if readable else _lenient_json(body)
    unknown = Counter[str]()
    items = answer.get(name) if isinstance(answer, dict) else None
    if isinstance(items, list):
        items[:] = [_repaired(item, found, name, unknown) for found in items]
    return _completed(adapter, answer, unknown), unknown


def _repaired(item: TypeAdapter[Any], found: Any, name: str, unknown: Counter[str]) -> Any:
    """Replace wrong values in an item by null, level by level, and count them by field."""
    while found is not None:
        try:
            item.validate_python(found)
        except ValidationError as error:
            for mistake in error.errors(include_url=False, include_context=False, include_input=False):
                if not mistake["loc"]:  # not an object
                    found = None
                unknown[_drop(found, mistake["loc"], name)] += 1
        else:
            break
    return found


def _completed(adapter: TypeAdapter[Any], answer: Any, unknown: Counter[str]) -> Any:
    """Read an answer whose items are repaired; outside the items, only optional values may be dropped."""
    try:
        return adapter.validate_python(answer)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    for mistake in mistakes:
        where = mistake["loc"]
        if not where or where[0] in _REQUIRED:
            raise SchemaMismatch(f"{'.'.join(map(str, where)) or 'the answer'}: {mistake['msg'][:200]}")
        unknown[_drop(answer, where[:1], "")] += 1
    return adapter.validate_python(answer)


def _drop(item: Any, where: tuple[int | str, ...], name: str) -> str:
    """Replace the value at this place by null; return the name of its field."""
    if where:
        *above, last = where
        for step in above:
            item = item[step]
        item[last] = None
    return next((step for step in reversed(where) if isinstance(step, str)), name)


_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def _lenient_json(body: bytes) -> Any:
    """Read JSON that a strict parser refuses because of a string or number in it.

    Lone surrogates and invalid UTF-8 are replaced; a number that is too long becomes infinite, which no field allows.
    """
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(text, parse_int=_bounded_int)
        if _SURROGATE.search(text):
            # The parser keeps lone surrogates; only they cannot be encoded.
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the body is not JSON: {_cause(error)}") from None
    return answer


def _cause(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"


def _bounded_int(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")
