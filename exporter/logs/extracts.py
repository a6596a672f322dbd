"""What a digest needs of a log file, kept next to it while it is written.

``exporter-2026-11-24.extract`` belongs to ``exporter-2026-11-24.jsonl``. It has a record for each
stretch of about a megabyte: how many calm lines are in it (debug and info, none of :data:`EVENTS`),
its other lines, and the checksum of the stretch. A record counts only as long as the file still has
those bytes; everything else is read in full. So an extract that is missing, damaged or of another
file costs time and changes nothing.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from exporter.logs.queue_writer import Line
from exporter.util import atomic

EVENTS = ("run_ended", "run_retry", "slots_missed", "fetch_failed", "fetch_totals",
          "alert_notification", "log_lines_lost")  # fmt: skip
"""Events whose lines a digest reads, besides warnings and errors."""
CALM_LEVELS = ("debug", "info")
STRETCH_BYTES = 1_000_000
"""Of the log file; what has less is read in full."""
MOST_KEPT = 0.5
"""Of a stretch: with more lines that matter, reading all of it costs little more."""
_RULE = zlib.crc32(repr((EVENTS, CALM_LEVELS)).encode())
"""Extracts of a version with other events are of no use."""
_BEFORE, _AFTER = b'{"timestamp":"', b'","level":"'
_STAMP = slice(len(_BEFORE), len(_BEFORE) + 24)
_LEVEL = slice(_STAMP.stop, _STAMP.stop + len(_AFTER))
_CHUNK_BYTES = 1 << 18
GZIP_LEVEL = 4
"""On log lines: nine tenths of what level 9 saves, in a quarter of its time."""


class Stretch(NamedTuple):
    """What is known of `size` bytes of a file, from `offset` on. Stamps are as lines have them."""

    offset: int
    size: int
    checksum: int
    levels: Mapping[str, int]
    """How many calm lines of each level."""
    first: str
    """The earliest stamp of a calm line, and the latest."""
    last: str
    rule: int = _RULE

    def calm(self, first: str, last: str) -> Mapping[str, int] | None:
        """How many calm lines are between two stamps (the last not included); None if some are."""
        if first <= self.first and self.last < last:
            return self.levels
        return {} if self.last < first or last <= self.first else None


def extract_of(log_file: Path) -> Path:
    """Where the extract of a log file is, a compressed one's compressed."""
    stem = log_file.name.removesuffix(".gz").removesuffix(".jsonl")
    end = ".extract.gz" if log_file.suffix == ".gz" else ".extract"
    return log_file.with_name(stem + end)


