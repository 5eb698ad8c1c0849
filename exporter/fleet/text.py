"""Converts the platform's text to label values that are short and printable, and distinct if the texts are."""

import re
from hashlib import blake2s
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
MAX_LENGTH: Final = 128
"""Longest label value, in characters."""

# Control characters except tab and newline, line and paragraph separators, direction overrides and lone surrogates,
# which break parsers, line-based tools or display. Other text stays as it is.
_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def label_text(raw: str) -> str:
    """`raw` if it is fit for a label, else a sanitized form with a digest, so that distinct texts stay distinct."""
    if len(raw) <= MAX_LENGTH and (raw.isprintable() or not _UNFIT.search(raw)):
        return raw
    digest = blake2s(raw.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{_UNFIT.sub(REPLACEMENT, raw[: MAX_LENGTH - 9])}~{digest}"


def optional_label(raw: str | None) -> str:
    """The same for a value that may be missing; a missing label is the empty string in Prometheus."""
    return label_text(raw) if raw else ""
