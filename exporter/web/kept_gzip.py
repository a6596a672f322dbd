"""Gzip of a text that comes in parts, of which only those that changed are packed again.

A segment (some parts) is packed by itself and ends at a byte (a flush), so segments can be joined
to one ordinary gzip stream of one member, as RFC 1951 and 1952 have it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_Z: Any = zlib
_LEVEL = 4
with suppress(ImportError):  # where isal has no wheel for the processor
    from isal import isal_zlib

    _Z, _LEVEL = isal_zlib, 1  # a tenth of zlib's time, and no larger
_SEGMENT_BYTES = 16_384
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST_BLOCK = b"\x03\0"


@dataclass
class _Segment:
    first: int
    end: int
    parts: Sequence[bytes] = ()
    packed: bytes = b""

    def update(self, parts: Sequence[bytes]) -> None:
        if len(parts) == len(self.parts) and all(map(_is, parts, self.parts)):
            return
        packer = _Z.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self.packed = packer.compress(b"".join(parts)) + packer.flush(zlib.Z_SYNC_FLUSH)
        self.parts = parts


class KeptGzip:
    """Packs texts that resemble the one before. Not for two threads at the same time."""

    def __init__(self) -> None:
        self._segments = list[_Segment]()
        self._count = 0

    def pack(self, parts: Sequence[bytes]) -> bytes:
        """The gzip of the joined parts."""
        if len(parts) != self._count:
            self._count = len(parts)
            self._segments = _cut(parts)
        crc = size = 0
        packed = [_HEADER]
        for segment in self._segments:
            segment.update(parts[segment.first : segment.end])
            packed.append(segment.packed)
        for part in parts:
            crc = _Z.crc32(part, crc)
            size += len(part)
        trailer = crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join([*packed, _LAST_BLOCK, trailer])


def _cut(parts: Sequence[bytes]) -> list[_Segment]:
    segments, first, size = list[_Segment](), 0, 0
    for number, part in enumerate(parts, 1):
        size += len(part)
        if size >= _SEGMENT_BYTES or number == len(parts):
            segments.append(_Segment(first, number))
            first, size = number, 0
    return segments


def _is(part: bytes, other: bytes) -> bool:
    return part is other
