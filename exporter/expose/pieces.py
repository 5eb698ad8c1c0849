"""Prepared bytes: text that is compressed once and spliced into any number of answers.

A piece is a run of raw deflate blocks that ends on a byte boundary and refers to nothing outside itself, so
pieces can stand one after another inside a single gzip member. Their checksums are combined, not computed again.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from isal import isal_zlib

SLICE: Final = 256 * 1024
"""Bytes handed to the network at once."""

# Method deflate, no name, no time, unknown system: RFC 1952.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
_STORED: Final = 0xFFFF
"""Bytes that a block holds at most when they are not compressed."""
_RAW_DEFLATE: Final = -15
_GZIP: Final = 31


@dataclass(frozen=True, slots=True)
class Piece:
    """Compressed text that can be spliced."""

    deflated: bytes
    crc: int
    length: int
    """Bytes of the text."""


def deflate(text: bytes) -> Piece:
    """Compress `text` at the fastest level: the strongest one costs ten times the time for a tenth of the size."""
    compressor = isal_zlib.compressobj(isal_zlib.ISAL_BEST_SPEED, isal_zlib.DEFLATED, _RAW_DEFLATE)
    deflated = compressor.compress(text) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)
    return Piece(deflated, isal_zlib.crc32(text), len(text))


def store(text: bytes) -> Piece:
    """Wrap `text` as it is: for a little that is sent once, compressing costs more than it saves."""
    starts = range(0, len(text), _STORED)
    blocks = [text[start : start + _STORED] for start in starts]
    stored = b"".join(struct.pack("<xHH", len(block), len(block) ^ 0xFFFF) + block for block in blocks)
    return Piece(stored, isal_zlib.crc32(text), len(text))


def inflate(piece: Piece) -> bytes:
    """The text of a piece."""
    text: bytes = isal_zlib.decompressobj(_RAW_DEFLATE).decompress(piece.deflated)
    return text


def merge(pieces: Iterable[Piece]) -> Piece:
    """One piece of several, in order, without touching what they hold."""
    deflated, crc, length = bytearray(), 0, 0
    for piece in pieces:
        deflated += piece.deflated
        crc = isal_zlib.crc32_combine(crc, piece.crc, piece.length)
        length += piece.length
    return Piece(bytes(deflated), crc, length)


@dataclass(frozen=True, slots=True)
class Run:
    """Many pieces joined, cut into slices for the network."""

    slices: tuple[bytes, ...]
    crc: int
    length: int
    """Bytes of the text."""


def splice(pieces: Iterable[Piece]) -> Run:
    """Join pieces like `merge`, for the network."""
    whole = merge(pieces)
    starts = range(0, len(whole.deflated), SLICE)
    return Run(tuple(whole.deflated[start : start + SLICE] for start in starts), whole.crc, whole.length)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole exposition, ready to send."""

    gzip: tuple[bytes, ...]
    """One gzip member, in slices."""
    text_length: int
    """Bytes when decompressed."""

    @classmethod
    def of(cls, head: Piece, body: Run) -> "Answer":
        """Wrap both, in order, as one gzip member."""
        crc = isal_zlib.crc32_combine(head.crc, body.crc, body.length)
        length = head.length + body.length
        trailer = _LAST_BLOCK + struct.pack("<LL", crc, length & 0xFFFFFFFF)
        return cls((_GZIP_HEADER + head.deflated, *body.slices, trailer), length)

    def text(self) -> Iterator[bytes]:
        """Yield the decompressed bytes in slices, never all at once."""
        decompressor = isal_zlib.decompressobj(_GZIP)
        for part in self.gzip:
            pending = part
            while pending:
                if text := decompressor.decompress(pending, SLICE):
                    yield text
                pending = decompressor.unconsumed_tail
        if rest := decompressor.flush():
            yield rest
