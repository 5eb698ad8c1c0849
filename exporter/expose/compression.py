"""Text that is compressed once and then reused in any number of expositions.

A `DeflatedText` is a sequence of raw deflate blocks that ends on a byte boundary and refers to nothing outside itself.
Such sequences can follow one another in a single gzip member; their checksums are combined, not recomputed.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NewType

from isal import isal_zlib

SLICE: Final = 256 * 1024
"""Maximum bytes that `Exposition.text` yields at once."""

# Method deflate, no name, no time, unknown system: RFC 1952.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
_STORED: Final = 0xFFFF
"""Maximum bytes in an uncompressed block."""
_SUMMARY: Final = struct.Struct("<LQ")
"""CRC-32 and length of a text."""
_RAW_DEFLATE: Final = -15
"""As `wbits`: no header and no trailer."""
_GZIP: Final = 31
"""As `wbits`: the header and trailer of gzip."""


DeflatedText = NewType("DeflatedText", bytes)
"""Compressed text that can be concatenated with other compressed text, followed by its checksum and length.

Plain bytes, because there are dozens per team, and the garbage collector would traverse as many objects.
"""


def _deflated_text(blocks: Iterable[bytes | memoryview], crc: int, length: int) -> DeflatedText:
    return DeflatedText(b"".join((*blocks, _SUMMARY.pack(crc, length))))


def _blocks(compressed: DeflatedText) -> memoryview:
    return memoryview(compressed)[: -_SUMMARY.size]


def summary(compressed: DeflatedText) -> tuple[int, int]:
    """The CRC-32 and the length of the text, in bytes."""
    crc, length = _SUMMARY.unpack_from(compressed, len(compressed) - _SUMMARY.size)
    return crc, length


def deflate(text: bytes) -> DeflatedText:
    """Compress `text` at the fastest level: the strongest one costs ten times the time for a tenth of the size."""
    compressor = isal_zlib.compressobj(isal_zlib.ISAL_BEST_SPEED, isal_zlib.DEFLATED, _RAW_DEFLATE)
    blocks = compressor.compress(text), compressor.flush(isal_zlib.Z_SYNC_FLUSH)
    return _deflated_text(blocks, isal_zlib.crc32(text), len(text))


def store(text: bytes) -> DeflatedText:
    """Wrap `text` uncompressed: for a short text that is sent once, compressing costs more than it saves."""
    pieces = (text[start : start + _STORED] for start in range(0, len(text), _STORED))
    blocks = (struct.pack("<xHH", len(piece), len(piece) ^ 0xFFFF) + piece for piece in pieces)
    return _deflated_text(blocks, isal_zlib.crc32(text), len(text))


def inflate(compressed: DeflatedText) -> bytes:
    """Decompress."""
    text: bytes = isal_zlib.decompressobj(_RAW_DEFLATE).decompress(_blocks(compressed))
    return text


def concatenate(parts: Iterable[DeflatedText]) -> DeflatedText:
    """Join compressed texts in order, without decompressing them."""
    blocks, crc, length = [], 0, 0
    for part in parts:
        blocks.append(_blocks(part))
        part_crc, part_length = summary(part)
        crc = isal_zlib.crc32_combine(crc, part_crc, part_length)
        length += part_length
    return _deflated_text(blocks, crc, length)


@dataclass(frozen=True, slots=True)
class Exposition:
    """What one scrape returns, ready to send. Immutable, so later polls cannot change what a slow reader gets."""

    gzip: tuple[bytes | memoryview, ...]
    """One gzip member, in parts to send in order."""
    text_length: int
    """Bytes when decompressed."""

    @classmethod
    def of(cls, head: DeflatedText, body: DeflatedText) -> "Exposition":
        """Wrap both, in order, as one gzip member, without copying the body."""
        (head_crc, head_length), (body_crc, body_length) = summary(head), summary(body)
        crc = isal_zlib.crc32_combine(head_crc, body_crc, body_length)
        length = head_length + body_length
        trailer = _LAST_BLOCK + struct.pack("<LL", crc, length & 0xFFFFFFFF)
        return cls((_GZIP_HEADER + _blocks(head), _blocks(body), trailer), length)

    def text(self) -> Iterator[bytes]:
        """Yield the decompressed bytes in slices, never all at once."""
        decompressor = isal_zlib.decompressobj(_GZIP)
        for part in self.gzip:
            view = memoryview(part)
            for start in range(0, len(view), SLICE):
                pending: bytes | memoryview = view[start : start + SLICE]
                while pending:
                    if text := decompressor.decompress(pending, SLICE):
                        yield text
                    pending = decompressor.unconsumed_tail
        if rest := decompressor.flush():
            yield rest
