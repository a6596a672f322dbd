"""The lines that are added to a file, whoever writes, rotates or cuts it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 18
"""Small enough that looking through one holds the other threads for a few milliseconds only."""
LONGEST_LINE = 1 << 20
"""Bytes; what is longer is handed out cut, once."""
FIRST_BYTES = 64
"""How much of a file's beginning tells it from another that got its inode."""


@dataclass(frozen=True)
class Position:
    """Up to where a file has been read."""

    device: int
    inode: int
    offset: int
    """Bytes, always just behind a line feed (or inside a line that is being left out)."""
    beginning: str
    """The file's first bytes, as hex."""

    def to_json(self) -> dict[str, Any]:
        """For the state."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Any) -> Position | None:
        """The inverse; None for anything else."""
        try:
            return cls(
                int(data["device"]), int(data["inode"]), int(data["offset"]), str(data["beginning"])
            )
        except (KeyError, TypeError, ValueError):
            return None


class Tail:
    """Follows one path. A file that was renamed away is read to its end before the new one; one
    that was cut is read from its start. Works in steps, so that a burst does not hold anybody."""

    def __init__(self, path: Callable[[], Path | None], position: Position | None = None) -> None:
        self._path = path
        self._resume = position
        self._fd = -1
        self._offset = 0
        self._rest = b""
        self._dropping = False
        self._beginning = b""
        self.behind_bytes = 0
        """What is in the file and not yet read."""

    @property
    def position(self) -> Position | None:
        """Where to go on after a restart; None while no file is open."""
        if self._fd < 0:
            return self._resume
        status = os.fstat(self._fd)
        return Position(
            status.st_dev, status.st_ino, self._offset - len(self._rest), self._beginning.hex()
        )

    def skip_to_end(self) -> None:
        """Leave out what is there already, but for a line that is not yet whole."""
        if self._fd < 0:
            self._open()
        if self._fd >= 0:
            size = os.fstat(self._fd).st_size
            back = os.pread(self._fd, min(size, CHUNK_BYTES), max(0, size - CHUNK_BYTES))
            self._offset = size - (len(back) - back.rfind(b"\n") - 1)
            self._rest = b""

    def lines(self, most_bytes: int = 1 << 62) -> Iterator[bytes]:
        """Whole lines since the last call, without line feeds; see :meth:`blocks`."""
        for block in self.blocks(most_bytes):
            yield from block[:-1].split(b"\n")

    def blocks(self, most_bytes: int = 1 << 62) -> Iterator[bytes]:
        """What was added since the last call, as blocks of whole lines, each ending with a line
        feed; stops after about `most_bytes`. A file that cannot be read has nothing for now."""
        read, last_look = 0, False
        while read < most_bytes:
            if self._fd < 0 and not self._open():
                return
            try:
                size = os.fstat(self._fd).st_size
                if size < self._offset or not self._same_beginning():
                    self._restart()
                chunk = os.pread(self._fd, CHUNK_BYTES, self._offset)
            except OSError:
                self.close()
                return
            if not chunk:
                self.behind_bytes = 0
                if not self._moved_away():
                    return
                if not last_look:  # something may have come between the read and the look
                    last_look = True
                    continue
                if self._rest and not self._dropping:  # its writer will not end this line any more
                    yield self._rest + b"\n"
                self.close()
                last_look = False
                continue
            self._offset += len(chunk)
            self.behind_bytes = max(0, size - self._offset)
            read += len(chunk)
            if block := self._whole(chunk):
                yield block

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset, self._rest, self._dropping = -1, 0, b"", False
        self._beginning = b""

    def _whole(self, chunk: bytes) -> bytes:
        """The whole lines that `chunk` completes; what is left is kept for the next."""
        end = chunk.rfind(b"\n") + 1
        if self._dropping:
            start = chunk.find(b"\n") + 1
            if not start:
                return b""
            self._dropping, self._rest = False, chunk[end:]
            return chunk[start:end]
        if not end:
            self._rest += chunk
            if len(self._rest) <= LONGEST_LINE:
                return b""
            cut, self._rest, self._dropping = self._rest[:LONGEST_LINE], b"", True
            return cut + b"\n"
        block, self._rest = self._rest + chunk[:end], chunk[end:]
        return block

    def _open(self) -> bool:
        path = self._path()
        if path is None:
            return False
        resume, self._resume = self._resume, None
        for candidate in _candidates(path, resume):
            try:
                # Not blocking: a named pipe in the file's place must not hold the thread.
                self._fd = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                if resume is None or self._take_up(resume) or candidate == path:
                    return True
            except OSError:
                pass
            self.close()
        self._resume = resume
        return False

    def _take_up(self, resume: Position) -> bool:
        """Go on where it was left, if this is the file it was left in."""
        status = os.fstat(self._fd)
        if (status.st_dev, status.st_ino) != (resume.device, resume.inode):
            return False
        beginning = os.pread(self._fd, len(resume.beginning) // 2, 0)
        if beginning.hex() == resume.beginning and resume.offset <= status.st_size:
            self._offset, self._beginning = resume.offset, beginning
        return True

    def _restart(self) -> None:
        self._offset, self._rest, self._dropping, self._beginning = 0, b"", False, b""

    def _same_beginning(self) -> bool:
        """Whether the file still starts as it did: a cut file that grew back fast does not."""
        now = os.pread(self._fd, FIRST_BYTES, 0)
        known, self._beginning = self._beginning, now
        return now.startswith(known)

    def _moved_away(self) -> bool:
        path = self._path()
        if path is None:
            return False
        try:
            there, here = path.stat(), os.fstat(self._fd)
        except OSError:
            return False  # gone, and nothing new yet: its writer may still be writing
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _candidates(path: Path, resume: Position | None) -> Iterator[Path]:
    """The path; before it, the file that stood there when we stopped, if it was rotated since."""
    if resume is not None:
        try:
            siblings = [Path(entry) for entry in os.scandir(path.parent) if _is(entry, resume)]
        except OSError:
            siblings = []
        yield from (sibling for sibling in siblings if sibling != path)
    yield path


def _is(entry: os.DirEntry[str], position: Position) -> bool:
    return entry.inode() == position.inode and entry.is_file(follow_symlinks=False)
