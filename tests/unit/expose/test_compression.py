import gzip
import random
import zlib
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.expose.compression import SLICE, Exposition, concatenate, deflate, inflate, store, summary

NOISE = random.Random(0).randbytes(3 * SLICE)  # noqa: S311  bytes that do not compress


def exposition_of(head: bytes, *texts: bytes) -> Exposition:
    return Exposition.of(deflate(head), concatenate(map(deflate, texts)))


@given(st.binary(max_size=2000), st.lists(st.binary(max_size=2000), max_size=8))
def test_deflated_texts_are_one_gzip_member(head: bytes, texts: list[bytes]) -> None:
    """Any number of texts, even empty ones, make one gzip member with the right checksum and length."""
    exposition = exposition_of(head, *texts)
    whole = b"".join((head, *texts))
    packed = b"".join(exposition.gzip)
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert member.decompress(packed) == whole
    assert (member.eof, member.unused_data) == (True, b"")
    assert gzip.decompress(packed) == whole
    assert b"".join(exposition.text()) == whole
    assert exposition.text_length == len(whole)


@pytest.mark.parametrize(
    "text",
    [b"", b"x", NOISE, b"\x00" * 20_000_000, b"a" * SLICE, b"a" * (SLICE + 1), (NOISE[:1000] + b"0" * 99_000) * 30],
    ids=["empty", "one byte", "noise", "zeros", "a slice", "a slice and one", "mixed"],
)
def test_large_and_odd_texts(text: bytes) -> None:
    """However well a text compresses, it is restored completely, in pieces of at most a slice."""
    exposition = exposition_of(b"# head\n", text, text[:10])
    assert gzip.decompress(b"".join(exposition.gzip)) == b"# head\n" + text + text[:10]
    parts = list(exposition.text())
    assert b"".join(parts) == b"# head\n" + text + text[:10]
    assert max(map(len, parts)) <= SLICE


def test_deflated_texts_refer_to_nothing_outside() -> None:
    """A text decompresses to the same whatever precedes it, so it can be used in any exposition."""
    text = deflate(b"cyberun_up 1\n" * 100)
    for before in (b"", b"cyberun_up 1\n" * 100, NOISE):
        packed = b"".join(Exposition.of(deflate(before), concatenate([text, text])).gzip)
        assert gzip.decompress(packed) == before + b"cyberun_up 1\n" * 200


def test_checksum_and_length_are_those_of_the_text() -> None:
    """Compressed text has the checksum and length of its content, even when concatenated."""
    texts = [b"one", b"", NOISE]
    both = concatenate(map(deflate, texts))
    assert summary(both) == (zlib.crc32(b"".join(texts)), sum(map(len, texts)))
    assert summary(deflate(b"one")) == (zlib.crc32(b"one"), 3)


def test_nothing_to_concatenate() -> None:
    """Without any text the exposition is its head."""
    assert gzip.decompress(b"".join(exposition_of(b"head").gzip)) == b"head"


def test_text_is_decompressed_as_it_is_taken() -> None:
    """The first slice is yielded before the rest is decompressed, so a large text is never in memory as a whole."""
    text = NOISE * 5
    parts = exposition_of(b"", text).text()
    first = b"".join(islice(parts, 2))
    assert 0 < len(first) <= 2 * SLICE
    assert text.startswith(first)


@pytest.mark.parametrize("text", [b"", b"x", NOISE[:65535], NOISE[:65536], NOISE], ids=len)
def test_stored_text(text: bytes) -> None:
    """Stored text can be concatenated like compressed text, whatever its length."""
    assert (
        gzip.decompress(b"".join(Exposition.of(store(text), concatenate([deflate(b"x"), store(text)])).gzip))
        == text + b"x" + text
    )
    assert inflate(store(text)) == inflate(deflate(text)) == text