class ExtractWriter:
    """Writes the extract of the one file that a :class:`~exporter.logs.files.DayFiles` has open."""

    def __init__(self) -> None:
        self._path = Path()
        self._mode = 0o600
        self._begin_at(0)

    def _begin_at(self, offset: int) -> None:
        self._offset = offset
        self._end = offset
        """Where in the log file the lines of the next call should begin."""
        self._checksum = 0
        self._levels: Counter[str] = Counter()
        self._stamps: list[bytes] = []
        self._kept: list[bytes] = []

    def begin(self, log_file: Path, size: int, mode: int) -> None:
        """The file is open now, and has `size` bytes."""
        self._path, self._mode = extract_of(log_file), mode
        if not size:
            self._delete()  # of an earlier file of this name
        self._begin_at(size)

    def add(self, lines: Sequence[Line], content: bytes, offset: int) -> None:
        """These lines, together `content`, were written at `offset` of the file. Never raises."""
        if offset != self._end:  # something else was written, or the file was cut
            if offset < self._end:
                self._delete()
            self._begin_at(offset)
        self._checksum = zlib.crc32(content, self._checksum)
        self._end += len(content)
        for line in lines:
            text = line.content
            calm = line.level in CALM_LEVELS and line.event not in EVENTS
            if calm and text.startswith(_BEFORE) and text[_LEVEL] == _AFTER:
                self._levels[line.level] += 1
                self._stamps.append(text[_STAMP])
            else:
                self._kept.append(text)
        if self._end - self._offset >= STRETCH_BYTES:
            self._write()
            self._begin_at(self._end)

    def _write(self) -> None:
        kept, size = b"".join(self._kept), self._end - self._offset
        if len(kept) > size * MOST_KEPT:
            return
        first, last = (end(self._stamps).decode() for end in (min, max))
        stretch = Stretch(self._offset, size, self._checksum, self._levels, first, last)
        content = _record(stretch, kept)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, self._mode)
            try:
                whole = os.write(descriptor, content) == len(content)
            finally:
                os.close(descriptor)
        except OSError:
            return  # where lines cannot be written, the log file itself reports that
        if not whole:
            self._delete()

    def _delete(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def distil(log_file: Path, first: str, last: str, out: BinaryIO) -> Mapping[str, int] | None:
    """Copy to `out` the lines of a log file that matter and those of which nothing is known;
    returns how many others there are of each level between two stamps (the last not included).

    None if there is no extract that helps; what is in `out` then is of no use."""
    extract = extract_of(log_file)
    try:
        if log_file.suffix == ".gz":
            with gzip.open(extract) as lines:
                stretch = _stretch(lines.readline())
                if stretch is None or not _is_of(log_file, stretch):
                    return None
                shutil.copyfileobj(lines, out)
            return stretch.calm(first, last)
        with extract.open("rb") as records, log_file.open("rb", buffering=0) as file:
            return _distil(file.fileno(), _records(records), first, last, out)
    except (OSError, EOFError, zlib.error):
        return None


def pack(log_file: Path, packed: Path, mode: int) -> None:
    """Make the extract of the archive `packed` from that of the part `log_file`, unless it has
    none that helps. Raises OSError."""
    plain = extract_of(log_file)
    if not plain.exists():
        return
    with plain.open("rb") as records, tempfile.TemporaryFile(dir=packed.parent) as kept:
        stamps = [(stretch.first, stretch.last) for stretch, _ in _records(records)]
        levels = distil(log_file, "", "~", kept)
        if stamps and levels and kept.tell() <= log_file.stat().st_size * MOST_KEPT:
            checksum, size = _checksum(packed)
            first, last = min(stamps)[0], max(last for _, last in stamps)
            kept.seek(0)
            with (
                atomic.replacing(extract_of(packed), mode=mode) as raw,
                gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as lines,
            ):
                lines.write(_head(Stretch(0, size, checksum, levels, first, last)))
                shutil.copyfileobj(kept, lines, _CHUNK_BYTES)
    plain.unlink(missing_ok=True)


def _distil(
    file: int, found: Iterable[tuple[Stretch, bytes]], first: str, last: str, out: BinaryIO
) -> Mapping[str, int]:
    levels: Counter[str] = Counter()
    end, border = 0, b"\n"
    room = bytearray()  # one for all: new memory for each megabyte costs as much as its checksum
    for stretch, kept in found:
        if stretch.offset < end:
            continue
        border = _copy(file, end, stretch.offset, out) or border
        if len(room) < stretch.size:
            room = bytearray(stretch.size)
        view = memoryview(room)
        content = view[: os.preadv(file, [view[: stretch.size]], stretch.offset)]
        calm = stretch.calm(first, last)
        # Bytes of somebody else may end within a line, before the stretch or after it.
        alone = border == bytes(content[-1:]) == b"\n"
        if calm is not None and alone and zlib.crc32(content) == stretch.checksum:
            levels.update(calm)
            out.write(kept)
        else:
            out.write(content)
        end, border = stretch.offset + len(content), bytes(content[-1:]) or border
    _copy(file, end, os.fstat(file).st_size, out)
    return levels


def _copy(file: int, start: int, end: int, out: BinaryIO) -> bytes:
    """Returns the last byte."""
    border = b""
    while start < end and (chunk := os.pread(file, min(end - start, _CHUNK_BYTES), start)):
        out.write(chunk)
        start, border = start + len(chunk), chunk[-1:]
    return border


def _is_of(archive: Path, stretch: Stretch) -> bool:
    return (stretch.checksum, stretch.size) == _checksum(archive)


def _checksum(path: Path) -> tuple[int, int]:
    """And the size."""
    checksum = size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    return checksum, size


def _record(stretch: Stretch, kept: bytes) -> bytes:
    content = b"%d %s%s" % (len(kept), _head(stretch), kept)
    return b"%08x %s" % (zlib.crc32(content), content)


def _head(stretch: Stretch) -> bytes:
    return orjson.dumps(list(stretch), option=orjson.OPT_APPEND_NEWLINE)


def _records(file: BinaryIO) -> Iterator[tuple[Stretch, bytes]]:
    """Each stretch with its lines, up to the first record that is damaged."""
    with suppress(ValueError):
        while line := file.readline():
            checksum, size, head = line.split(b" ", 2)
            kept = file.read(int(size))
            stretch = _stretch(head)
            summed = zlib.crc32(kept, zlib.crc32(line[len(checksum) + 1 :]))
            if summed != int(checksum, 16) or stretch is None:
                return
            yield stretch, kept


def _stretch(head: bytes) -> Stretch | None:
    """None for one of another version."""
    try:
        stretch = Stretch(*orjson.loads(head))
    except (TypeError, ValueError):
        return None
    return stretch if stretch.rule == _RULE else None
