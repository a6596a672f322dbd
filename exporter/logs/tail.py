"""The lines that are added to a file, whoever writes, rotates or cuts it."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 18
"""Small enough that looking through one holds the other threads for a few milliseconds only."""
LONGEST_LINE = 1 << 20
"""Bytes; what is longer is handed out cut, once."""
FIRST_BYTES = 64
"""How much of a file's beginning, and of what stands before the place that was reached, tells it
from another that got its inode, or from what was written after it was cut."""
KNOWN_INODES = 32
_TURNED = re.compile(r"[.\-_]?\d[\d.\-_:T]*")
"""What rotation puts into a name: bot.log.1, bot.log-20261124, bot.2026-11-24_00-00-00.log."""


@dataclass(frozen=True)
class Position:
    """Up to where a file has been read."""

    device: int
    inode: int
    offset: int
    """Bytes, always just behind a line feed (or inside a line that is being left out)."""
    beginning: str
    """The file's first bytes, as hex."""
    before: str = ""
    """The bytes before the offset, as hex."""
    done: tuple[int, ...] = ()
    """Inodes of files that were rotated away and read to their end."""

    def to_json(self) -> dict[str, Any]:
        """For the state."""
        return vars(self) | {"done": list(self.done)}

    @classmethod
    def from_json(cls, data: Any) -> Position | None:
        """The inverse; None for anything else."""
        try:
            return cls(
                int(data["device"]), int(data["inode"]), int(data["offset"]),
                str(data["beginning"]), str(data.get("before", "")),
                tuple(int(inode) for inode in data.get("done", ())),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


class Tail:
    """Follows one path. A file that was renamed away is read to its end before those that came
    after it; one that was cut is read from its start. Works in steps, so that a burst does not hold
    anybody."""

    def __init__(self, path: Callable[[], Path | None], position: Position | None = None) -> None:
        self._path = path
        self._resume = position
        self._fd = -1
        self._offset = 0
        self._rest = b""
        self._dropping = False
        self._beginning = self._before = b""
        self._done: deque[int] = deque(position.done if position else (), maxlen=KNOWN_INODES)
        self._next: list[Path] = []
        self.behind_bytes = 0
        """What is in the file and not yet read."""
        self.problem: str | None = None
        """Why the file cannot be read, or None."""

    @property
    def position(self) -> Position | None:
        """Where to go on after a restart; None while no file is open."""
        if self._fd < 0:
            return self._resume
        status, offset = os.fstat(self._fd), self._offset - len(self._rest)
        return Position(
            status.st_dev,
            status.st_ino,
            offset,
            self._beginning.hex(),
            self._ahead_of(offset).hex(),
            tuple(self._done),
        )

    def skip_to_end(self) -> None:
        """Leave out what is there already, but for a line that is not yet whole."""
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return
        try:
            size = os.fstat(self._fd).st_size
            back = os.pread(self._fd, min(size, CHUNK_BYTES), max(0, size - CHUNK_BYTES))
            self._offset = size - (len(back) - back.rfind(b"\n") - 1)
            self._rest, self._before = b"", self._ahead_of(self._offset)
        except OSError as error:
            self.problem = error.strerror
            self.close()

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
                if size < self._offset or not self._same_file():
                    self._restart()
                chunk = os.pread(self._fd, CHUNK_BYTES, self._offset)
            except OSError as error:
                self.problem = error.strerror
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
                self._finish()
                last_look = False
                continue
            last_look = False
            self._offset += len(chunk)
            self._before = chunk[-FIRST_BYTES:]
            self.behind_bytes = max(0, size - self._offset)
            read += len(chunk)
            if block := self._whole(chunk):
                yield block

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset, self._rest, self._dropping = -1, 0, b"", False
        self._beginning = self._before = b""

    def _finish(self) -> None:
        """This file is done; what rotation put between it and the path comes next."""
        status = os.fstat(self._fd)
        self._done.append(status.st_ino)
        path = self._path()
        if path is not None and not self._next:
            self._next = _turned_since(path, status.st_mtime_ns, set(self._done))
        self.close()

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
            self.problem = "there is no such file"
            return False
        resume, self._resume = self._resume, None
        for candidate in [*self._next, *_candidates(path, resume)]:
            self._next = self._next[1:]
            try:
                # Not blocking: a named pipe in the file's place must not hold the thread.
                self._fd = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                if resume is None or self._take_up(resume) or candidate == path:
                    self.problem = None
                    return True
            except OSError as error:
                self.problem = error.strerror
            self.close()
        self._resume = resume
        return False

    def _take_up(self, resume: Position) -> bool:
        """Go on where it was left, if this is the file it was left in."""
        status = os.fstat(self._fd)
        if (status.st_dev, status.st_ino) != (resume.device, resume.inode):
            return False
        beginning = os.pread(self._fd, len(resume.beginning) // 2, 0)
        before = self._ahead_of(resume.offset)
        same = beginning.hex() == resume.beginning and before.hex().endswith(resume.before)
        if same and resume.offset <= status.st_size:
            self._offset, self._beginning, self._before = resume.offset, beginning, before
        return True

    def _restart(self) -> None:
        self._offset, self._rest, self._dropping = 0, b"", False
        self._beginning = self._before = b""

    def _same_file(self) -> bool:
        """Whether the file still starts as it did, and what was read last is still there: in a cut
        file that grew back fast it is not."""
        now = os.pread(self._fd, FIRST_BYTES, 0)
        known, self._beginning = self._beginning, now
        return now.startswith(known) and self._ahead_of(self._offset).endswith(self._before)

    def _ahead_of(self, offset: int) -> bytes:
        start = max(0, offset - FIRST_BYTES)
        return os.pread(self._fd, offset - start, start)

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


def _turned_since(path: Path, after_ns: int, done: set[int]) -> list[Path]:
    """Files that were rotated away from `path` and last written since, in that order. Compressed
    ones are not among them."""
    found = []
    try:
        for entry in os.scandir(path.parent):
            if entry.name == path.name or not _is_turned(entry.name, path):
                continue
            status = entry.stat(follow_symlinks=False)
            known = status.st_ino in done
            if (
                entry.is_file(follow_symlinks=False)
                and status.st_mtime_ns >= after_ns
                and not known
            ):
                found.append((status.st_mtime_ns, Path(entry.path)))
    except OSError:
        return []
    return [file for _, file in sorted(found)]


def _is_turned(name: str, path: Path) -> bool:
    """Whether `name` is what rotation makes of `path`'s name."""
    if name.startswith(path.name):
        return _TURNED.fullmatch(name.removeprefix(path.name)) is not None
    middle = name.removeprefix(path.stem).removesuffix(path.suffix)
    return len(middle) + len(path.name) == len(name) and _TURNED.fullmatch(middle) is not None
