import gzip
import random
import zlib
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.expose.pieces import SLICE, Answer, deflate, inflate, splice, store

NOISE = random.Random(0).randbytes(3 * SLICE)  # noqa: S311  bytes that do not compress


def answer_of(head: bytes, *texts: bytes) -> Answer:
    return Answer.of(deflate(head), splice(map(deflate, texts)))


@given(st.binary(max_size=2000), st.lists(st.binary(max_size=2000), max_size=8))
def test_spliced_pieces_are_one_gzip_member(head: bytes, texts: list[bytes]) -> None:
    """Any pieces, in any number, empty ones included, are one gzip member with the right checksum and length."""
    answer = answer_of(head, *texts)
    whole = b"".join((head, *texts))
    packed = b"".join(answer.gzip)
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert member.decompress(packed) == whole
    assert (member.eof, member.unused_data) == (True, b"")
    assert gzip.decompress(packed) == whole
    assert b"".join(answer.text()) == whole
    assert answer.text_length == len(whole)


@pytest.mark.parametrize(
    "text",
    [b"", b"x", NOISE, b"\x00" * 20_000_000, b"a" * SLICE, b"a" * (SLICE + 1), (NOISE[:1000] + b"0" * 99_000) * 30],
    ids=["empty", "one byte", "noise", "zeros", "a slice", "a slice and one", "mixed"],
)
def test_large_and_odd_texts(text: bytes) -> None:
    """However well a text compresses, it comes back whole, and nothing is handed out in more than a slice."""
    answer = answer_of(b"# head\n", text, text[:10])
    assert gzip.decompress(b"".join(answer.gzip)) == b"# head\n" + text + text[:10]
    parts = list(answer.text())
    assert b"".join(parts) == b"# head\n" + text + text[:10]
    assert max(map(len, parts)) <= SLICE
    assert max(map(len, answer.gzip)) <= SLICE


def test_pieces_refer_to_nothing_outside() -> None:
    """A piece reads the same whatever stands before it, so it can be used in any answer."""
    piece = deflate(b"cyberun_up 1\n" * 100)
    for before in (b"", b"cyberun_up 1\n" * 100, NOISE):
        packed = b"".join(Answer.of(deflate(before), splice([piece, piece])).gzip)
        assert gzip.decompress(packed) == before + b"cyberun_up 1\n" * 200


def test_checksum_and_length_are_those_of_the_text() -> None:
    """A piece and a run know the checksum and the length of what they hold."""
    texts = [b"one", b"", NOISE]
    run = splice(map(deflate, texts))
    assert (run.crc, run.length) == (zlib.crc32(b"".join(texts)), sum(map(len, texts)))
    assert (deflate(b"one").crc, deflate(b"one").length) == (zlib.crc32(b"one"), 3)


def test_nothing_to_splice() -> None:
    """Without any piece the answer is its head."""
    assert gzip.decompress(b"".join(answer_of(b"head").gzip)) == b"head"


def test_text_is_decompressed_as_it_is_taken() -> None:
    """The first slice is there before the rest was looked at: a large text is never held whole."""
    text = NOISE * 5
    parts = answer_of(b"", text).text()
    first = b"".join(islice(parts, 2))
    assert 0 < len(first) <= 2 * SLICE
    assert text.startswith(first)


@pytest.mark.parametrize("text", [b"", b"x", NOISE[:65535], NOISE[:65536], NOISE], ids=len)
def test_stored_text(text: bytes) -> None:
    """Text that is not compressed splices like any other, whatever its length."""
    assert (
        gzip.decompress(b"".join(Answer.of(store(text), splice([deflate(b"x"), store(text)])).gzip))
        == text + b"x" + text
    )
    assert inflate(store(text)) == inflate(deflate(text)) == text
