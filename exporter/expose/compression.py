"""Text that is compressed once and then reused in any number of expositions.

A `DeflatedText` is a run of raw deflate blocks that ends on a byte boundary and refers to nothing outside itself.
Such runs can follow one another inside a single gzip member; their checksums are combined, not recomputed.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from isal import isal_zlib

SLICE: Final = 256 * 1024
"""Most bytes that `Exposition.text` yields at once."""

# Method deflate, no name, no time, unknown system: RFC 1952.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
_STORED: Final = 0xFFFF
"""Most bytes in an uncompressed block."""
_RAW_DEFLATE: Final = -15
_GZIP: Final = 31


@dataclass(frozen=True, slots=True)
class DeflatedText:
    """Compressed text that can be concatenated with other compressed text."""

    deflated: bytes
    crc: int
    length: int
    """Bytes of the text."""


def deflate(text: bytes) -> DeflatedText:
    """Compress `text` at the fastest level: the strongest one costs ten times the time for a tenth of the size."""
    compressor = isal_zlib.compressobj(isal_zlib.ISAL_BEST_SPEED, isal_zlib.DEFLATED, _RAW_DEFLATE)
    deflated = compressor.compress(text) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)
    return DeflatedText(deflated, isal_zlib.crc32(text), len(text))


def store(text: bytes) -> DeflatedText:
    """Wrap `text` uncompressed: for a short text that is sent once, compressing costs more than it saves."""
    starts = range(0, len(text), _STORED)
    blocks = [text[start : start + _STORED] for start in starts]
    stored = b"".join(struct.pack("<xHH", len(block), len(block) ^ 0xFFFF) + block for block in blocks)
    return DeflatedText(stored, isal_zlib.crc32(text), len(text))


def inflate(compressed: DeflatedText) -> bytes:
    """Decompress."""
    text: bytes = isal_zlib.decompressobj(_RAW_DEFLATE).decompress(compressed.deflated)
    return text


def concatenate(parts: Iterable[DeflatedText]) -> DeflatedText:
    """Join compressed texts in order, without decompressing them."""
    deflated, crc, length = [], 0, 0
    for part in parts:
        deflated.append(part.deflated)
        crc = isal_zlib.crc32_combine(crc, part.crc, part.length)
        length += part.length
    return DeflatedText(b"".join(deflated), crc, length)


@dataclass(frozen=True, slots=True)
class Exposition:
    """What one scrape returns, ready to send. Immutable, so later polls cannot change what a slow reader gets."""

    gzip: tuple[bytes, ...]
    """One gzip member, in parts to send in order."""
    text_length: int
    """Bytes when decompressed."""

    @classmethod
    def of(cls, head: DeflatedText, body: DeflatedText) -> "Exposition":
        """Wrap both, in order, as one gzip member, without copying the body."""
        crc = isal_zlib.crc32_combine(head.crc, body.crc, body.length)
        length = head.length + body.length
        trailer = _LAST_BLOCK + struct.pack("<LL", crc, length & 0xFFFFFFFF)
        return cls((_GZIP_HEADER + head.deflated, body.deflated, trailer), length)

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
