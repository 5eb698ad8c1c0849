"""Which exposition format and which content coding a client gets. Pure functions of header values.

Both answer for every input: a header that makes no sense counts as one that asks for nothing.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_WEIGHT: Final = re.compile(r"[01](?:\.[0-9]*)?")

# How closely a range names a format: the closest one decides, as RFC 9110 (12.5.1) has it.
_ANYTHING: Final = 1
_MAIN_TYPE: Final = 2
_OLDER_VERSION: Final = 3
_TYPE: Final = 4
_VERSION: Final = 5


class _Range(NamedTuple):
    """One element of an Accept or Accept-Encoding header."""

    value: str
    version: str | None
    weight: float


class _Rank(NamedTuple):
    """How much a client wants a format: by the range that names it most closely."""

    closeness: int
    weight: float


@lru_cache(maxsize=64)
def prefers_openmetrics(accept: str) -> bool:
    """Tell whether to answer with OpenMetrics 1.0.0 rather than with the text format 0.0.4.

    The heavier weight wins. A tie goes to OpenMetrics if the header names it, else to text. A client that accepts
    neither gets text: a scrape is never refused.

    Args:
        accept: the Accept header; empty when there is none.
    """
    ranges = tuple(_ranges(accept))
    openmetrics = max((_rank_openmetrics(each) for each in ranges), default=_Rank(0, 0.0))
    text = max((_rank_text(each) for each in ranges), default=_Rank(0, 0.0))
    if openmetrics.weight == text.weight:
        return openmetrics.weight > 0 and openmetrics.closeness > _MAIN_TYPE
    return openmetrics.weight > text.weight


@lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether to answer with gzip rather than with the bytes as they are.

    gzip wins when it is accepted and not lighter than an identity that the header names.

    Args:
        accept_encoding: the Accept-Encoding header; empty when there is none.
    """
    weights: dict[str, float] = {}
    for each in _ranges(accept_encoding):
        coding = "gzip" if each.value == "x-gzip" else each.value
        weights[coding] = max(each.weight, weights.get(coding, 0.0))
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _ranges(header: str) -> Iterator[_Range]:
    """Yield the well-formed elements of a header."""
    for element in header.lower().split(","):
        value, *parameters = (part.strip() for part in element.split(";"))
        named = dict(_parameter(each) for each in parameters)
        weight = named.get("q", "1")
        if value and _WEIGHT.fullmatch(weight) and float(weight) <= 1:
            yield _Range(value, named.get("version"), float(weight))


def _parameter(text: str) -> tuple[str, str]:
    """Split `name=value`, with or without quotes."""
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _rank_openmetrics(each: _Range) -> _Rank:
    """Rank a range as a wish for OpenMetrics 1.0.0, which readers of 0.0.1 read as well."""
    closeness = {"*/*": _ANYTHING, "application/*": _MAIN_TYPE}.get(each.value, 0)
    if each.value == "application/openmetrics-text":
        closeness = {"1.0.0": _VERSION, None: _TYPE, "0.0.1": _OLDER_VERSION}.get(each.version, 0)
    return _Rank(closeness, each.weight if closeness else 0.0)


def _rank_text(each: _Range) -> _Rank:
    """Rank a range as a wish for the text format 0.0.4."""
    closeness = {"*/*": _ANYTHING, "text/*": _MAIN_TYPE}.get(each.value, 0)
    if each.value == "text/plain":
        closeness = {"0.0.4": _VERSION, None: _TYPE}.get(each.version, 0)
    return _Rank(closeness, each.weight if closeness else 0.0)
