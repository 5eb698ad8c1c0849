"""Formats times, durations and text from outside so that a person can read them safely."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from exporter.redact import redact

MAX_TEXT: Final = 400
"""Maximum characters shown of one text from outside."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_CENTURY: Final = 36525 * _DAY
_TENTHS_UNTIL: Final = 10
"""Seconds of a duration up to which a tenth matters."""


def visible(text: str, most: int = MAX_TEXT) -> str:
    """Mask credentials, escape unprintable characters (controls, direction overrides), cut after `most`."""
    text = redact(text)
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def escape(text: str) -> str:
    """Make text from outside safe for HTML, between tags and inside quoted attributes."""
    return html.escape(visible(text))


def listed(names: Sequence[str], most: int) -> str:
    """Join names; if there are more than `most`, list the first ones and count the others."""
    shown = ", ".join(visible(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def duration(seconds: float) -> str:
    """Say how long something takes: `85 ms`, `1.2 s`, `3 min`, `4 h`, `12 d`."""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _TENTHS_UNTIL:
        return f"{seconds:.1f} s"
    return span(seconds)


def span(seconds: float) -> str:
    """Say a duration as a whole number of its largest fitting unit: `0 s`, `59 s`, `3 min`, `4 h`, `12 d`."""
    if seconds >= _CENTURY:
        return "over 100 years"
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        # Two of a unit are the least that is shown in it: "90 s" says more than "1 min".
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def ago(moment: float, now: float) -> str:
    """Say how long ago a moment was."""
    return f"{span(now - moment)} ago"


def until(moment: float, now: float) -> str:
    """Say how far ahead a moment is; `now` when it has come."""
    return f"in {span(moment - now)}" if moment - now >= 1 else "now"


def utc(moment: float, now: float) -> str:
    """Say when a moment was, in UTC: the time alone on the day of `now`, else the date as well."""
    return f"{clock(moment, now)} UTC"


def clock(moment: float, now: float) -> str:
    """The same without the word UTC."""
    try:
        when = datetime.fromtimestamp(moment, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{moment:.10g} s after 1970"
    today = when.date() == datetime.fromtimestamp(now, UTC).date()
    return when.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")
