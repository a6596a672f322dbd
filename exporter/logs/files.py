"""Log files by day: ``exporter-2026-11-24.jsonl`` is being written, closed parts have a number.

A part is closed when it reaches its size or its day ends, and becomes
``exporter-2026-11-24.001.jsonl``, later ``….jsonl.gz``: :mod:`exporter.logs.keeping` compresses
and deletes. A day is one of the configured zone. Only the writer's thread touches the open file;
each second it looks whether the path is still the file it has open, so that a file or folder that
somebody moved or deleted is made anew.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import NamedTuple

from exporter.clock import Clock
from exporter.logs.writing import Line

LOOK_SECONDS = 1.0
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


def day_bounds(at: float, zone: tzinfo) -> tuple[date, float, float]:
    """The day of a moment in `zone`, with its first moment and the next day's, Unix seconds."""
    day = datetime.fromtimestamp(at, zone).date()
    return day, midnight(day, zone), midnight(day + timedelta(days=1), zone)


def midnight(day: date, zone: tzinfo) -> float:
    """The first moment of `day` in `zone`, Unix seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


@dataclass(frozen=True)
class Limits:
    """What a reload may change."""

    directory: Path
    zone: tzinfo
    rotate_at: int
    """Bytes of an uncompressed part."""


class DayFiles:
    """A :class:`exporter.logs.writing.Place` that writes the files of one name."""

    def __init__(self, name: str, limits: Limits, clock: Clock) -> None:
        self.name, self.limits, self._clock = name, limits, clock
        self.trouble: str | None = None
        self.closed_parts = 0
        """Parts closed since the start; who compresses them looks here for work."""
        self._open_with = limits
        self._fd = -1
        self._path = limits.directory
        self._start = self._end = 0.0
        self._size = 0
        self._next_look = -1e18
        self._rest = b""
        """What a short write left of the first line that is not done with."""

    def write(self, lines: Sequence[Line]) -> int:
        """See :meth:`exporter.logs.writing.Place.write`."""
        done = 0
        try:
            self._look()
            while done < len(lines):
                done += self._write_some(lines, done)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else f" ({self._path})"
            self.trouble = f"{error.strerror or error}{where}"
            return done
        self.trouble = None
        return done

    def close(self) -> None:
        """Close the open file; it stays the day's open part for the next start."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._rest = b""

    def _write_some(self, lines: Sequence[Line], first: int) -> int:
        """Write a stretch of lines of one day, up to the size limit; returns how many."""
        if self._rest and self._fd >= 0:
            return self._write_rest()
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
        written = self._append(b"".join(chosen))
        for whole, content in enumerate(chosen):
            if written < len(content):  # the disk filled up within this line
                self._rest = content[written:]
                return whole
            written -= len(content)
        return len(chosen)

    def _write_rest(self) -> int:
        self._rest = self._rest[self._append(self._rest) :]
        return 0 if self._rest else 1

    def _append(self, content: bytes) -> int:
        written = os.write(self._fd, content)
        if not written:
            raise OSError(errno.ENOSPC, "nothing could be written")
        self._size += written
        return written

    def _look(self) -> None:
        """Is the path still the open file? At most once a second, and always in trouble."""
        if self._open_with is not self.limits:
            self._close_part()
            self._open_with = self.limits
        if self._fd < 0 or (self._clock.monotonic() < self._next_look and not self.trouble):
            return
        self._next_look = self._clock.monotonic() + LOOK_SECONDS
        here = os.fstat(self._fd)
        self._size = here.st_size  # somebody may have cut it (logrotate's copytruncate)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self.close()
            return
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            self.close()

    def _open(self, at: float) -> None:
        self._close_part()
        directory = self._open_with.directory
        directory.mkdir(parents=True, exist_ok=True)
        day, self._start, self._end = day_bounds(at, self._open_with.zone)
        for file in files_of(directory, self.name):
            if file.open and file.day != day:  # the process was down when that day ended
                self._number(file.path, file.day)
        self._path = directory / f"{self.name}-{day}.jsonl"
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # the process was killed within a line; the next one starts clean

    def _close_part(self) -> None:
        if self._fd < 0:
            return
        self.close()
        match = _NAME.fullmatch(self._path.name)
        if match is not None and self._path.exists():
            self._number(self._path, date.fromisoformat(match["day"]))

    def _number(self, path: Path, day: date) -> None:
        taken = [f.part for f in files_of(path.parent, self.name) if f.day == day and not f.open]
        path.rename(path.with_name(f"{self.name}-{day}.{max(taken, default=0) + 1:03d}.jsonl"))
        self.closed_parts += 1


def total_size(files: Iterable[LogFile]) -> int:
    """Bytes of all of them together; one that vanished counts nothing."""
    total = 0
    for file in files:
        try:
            total += file.path.stat().st_size
        except OSError:
            continue
    return total
