"""JSON in which a part may be wrong: a mistake in an item costs its field, not the page.

The strict and quick way comes first. Only an answer that it refuses is read again as plain JSON, repaired by what the
strict way found wrong, and checked.
"""

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from exporter.errors import SchemaMismatch, Undecodable

SUSPICIOUS: Final = 1024 * 1024
"""Bytes of a page above which its values are counted before they are read: eight times a page of agents."""
MAX_VALUES: Final = 200_000
"""Values of one page: fifty times a page of agents. More would take seconds and gigabytes to refuse."""


def validated(adapter: TypeAdapter[Any], body: bytes) -> tuple[Any, Counter[str]]:
    """Read an answer; what is wrong inside an item of a list is dropped.

    Returns:
        The value, and how often each field's value had to be dropped.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: what is wrong is more than a part of an item.
    """
    if len(body) > SUSPICIOUS and body.count(b",") > MAX_VALUES:
        raise SchemaMismatch(f"more than {MAX_VALUES} values in one page")
    body = body.removeprefix(BOM_UTF8)  # some servers write it, and no JSON reader but Python's takes it
    try:
        return adapter.validate_json(body), Counter()
    except ValidationError as error:
        mistakes = _mistakes(error)
    if mistakes[0]["type"] == _NO_JSON:
        return _repaired(adapter, _lenient_json(body), [])
    return _repaired(adapter, from_json(body), mistakes)


def _repaired(adapter: TypeAdapter[Any], answer: Any, mistakes: list[ErrorDetails]) -> tuple[Any, Counter[str]]:
    """Replace what is wrong inside items by null, level by level, and count it by field."""
    unknown: Counter[str] = Counter()
    while True:
        for mistake in mistakes:
            unknown[_drop(answer, mistake)] += 1
        try:
            return adapter.validate_python(answer), unknown
        except ValidationError as error:
            mistakes = _mistakes(error)


def _mistakes(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)


_NO_JSON: Final = "json_invalid"
_LISTS: Final = (("task_list",), ("agent_list",))


def _drop(answer: Any, mistake: ErrorDetails) -> str:
    *above, last = mistake["loc"] or ("",)
    if not mistake["loc"] or mistake["loc"][0] == "page_meta" or mistake["loc"] in _LISTS:
        where = ".".join(map(str, mistake["loc"])) or "the answer"
        raise SchemaMismatch(f"{where}: {mistake['msg'][:200]}")
    for step in above:
        answer = answer[step]
    answer[last] = None
    return next(step for step in reversed(mistake["loc"]) if isinstance(step, str))


_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def _lenient_json(body: bytes) -> Any:
    """Read JSON that a strict reader refuses for one string or number in it.

    Lone surrogates and invalid UTF-8 are replaced; a number of absurd length becomes infinite, which no field allows.
    """
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(text, parse_int=_bounded_int)
        whole = not _SURROGATE.search(text)
        return answer if whole else json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the body is not JSON: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"


def _bounded_int(digits: str) -> float:
    return int(digits) if len(digits) <= 20 else float("inf")  # noqa: PLR2004  2**63 has 19 digits
