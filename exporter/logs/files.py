"""Log files by day: ``exporter-2026-11-24.jsonl`` is being written, closed parts have a number.

A part is closed when it reaches its size or its day ends, and becomes
``exporter-2026-11-24.001.jsonl``, later ``….jsonl.gz``: :mod:`exporter.logs.retention` compresses
and deletes. A day is one of the configured zone. Only the writer's thread touches the open file;
before each batch it checks that the path is still the file that it has open, so that a file or
folder that was moved or deleted is created again.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, tzinfo
from pathlib import Path
from typing import NamedTuple

from exporter.logs.extracts import ExtractWriter, extract_of
from exporter.logs.queue_writer import Line
from exporter.util.atomic import private_folder
from exporter.util.local_time import date_of, day_bounds

WRITE_BYTES = 1_000_000
_NAME = re.compile(
    r"(?P<name>[a-z]+)-(?P<day>\d{4}-\d\d-\d\d)(?:\.(?P<part>\d{3,}))?\.jsonl(?P<gz>\.gz)?"
)


class LogFile(NamedTuple):
    """One file of a day, in the order in which they were written."""

    day: date
    part: int
    """From 1; the open file counts as a million, so that it sorts last."""
    path: Path
    compressed: bool

    @property
    def open(self) -> bool:
        """Whether lines may still be added."""
        return self.part == OPEN_PART


OPEN_PART = 1_000_000


def files_of(directory: Path, name: str) -> list[LogFile]:
    """All files of `name`, oldest first. A part that is there twice, plain and compressed (a crash
    came between), is listed once, compressed."""
    found: dict[tuple[date, int], LogFile] = {}
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None or match["name"] != name:
            continue
        try:
            day = date.fromisoformat(match["day"])
        except ValueError:
            continue
        file = LogFile(day, int(match["part"] or OPEN_PART), path, bool(match["gz"]))
        if file.compressed or (day, file.part) not in found:
            found[day, file.part] = file
    return sorted(found.values())


@dataclass(frozen=True)
class Limits:
    """What a reload may change."""

    directory: Path
    zone: tzinfo
    rotate_at: int
    """Bytes of an uncompressed part."""


class DayFiles:
    """A :class:`exporter.logs.queue_writer.Place` that writes the files of one name."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, self.limits = name, limits
        self.trouble: str | None = None
        self.closed_parts = 0
        """Parts closed since the start: retention compresses them."""
        self._open_with = limits
        self._extract = ExtractWriter()
        self._fd = -1
        self._path = limits.directory
        self._start = self._end = 0.0
        self._size = 0
        self._rest = b""
        """What a short write left of the first line that is not complete."""
        self._recent: list[Line] = []
        """Written to the open file since it was last seen in its place."""
        self._again: list[Line] = []
        """Lost with a file that was deleted: written once more."""

    @property
    def held(self) -> Path | None:
        """The file that is open."""
        return self._path if self._fd >= 0 else None

    def write(self, lines: Sequence[Line]) -> int:
        """See :meth:`exporter.logs.queue_writer.Place.write`."""
        done = 0
        try:
            self._look()
            while self._again:
                del self._again[: self._write_some(self._again, 0)]
            while done < len(lines):
                done += self._write_some(lines, done)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else f" ({self._path})"
            self.trouble = f"{error.strerror or error}{where}"
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self.close()  # this file is of no more use; perhaps one that is opened again
            return done
        self.trouble = None
        return done

    def close(self) -> None:
        """Close the open file; it stays the day's open part for the next start."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._rest, self._recent = b"", []

    def _write_some(self, lines: Sequence[Line], first: int) -> int:
        """Write a stretch of lines of one day, up to the size limit; returns how many."""
        if self._rest and self._fd >= 0:
            return self._write_rest(lines[first])
        at = lines[first].at
        if self._fd < 0 or not self._start <= at < self._end:
            self._open(at)
        if self._size and self._size + len(lines[first].content) > self._open_with.rotate_at:
            self._close_part()
            self._open(at)
        chosen: list[bytes] = []
        room = min(self._open_with.rotate_at - self._size, WRITE_BYTES)
        for place in range(first, len(lines)):
            line = lines[place]
            if not self._start <= line.at < self._end or (chosen and len(line.content) > room):
                break
            chosen.append(line.content)
            room -= len(line.content)
        content, offset = b"".join(chosen), self._size
        written, whole = self._append(content), 0
        if written == len(content):
            self._extract.add(lines[first : first + len(chosen)], content, offset)
        while whole < len(chosen) and len(chosen[whole]) <= written:
            written -= len(chosen[whole])
            whole += 1
        if whole < len(chosen):  # the disk filled up within this line
            self._rest = chosen[whole][written:]
        self._recent += lines[first : first + whole]
        return whole

    def _write_rest(self, line: Line) -> int:
        self._rest = self._rest[self._append(self._rest) :]
        if self._rest:
            return 0
        self._recent.append(line)
        return 1

    def _append(self, content: bytes) -> int:
        written = os.write(self._fd, content)
        if not written:
            raise OSError(errno.ENOSPC, "nothing could be written")
        self._size += written
        return written

    def _look(self) -> None:
        """Is the path still the open file?"""
        if self._open_with != self.limits:
            before, self._open_with = self._open_with, self.limits
            if (before.directory, before.zone) != (self.limits.directory, self.limits.zone):
                self._close_part()
        if self._fd < 0:
            return
        here = os.fstat(self._fd)
        self._size = here.st_size  # it may have been truncated (logrotate's copytruncate)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            if not here.st_nlink:  # deleted, not moved: what was written there last is lost
                self._again += self._recent
            self.close()
            return
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            self.close()
        self._recent = []

    def _open(self, at: float) -> None:
        self._close_part()
        directory = self._open_with.directory
        private_folder(directory)
        day = date_of(at, self._open_with.zone)
        self._start, self._end = day_bounds(day, self._open_with.zone)
        for file in files_of(directory, self.name):
            if file.open and file.day != day:  # the process was down when that day ended
                self._number(file.path, file.day)
        self._path = directory / f"{self.name}-{day}.jsonl"
        flags, mode = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _file_mode(directory)
        self._fd = os.open(self._path, flags, mode)
        there = os.fstat(self._fd)
        if mode & ~there.st_mode:  # the umask of the service is stricter than its folder
            with suppress(PermissionError):  # a file of somebody else's
                os.fchmod(self._fd, stat.S_IMODE(there.st_mode) | mode)
        self._size = there.st_size
        self._extract.begin(self._path, self._size, mode)
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            try:  # the process was killed within a line; the next line starts clean
                self._append(b"\n")
            except OSError:
                self.close()  # or a full disk would glue the next line to it
                raise

    def _close_part(self) -> None:
        if self._fd < 0:
            return
        self.close()
        match = _NAME.fullmatch(self._path.name)
        if match is not None and self._path.exists():
            self._number(self._path, date.fromisoformat(match["day"]))

    def _number(self, path: Path, day: date) -> None:
        taken = [f.part for f in files_of(path.parent, self.name) if f.day == day and not f.open]
        part = path.with_name(f"{self.name}-{day}.{max(taken, default=0) + 1:03d}.jsonl")
        path.rename(part)
        with suppress(FileNotFoundError):
            extract_of(path).rename(extract_of(part))
        self.closed_parts += 1


def _file_mode(directory: Path) -> int:
    """Its owner's alone, unless a group may read the folder: that of a log collector."""
    return 0o600 | (directory.stat().st_mode & 0o040)
