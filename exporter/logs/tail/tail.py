"""The lines that are added to a file, whatever writes, rotates or truncates it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from exporter.logs.tail import rotation
from exporter.logs.tail.line_splitter import Splitter
from exporter.logs.tail.position import FIRST_BYTES, NOWHERE, TailPosition, bytes_before
from exporter.logs.tail.seen_files import KNOWN_FILES, Visited, begins, fits, read_before
from exporter.logs.tail.utf16 import WideSplitter, after_last_line, utf16_of

CHUNK_BYTES = 1 << 18
"""Small enough that looking through one holds the other threads for a few milliseconds only."""
MOST_TRIES = 100
"""To find a rotated file under the name that it has at the moment."""
GONE_LOOKS = 60
"""Looks at a file that was deleted, with nothing in its place and nothing new in it, until it is
closed: until then it occupies the disk."""
NOT_THERE = "no such file"
DELETED = "it was deleted, and there is no new file"


def _splitter(beginning: bytes, offset: int, before: bytes) -> Splitter:
    encoding = utf16_of(beginning)
    return WideSplitter(encoding, offset, before) if encoding else Splitter(before)


class Tail:
    """Follows one path. A file that was renamed away is read to its end before those that came
    after it; one that was truncated is read from its start, and the rest of what it was from the
    copy that was made of it. Works in steps, so that a burst does not hold up anything else.

    `wanted`: the path as it was asked for, where it has wildcards.
    """

    def __init__(
        self,
        path: Callable[[], Path | None],
        position: TailPosition | None = None,
        wanted: Path | None = None,
    ) -> None:
        self._path, self._wanted = path, wanted
        self._resume = position
        self._left: TailPosition | None = None
        """The position in a file that is done, until another one is open."""
        self._copied: TailPosition | None = None
        """What was read of a file that is gone or was cut: a copy is read from there."""
        self._fd, self._id = -1, (0, 0)
        self._offset = self._written_ns = self._gone_looks = 0
        self._beginning = b""
        self._lines = Splitter()
        self._visited = Visited(position.done if position else ())
        self._next: list[Path] = []
        """To be read before the path."""
        self._floor_ns = position.written_ns if position else 0
        """What was written last before this was read, or is not ours."""
        self.lag_bytes = 0
        """Bytes in the file that have not been read yet."""
        self.problem: str | None = None
        """Why the file cannot be read, or None."""

    @property
    def position(self) -> TailPosition | None:
        """Where to go on after a restart; None while nothing was ever read."""
        if self._fd < 0:
            return self._resume or self._left
        return TailPosition(
            *self._id,
            self._offset - len(self._lines.rest),
            self._beginning.hex(),
            self._lines.seen_whole.hex(),
            self._written_ns,
            self._visited.entries,
        )

    def skip_to_end(self) -> None:
        """Leave out what is there already, but for a line that is not yet whole."""
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return
        try:
            size = os.fstat(self._fd).st_size
            start = max(0, size - CHUNK_BYTES)
            back = os.pread(self._fd, size - start, start)
            encoding = utf16_of(self._beginning)
            end = after_last_line(back, start, encoding) if encoding else back.rfind(b"\n") + 1
            self._go_on_at(start + end)
        except OSError as error:
            self._set_problem(error)
            return
        with contextlib.suppress(OSError):
            if (path := self._path()) is not None:
                for other in self._others(path):
                    self._visited.leave_out(other)

    def read_what_comes(self) -> None:
        """There is no file yet: the one that comes is read from its start, after a restart too, and
        also when it is rotated before the next look. What was rotated earlier is left out."""
        self._floor_ns = 1
        with contextlib.suppress(OSError):
            path = self._path() or self._wanted
            for other in rotation.relatives(self._wanted or path, path) if path else ():
                self._visited.leave_out(other)
                self._floor_ns = other.stat().st_mtime_ns  # the newest comes last
        self._resume = replace(NOWHERE, written_ns=self._floor_ns, done=self._visited.entries)

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
                chunk = self._chunk()
            except OSError as error:
                self._set_problem(error)
                return
            if self._fd < 0:
                continue
            if not chunk:
                self.lag_bytes = 0
                if not self._moved_away():
                    self._see_whether_it_is_gone()
                    return
                if not last_look:  # something may have come between the read and the look
                    last_look = True
                    continue
                if line := self._lines.end():
                    yield line
                self._finish()
                last_look = False
                continue
            last_look = False
            read += len(chunk)
            if block := self._lines.whole(chunk):
                yield block

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._from_start()

    def _set_problem(self, error: OSError) -> None:
        """The disk or the network failed; go on here when it works again."""
        self.problem, self._resume = error.strerror, self.position
        self.close()

    def _chunk(self) -> bytes:
        """What comes next in the file; nothing and no file open when another is to be read first.
        Raises :class:`OSError`."""
        status = os.fstat(self._fd)
        cut = status.st_size < self._offset or not self._same_file()
        # At the start of a file nothing can be missing from it; it may have come and gone.
        if cut or (not self._offset and status.st_mtime_ns != self._written_ns):
            self._was_cut()
            if self._fd < 0:
                return b""
        self._written_ns = status.st_mtime_ns
        chunk = os.pread(self._fd, CHUNK_BYTES, self._offset)
        self._offset += len(chunk)
        self.lag_bytes = max(0, status.st_size - self._offset)
        return chunk

    def _open(self) -> bool:
        try:
            path = self._path()
        except OSError as error:
            self.problem = error.strerror
            return False
        if path is None:
            self.problem = NOT_THERE
            return False
        if self._resume is not None:
            self._next = self._written_since_then(path, self._resume)
        for _ in range(MOST_TRIES):
            if not self._next:
                break
            if self._enter(self._next[0], by_its_name=False):
                return True
            # Its name is another file's by now, or it is gone: rotation goes on meanwhile.
            self._next = self._unread(path)
        self._next = []
        return self._enter(path, by_its_name=True)

    def _enter(self, path: Path, *, by_its_name: bool) -> bool:
        try:
            self._fd = rotation.opened(path)
            status = os.fstat(self._fd)
            self._id = status.st_dev, status.st_ino
            self._written_ns = status.st_mtime_ns
            offset = self._known_offset(status, by_its_name=by_its_name)
            self._beginning = os.pread(self._fd, FIRST_BYTES, 0)
            self._go_on_at(offset)
            if not by_its_name and not status.st_size > offset:
                self._visited.remember(self._id[1], offset, self._lines.seen)
                self.close()  # nothing is left of it
                return False
        except OSError as error:
            self.problem = error.strerror
            self.close()
            return False
        self._resume = self.problem = None
        self._gone_looks = 0
        if by_its_name:
            self._copied = None
        self._floor_ns = self._floor_ns or self._written_ns
        return True

    def _known_offset(self, status: os.stat_result, *, by_its_name: bool) -> int:
        """How far the file that was opened has been read already."""
        resume, copied = self._resume, self._copied
        if resume is not None and resume.is_of(status) and resume.fits(self._fd):
            self._written_ns = resume.written_ns or self._written_ns
            return resume.offset
        offset = self._visited.read_up_to(self._fd) or 0
        if not by_its_name and copied is not None and copied.fits(self._fd):
            offset = max(offset, copied.offset)
        if by_its_name and not offset and (before := resume or self._left) is not None:
            # Another file with the same lines: replaced by rsync, or by a program that shortens it.
            offset = read_before(self._fd, before)
        return offset

    def _written_since_then(self, path: Path, resume: TailPosition) -> list[Path]:
        """What is to be read before the path, at the start."""
        try:
            here = resume.is_of(path.stat())
        except OSError:
            here = False
        if fits(resume, path) and (here or resume.offset):
            return []
        if not here and resume.offset:
            for file in rotation.with_inode(path, resume.device, resume.inode):
                if fits(resume, file):
                    return [file]  # what came after it follows when it is done
        self._copied = resume
        return self._unread(path) if resume.written_ns else []

    def _unread(self, path: Path) -> list[Path]:
        """What rotation put between the file that was read before and the path. What was there for
        longer was read then: a folder that is being turned does not show all of it at once."""
        files = rotation.relatives(self._wanted or path, path)
        return [file for file in files if self._visited.has_more(file, self._floor_ns)]

    def _others(self, path: Path) -> list[Path]:
        """The newest of the other files that the path, with wildcards, means."""
        return [] if self._wanted is None else rotation.others(self._wanted, path)[-KNOWN_FILES:]

    def _finish(self) -> None:
        """This file is done; what rotation put between it and the path comes next."""
        self._visited.remember(self._id[1], self._offset, self._lines.seen)
        self._left = self.position
        with contextlib.suppress(OSError):
            if (path := self._path()) is not None:
                self._next = self._unread(path)
        self._floor_ns = self._written_ns
        self.close()

    def _was_cut(self) -> None:
        """Read it from its start; before that, what copies have of lines that nobody saw here."""
        known, path = self.position, self._path()
        self._from_start()
        if known is None or path is None:
            return
        now = os.pread(self._fd, FIRST_BYTES, 0)
        self._beginning, self._lines = now, _splitter(now, 0, b"")
        if offset := read_before(self._fd, known):
            self._go_on_at(offset)  # only its oldest lines went, or some between
            return
        copies = self._unread(path)
        if known.offset:
            copies = [file for file in copies if fits(known, file)][-1:]
        elif self._is_named(path):
            # One that begins as the file does is being made, and the file is not yet cut.
            copies = [file for file in copies if not begins(file, now)]
        else:
            return  # it was renamed; what came after it follows when it is done
        if copies:
            self.close()
            self._copied = self._left = known
            self._next = copies

    def _is_named(self, path: Path) -> bool:
        """Whether the path leads to this file."""
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._id

    def _from_start(self) -> None:
        self._offset, self._beginning, self._lines = 0, b"", Splitter()

    def _go_on_at(self, offset: int) -> None:
        """Raises :class:`OSError`."""
        self._offset = offset
        self._lines = _splitter(self._beginning, offset, bytes_before(self._fd, offset))

    def _same_file(self) -> bool:
        """Whether the file still starts as it did, and what was read last is still there: in a cut
        file that grew back fast it is not."""
        now = os.pread(self._fd, FIRST_BYTES, 0)
        same = now.startswith(self._beginning)
        if same and bytes_before(self._fd, self._offset).endswith(self._lines.seen):
            if utf16_of(now) != utf16_of(self._beginning) and not self._lines.seen_whole:
                # The file was empty, or too short to tell.
                rest = self._lines.rest
                self._lines = _splitter(now, self._offset - len(rest), b"")
                self._lines.whole(rest)
            self._beginning = now
            return True
        return False

    def _moved_away(self) -> bool:
        """Whether there is something to be read elsewhere."""
        try:
            path = self._path()
            if path is None:
                return False
            if path.exists() and not self._is_named(path):
                return True
            # Gone, and nothing new yet: its writer may still be writing, or have started another
            # file that is gone as well.
            others = self._others(path) if path.exists() else self._unread(path)
        except OSError:
            return False
        return any(
            self._visited.has_more(file, self._written_ns)
            for file in others
            if not self._is_named(file)
        )

    def _see_whether_it_is_gone(self) -> None:
        try:
            gone = os.fstat(self._fd).st_nlink == 0
        except OSError:
            return
        self._gone_looks = self._gone_looks + 1 if gone else 0
        if gone:
            self.problem = DELETED
        if self._gone_looks > GONE_LOOKS:
            self._finish()
