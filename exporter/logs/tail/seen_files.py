"""Files that were read before the current one, so that none is read twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

from exporter.logs.tail import rotation
from exporter.logs.tail.position import FIRST_BYTES, TailPosition, bytes_before

KNOWN_FILES = 32
LEAST_BYTES = 16
"""Fewer could stand anywhere."""
MOST_SEARCHED = 256_000_000
"""Bytes of a file in which is looked for what was read before."""
_CHUNK_BYTES = 1 << 20


class Visited:
    """Up to where each was read: inode, offset, and a checksum of what stands before the offset,
    because an inode is used again."""

    def __init__(self, entries: Iterable[tuple[int, int, int]] = ()) -> None:
        self._left = {inode: (offset, check) for inode, offset, check in entries}

    @property
    def entries(self) -> tuple[tuple[int, int, int], ...]:
        """For :class:`TailPosition`; the newest last."""
        return tuple((inode, *left) for inode, left in self._left.items())

    def remember(self, inode: int, offset: int, before: bytes) -> None:
        """A file is done; `before` is what precedes `offset`."""
        self._left.pop(inode, None)
        self._left[inode] = offset, crc32(before)
        while len(self._left) > KNOWN_FILES:
            del self._left[next(iter(self._left))]

    def leave_out(self, file: Path) -> None:
        """Never read what is in this file already."""

        def remember(fd: int) -> bool:
            status = os.fstat(fd)
            self.remember(status.st_ino, status.st_size, bytes_before(fd, status.st_size))
            return True

        holds(file, remember)

    def read_up_to(self, fd: int) -> int | None:
        """How far this file was read; None when it is not known."""
        status = os.fstat(fd)
        offset, check = self._left.get(status.st_ino, (-1, 0))
        if 0 <= offset <= status.st_size and crc32(bytes_before(fd, offset)) == check:
            return offset
        return None

    def has_more(self, file: Path, after_ns: int) -> bool:
        """Whether something in it was not read: it is longer than it was when it was left, or not
        known and written since `after_ns`."""

        def has_more(fd: int) -> bool:
            status, left = os.fstat(fd), self.read_up_to(fd)
            known_or_new = left is not None or status.st_mtime_ns >= after_ns
            return known_or_new and status.st_size > (left or 0)

        return holds(file, has_more)


def fits(position: TailPosition, file: Path) -> bool:
    """Whether all that was read stands in that file."""
    return holds(file, position.fits)


def begins(file: Path, beginning: bytes) -> bool:
    """Whether the file begins so, as far as it goes."""

    def begins(fd: int) -> bool:
        there = os.pread(fd, FIRST_BYTES, 0)
        return not there or (bool(beginning) and beginning.startswith(there[: len(beginning)]))

    return holds(file, begins)


def read_before(fd: int, position: TailPosition) -> int:
    """How far another file's lines were read when `position` was reached: to where the bytes are
    that came last. 0 if they are not there, or more than once: lines that repeat say nothing."""
    if position.fits(fd) and position.offset:
        return position.offset
    sought = bytes.fromhex(position.before)
    if len(sought) < LEAST_BYTES:
        return 0
    found, at, rest = 0, 0, b""
    while at < MOST_SEARCHED and (chunk := os.pread(fd, _CHUNK_BYTES, at)):
        text, start = rest + chunk, at - len(rest)
        place = text.find(sought)
        if place >= 0:
            if found or text.find(sought, place + 1) >= 0:
                return 0
            found = start + place + len(sought)
        at += len(chunk)
        rest = text[-(len(sought) - 1) :]
    return found


def holds(file: Path, what: Callable[[int], bool]) -> bool:
    """Ask something of a file; False when it cannot be read."""
    try:
        fd = rotation.opened(file)
        try:
            return what(fd)
        finally:
            os.close(fd)
    except OSError:
        return False
