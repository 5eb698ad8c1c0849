import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web import words

NOW = 1_760_000_000.0


@given(st.text(st.characters()))
def test_escaped_text_is_only_text(text: str) -> None:
    """Whatever the text, no markup, control character or direction override remains."""
    escaped = words.escape(text)
    assert not set(escaped) & set("<>\"'")
    assert escaped.isprintable()
    escaped.encode("utf-8")


def test_hidden_characters_are_shown() -> None:
    """Unprintable characters are shown as escapes, so that two similar names can be distinguished."""
    assert words.visible("a\u202eb\x00\n\ud800é") == "a\\u202eb\\x00\\n\\ud800é"


def test_long_text_is_cut() -> None:
    """A text of 10 MB takes a few hundred characters on a page."""
    assert words.visible("x" * 10_000_000) == "x" * (words.MAX_TEXT - 1) + "…"
    assert words.visible("x" * words.MAX_TEXT) == "x" * words.MAX_TEXT


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172800, "2 d"),
        (1e300, "over 100 years"),
    ],
)
def test_span(seconds: float, said: str) -> None:
    """A time span is shown in the largest unit of which it has at least two."""
    assert words.span(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.0853, "85 ms"), (1.24, "1.2 s"), (12.4, "12 s"), (-3, "0 ms")])
def test_duration(seconds: float, said: str) -> None:
    """A duration has as many digits as matter."""
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (NOW, "08:53:20 UTC"),
        (NOW - 86400, "2025-10-08 08:53 UTC"),
        (1e300, "1e+300 s after 1970 UTC"),
        (float("nan"), "nan s after 1970 UTC"),
    ],
)
def test_utc(moment: float, said: str) -> None:
    """A time has its date unless it is today; one outside the calendar is still shown."""
    assert words.utc(moment, NOW) == said


def test_until() -> None:
    """A time that has passed is shown as now, never negative."""
    assert [words.until(NOW + delta, NOW) for delta in (90, 0.2, -50)] == ["in 90 s", "now", "now"]


def test_listed() -> None:
    """Of a long list some names are shown, and the others counted."""
    assert words.listed(["a", "b"], 2) == "a, b"
    assert words.listed(["a", "b", "c\n"], 1) == "a and 2 more"
