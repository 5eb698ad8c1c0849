"""Which exposition format and content coding a client gets. Pure functions of header values.

Both make a choice for every input; malformed elements are ignored.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_WEIGHT: Final = re.compile(r"[01](?:\.[0-9]*)?")
_OPENMETRICS_VERSIONS: Final = (None, "1.0.0", "0.0.1")
"""Clients that read 0.0.1 can read 1.0.0 as well."""
_TEXT_VERSIONS: Final = (None, "0.0.4")


class _Range(NamedTuple):
    """One element of an Accept or Accept-Encoding header."""

    value: str
    version: str | None
    weight: float


def prefers_openmetrics(accept: str) -> bool:
    """Whether to answer with OpenMetrics 1.0.0 rather than with the text format 0.0.4.

    OpenMetrics is sent to clients that name it, unless they give text a greater weight. All others get text, even one
    that accepts neither, because a scrape is never refused.

    Args:
        accept: the Accept header; empty when there is none.
    """
    openmetrics = text = 0.0
    for each in _ranges(accept):
        if each.value == "application/openmetrics-text" and each.version in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, each.weight)
        elif each.value in ("text/plain", "text/*", "*/*") and each.version in _TEXT_VERSIONS:
            text = max(text, each.weight)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether to answer with gzip rather than without compression.

    Gzip is sent to clients that accept it, unless they name identity with a greater weight.

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
