"""Limits what the JSON of one answer may hold, before any Python objects are built from it.

In memory, a list can take a hundred times its bytes, and one emoji makes a text take four times as much. Everything
here is therefore counted in the bytes as received, whatever the shape of the JSON.
"""

import re
from hashlib import blake2s
from typing import Final

from exporter.errors import SchemaMismatch

MAX_VALUES: Final = 60_000
"""The most values in one answer: a dozen pages of agents. More are refused before any object is built."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""The most bytes in one answer, not counting long texts: about thirty pages of agents."""
MAX_TEXT: Final = 1024
"""In an answer larger than `MAX_BYTES`, a text with more bytes than this is long."""
SLOW_VALUES: Final = 8_000
"""An answer with this many values is read in a thread: two pages of agents, or 30 ms if every value is wrong."""
SLOW_BYTES: Final = 512 * 1024
"""An answer of this size, in bytes, is read in a thread: four pages of agents."""
BYTES_PER_VALUE: Final = 2
"""The least: a digit and a comma."""
QUOTES_PER_VALUE: Final = 4
"""The most: those of a key and its text."""
_QUOTE: Final = b'"'
_BACKSLASH: Final = b"\\"
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A string; without an end, everything to the end, so that no byte is searched twice."""
_BLOCK: Final = 64
"""Bytes searched for backslashes at a time: there is hardly ever more than one."""


def takes_long(body: bytes) -> bool:
    """Whether reading the body may block the event loop for too long."""
    return len(body) >= SLOW_BYTES or _may_hold(SLOW_VALUES, body)


def bounded(body: bytes) -> bytes:
    """The body as JSON that can be read within some milliseconds and megabytes.

    Returns:
        The body itself, or if it is too large, with its long texts shortened so that different ones stay different.

    Raises:
        SchemaMismatch: it has more than `MAX_VALUES` values, or more than `MAX_BYTES` that are not long texts.
    """
    if len(body) <= MAX_BYTES and not _may_hold(MAX_VALUES + 1, body):
        return body
    # Only few answers get here: their texts are looked at one by one, so there must not be too many of them.
    if body.count(_QUOTE) > QUOTES_PER_VALUE * MAX_VALUES:
        raise SchemaMismatch(f"more than {MAX_VALUES} values in one answer")
    if len(body) > MAX_BYTES:
        body = _shortened(body)
        if len(body) > MAX_BYTES:
            raise SchemaMismatch(f"more than {MAX_BYTES} bytes in one answer, long texts aside")
    if _holds_outside_texts(MAX_VALUES + 1, body):
        raise SchemaMismatch(f"more than {MAX_VALUES} values in one answer")
    return body


def _may_hold(values: int, body: bytes) -> bool:
    """Whether the JSON may hold this many values; punctuation inside texts counts as well."""
    return len(body) >= BYTES_PER_VALUE * values and _values_in(body) >= values


def _holds_outside_texts(values: int, body: bytes) -> bool:
    """Whether the JSON holds this many values; looks into texts only while their punctuation may decide it."""
    found, texts = _values_in(body), _TEXT.finditer(body)
    while found >= values and (text := next(texts, None)) is not None:
        found -= _values_in(body, *text.span())
    return found >= values


def _values_in(body: bytes, begin: int = 0, end: int | None = None) -> int:
    """An upper bound for the number of values in the JSON between two places of `body`."""
    return body.count(b",", begin, end) + body.count(b"[", begin, end) + body.count(b"{", begin, end)


def _shortened(body: bytes) -> bytes:
    pieces: list[bytes] = []
    copied = searched = 0
    while (begin := body.find(_QUOTE, searched) + 1) > 0 and (end := _end_of_text(body, begin)) >= 0:
        if end - begin > MAX_TEXT:
            pieces += (body[copied:begin], _beginning(body, begin), _digest(body, begin, end))
            copied = end
        searched = end + 1
    return b"".join((*pieces, body[copied:]))


def _end_of_text(body: bytes, begin: int) -> int:
    """Where the quote is that ends the text; -1 if there is none."""
    end = body.find(_QUOTE, begin)
    while end >= 0 and _backslashes(body, begin, end) % 2 == 1:
        end = body.find(_QUOTE, end + 1)
    return end


def _backslashes(body: bytes, begin: int, end: int) -> int:
    """How many backslashes are directly before `end`."""
    count = 0
    while True:
        tail = body[max(begin, end - count - _BLOCK) : end - count]
        run = len(tail) - len(tail.rstrip(_BACKSLASH))
        count += run
        if run < _BLOCK:
            return count


def _beginning(body: bytes, begin: int) -> bytes:
    """The part of a long text that is kept: whole characters, before the first escape."""
    return body[begin : begin + MAX_TEXT // 2].partition(_BACKSLASH)[0].decode("utf-8", "ignore").encode()


def _digest(body: bytes, begin: int, end: int) -> bytes:
    return b"~" + blake2s(memoryview(body)[begin:end], digest_size=8).hexdigest().encode()
