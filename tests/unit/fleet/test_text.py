import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.text import MAX_LENGTH, label_text, optional_label

ANY_TEXT = st.text(st.characters(codec=None), max_size=300)  # lone surrogates included
UNFIT = ["\x00", "\x07", "\x0b", "\r", "\x1b", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\ud800"]


@pytest.mark.parametrize(
    "text",
    [
        "gpu-node-01",
        "",
        " ",
        'quotes " and \\ and {}=,',
        "two\nlines\tand a tab",
        "Überwachung 監視 \N{GRINNING FACE}",
        "right-to-left \u200f mark, zero width \u200b, no-break\u00a0space",
        "x" * MAX_LENGTH,
        "\N{GRINNING FACE}" * MAX_LENGTH,
        "~12345678",
    ],
)
def test_fit_text_stays(text: str) -> None:
    """Short text without control characters is not touched, whatever its script."""
    assert label_text(text) == text


@pytest.mark.parametrize("char", UNFIT, ids=lambda char: f"{ord(char):04x}")
def test_unfit_characters_are_replaced(char: str) -> None:
    """What breaks a parser or a reader's eye is replaced, and a digest of the original follows."""
    changed = label_text(f"a{char}b")
    assert re.fullmatch("a\N{REPLACEMENT CHARACTER}b~[0-9a-f]{8}", changed)
    assert changed != label_text("a\x01b")


@pytest.mark.parametrize("length", [MAX_LENGTH + 1, 1000, 10_000_000])
def test_long_text_is_cut(length: int) -> None:
    """Long text ends in a digest, so that texts which differ only behind the cut stay distinct."""
    one, other = label_text("x" * length), label_text("x" * (length - 1) + "y")
    assert len(one) == len(other) == MAX_LENGTH
    assert one != other
    assert one.startswith("x" * (MAX_LENGTH - 9) + "~")


@given(ANY_TEXT)
def test_every_text_becomes_fit(text: str) -> None:
    """The result is bounded, can be encoded, and is left as it is by a second pass."""
    fit = label_text(text)
    assert len(fit) <= MAX_LENGTH
    assert not any(char in fit for char in UNFIT)
    fit.encode()
    assert label_text(fit) == fit


@given(st.sets(ANY_TEXT, min_size=2, max_size=20))
def test_distinct_texts_stay_distinct(texts: set[str]) -> None:
    """No two texts become the same label value."""
    assert len({label_text(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(("raw", "label"), [(None, ""), ("", ""), ("cuda", "cuda")])
def test_missing_label_is_empty(raw: str | None, label: str) -> None:
    """Prometheus' way to say that a label is missing is the empty string."""
    assert optional_label(raw) == label


def test_optional_label_is_made_fit() -> None:
    """A label that may be missing obeys the same bounds."""
    assert len(optional_label("x" * 500)) == MAX_LENGTH
