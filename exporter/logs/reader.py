"""Log files read back: which files hold a stretch of time, and their lines one by one.

A line that is broken (the process was killed within it, a disk lost a block) is skipped and
counted; no content of a file raises.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from exporter.logs.files import LogFile, files_of
from exporter.util.local_time import date_of, midnight

CHUNK_BYTES = 1 << 18
FARTHEST_SECONDS = 3650 * 86400.0
"""There are no older log files."""
LONGEST_LINE = 1 << 20
"""Bytes; a longer line is not ours, and would fill the memory."""
NO_RECORD = b"\0"
FIRST_LINES = 100
"""Of so many the earliest is a file's first: threads write theirs nearly in order."""

Record = dict[str, Any]


def stamp(at: float) -> str:
    """Unix seconds as lines write them; such stamps sort like the moments themselves."""
    seconds, thousandths = divmod(round(at * 1e6) // 1000, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{thousandths:03d}Z"


def moment(text: object) -> float:
    """A stamp as Unix seconds; NaN if it is not one."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return float("nan")


def files_between(
    directory: Path, name: str, start: float, end: float, zone: tzinfo
) -> list[LogFile]:
    """Files of the days (in `zone`) that [start, end) touches, oldest first."""
    first = date_of(start, zone)
    last = datetime.fromtimestamp(max(start, end - 0.001), zone).date()
    return [file for file in files_of(directory, name) if first <= file.day <= last]


@dataclass(frozen=True)
class Gone:
    """What the exporter's files no longer have of a period."""

    before: float
    """Unix seconds: lines from here on exist."""
    errors: list[LogFile]
    """Files of the error log that have lines from before."""


def gone(directory: Path, start: float, end: float, zone: tzinfo) -> Gone | None:
    """What was deleted of [start, end), by age or for space; None if there is no sign of it. The
    error log keeps other lines than the exporter's files, which are deleted oldest first."""
    before, parts_went = end, False
    for file in files_of(directory, "exporter"):
        if (first := _first(file)) is not None:
            before, parts_went = min(first, end), file.part > 1 and not file.open
            break
    if before <= start:
        return None
    errors = []
    for file in files_between(directory, "errors", start, before, zone):
        first = _first(file)
        if first < before if first is not None else file.compressed:
            errors.append(file)
    return Gone(before, errors) if errors or parts_went else None


def _first(file: LogFile) -> float | None:
    """When the file's first line was written; None when it has none that can be read."""
    found = (parse(line) for line in islice(raw_lines(file.path), FIRST_LINES))
    times = (moment(record.get("timestamp")) for record in found if record is not None)
    day = midnight(file.day, UTC)
    return min((at for at in times if abs(at - day) < 2 * 86400.0), default=None)


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a plain or gzip file, without line feeds, as far as it can be read. A line over
    the limit yields its beginning, and a damaged archive ends with one more piece, which
    no reader takes for a record."""
    rest, dropping, damaged = b"", False, False
    try:
        for chunk in _chunks(path):
            pieces = (rest + chunk).split(b"\n")
            rest = pieces.pop()
            for piece in pieces:
                if not dropping:
                    yield piece[: LONGEST_LINE + 1]
                dropping = False
            if len(rest) > LONGEST_LINE:
                if not dropping:
                    yield rest[:LONGEST_LINE]
                rest, dropping = b"", True
    except zlib.error:
        damaged = True  # what came before counts
    if rest and not dropping:
        yield rest
    if damaged and (not rest or parse(rest) is not None):
        yield NO_RECORD


def _chunks(path: Path) -> Iterator[bytes]:
    """Raises :class:`zlib.error` where an archive is damaged."""
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and packed.exists():
        path = packed  # compressed since it was listed
    try:
        with path.open("rb") as file:
            if path.suffix != ".gz":
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                return
            unpack, whole = zlib.decompressobj(wbits=31), False
            while chunk := file.read(CHUNK_BYTES):
                while chunk:
                    yield unpack.decompress(chunk, CHUNK_BYTES)
                    chunk, whole = unpack.unconsumed_tail or unpack.unused_data, unpack.eof
                    if whole:  # a gzip file may be several, one after the other
                        unpack = zlib.decompressobj(wbits=31)
            if not whole:
                raise zlib.error("cut, or empty")
    except OSError:
        return  # what came before counts


def parse(line: bytes) -> Record | None:
    """The record that a line holds, or None."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def records(
    files: list[LogFile], start: float, end: float, on_broken: Callable[[], None] = lambda: None
) -> Iterator[Record]:
    """Records of [start, end) in the files' order."""
    first, last = stamp(start), stamp(end)
    for file in files:
        for line in raw_lines(file.path):
            if not line:
                continue
            record = parse(line)
            if record is None or record.get("timestamp") is None:
                on_broken()
            elif first <= str(record["timestamp"]) < last:
                yield record
