"""Equity files, read as they grow.

CSV with a header (``timestamp,equity`` and optionally ``flow``; without one, in this order), or
JSON lines with the same keys. Timestamps are ISO 8601 (without an offset: in the configured zone),
or Unix seconds, milli-, micro- or nanoseconds.

Only finished lines are read: a CSV line ends with a newline, since `1000` may be the first half of
`100012.5`. A file that was replaced, truncated or rewritten is read from its start again; the curve
adds only points that are newer than what it has, so nothing counts twice. Of a file that was
rotated, what was not read yet is read first, where it still lies in the same folder.
"""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.strategies.equity_point import EquityPoint, parse_point

_FINGERPRINT = 256
_CHUNK = 4 * 1024 * 1024
_COLUMNS = ("timestamp", "equity", "flow")


@dataclass
class EquityFilePosition:
    """How far a file was read; kept in state."""

    inode: int = 0
    offset: int = 0
    tail: str = ""
    header: list[str] = field(default_factory=list)
    line: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the state file."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EquityFilePosition:
        """The reverse of :meth:`to_json`."""
        return cls(**{k: data[k] for k in cls.__dataclass_fields__ if k in data})


@dataclass(frozen=True)
class BadLine:
    """A line that could not be used."""

    line: int
    text: str
    problem: str


def read_new(
    path: Path, position: EquityFilePosition, zone: ZoneInfo
) -> Iterator[EquityPoint | BadLine]:
    """Points that were not read before; moves `position` as it goes.

    A chunk at a time, so that a first look at a large file stays small. Raises :class:`OSError`
    when the file cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")  # a pipe would hold us for ever
    with path.open("rb") as file:
        if found.st_ino != position.inode or not _continues(file, position):
            yield from _rotated(path, position, zone)
            position.inode, position.offset, position.tail = found.st_ino, 0, ""
            position.header, position.line = [], 0
        yield from _rest(file, position, zone)


def _rotated(
    path: Path, position: EquityFilePosition, zone: ZoneInfo
) -> Iterator[EquityPoint | BadLine]:
    """The unread rest of the previous file, if it now lies next to its successor."""
    for sibling in path.parent.glob(f"{glob.escape(path.name)}?*") if position.offset else ():
        try:
            same = sibling.is_file() and sibling.stat().st_ino == position.inode
            with sibling.open("rb") as file:
                if same and _continues(file, position):
                    yield from _rest(file, position, zone)
                    return
        except OSError:
            continue  # compressed or deleted meanwhile


def _rest(
    file: Any, position: EquityFilePosition, zone: ZoneInfo
) -> Iterator[EquityPoint | BadLine]:
    while True:
        file.seek(position.offset)
        data = file.read(_CHUNK)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == _CHUNK:
            end = len(data)  # 4 MB are not a line: it is cut here, and its parts are reported
        if end == 0:
            return
        for raw in data[:end].split(b"\n")[:-1]:
            position.line += 1
            if raw.strip():
                text = raw.decode("utf-8", "replace").strip("\r\ufeff ")
                found = _parse(text, position, zone)
                if found is not None:
                    yield found
        position.offset += end
        position.tail = _fingerprint(data[:end])


def _fingerprint(data: bytes) -> str:
    last = data[-_FINGERPRINT:]
    return f"{len(last)}:{hashlib.sha256(last).hexdigest()[:16]}"


def _continues(file: Any, position: EquityFilePosition) -> bool:
    """Whether what was read is still there, in front of the offset."""
    if not position.offset:
        return True
    size = int(position.tail.partition(":")[0] or 0)
    file.seek(max(position.offset - size, 0))
    data = file.read(size)
    return len(data) == size and _fingerprint(data) == position.tail


def _parse(text: str, position: EquityFilePosition, zone: ZoneInfo) -> EquityPoint | BadLine | None:
    try:
        if text.startswith("{"):
            return parse_point(json.loads(text), zone)
        cells = [cell.strip() for cell in next(csv.reader([text]))]
        if not position.header:
            position.header = _header(cells, zone)
            _check_header(position.header)
        if [cell.lower() for cell in cells] == position.header:
            return None  # programs write the header again when they restart
        if len(cells) != len(position.header):
            raise ValueError(f"{len(cells)} cells where the header has {len(position.header)}")
        return parse_point(dict(zip(position.header, cells, strict=True)), zone)
    except KeyError as error:
        problem = f"{error.args[0]} is missing"
    except (ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        problem = str(error)
    return BadLine(position.line, text[:200], problem)


def _header(cells: list[str], zone: ZoneInfo) -> list[str]:
    """The columns that a file's first line names, or has without naming them."""
    try:
        parse_point(dict(zip(_COLUMNS, cells, strict=False)), zone)
    except (ValueError, KeyError):
        pass
    else:
        return list(_COLUMNS[: len(cells)])
    return [cell.lower() for cell in cells]


def _check_header(header: list[str]) -> None:
    missing = {"timestamp", "equity"} - set(header)
    if missing:
        raise ValueError(
            f"the header has no {' and no '.join(sorted(missing))}; write timestamp,equity[,flow]"
        )
