"""Equity files, read as they grow.

CSV with a header (``timestamp,equity`` and optionally ``flow``), or JSON lines with the same keys.
Timestamps are ISO 8601 (without an offset: in the configured zone) or Unix seconds or milliseconds.

Only finished lines are read: a CSV line ends with a newline, since `1000` may be the first half of
`100012.5`. A file that was replaced, truncated or rewritten is read from its start again; the curve
takes only points that are newer than what it has, so nothing counts twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.strategies.equity import EquityPoint

_FINGERPRINT = 256
_CHUNK = 4 * 1024 * 1024


@dataclass
class Position:
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
    def from_json(cls, data: dict[str, Any]) -> Position:
        """The reverse of :meth:`to_json`."""
        return cls(**{k: data[k] for k in cls.__dataclass_fields__ if k in data})


@dataclass(frozen=True)
class BadLine:
    """A line that could not be used."""

    line: int
    text: str
    problem: str


def read_new(path: Path, position: Position, zone: ZoneInfo) -> Iterator[EquityPoint | BadLine]:
    """Points that were not read before; moves `position` as it goes.

    A chunk at a time, so that a first look at a large file stays small. Raises :class:`OSError`
    when the file cannot be read.
    """
    with path.open("rb") as file:
        inode = _inode(path)
        if inode != position.inode or not _continues(file, position):
            position.inode, position.offset, position.tail = inode, 0, ""
            position.header, position.line = [], 0
        while True:
            file.seek(position.offset)
            data = file.read(_CHUNK)
            end = data.rfind(b"\n") + 1
            if end == 0 and len(data) == _CHUNK:
                end = len(data)  # a line of 4 MB is no line; the parser will say so
            if end == 0:
                return
            for raw in data[:end].split(b"\n")[:-1]:
                position.line += 1
                if raw.strip():
                    found = _parse(
                        raw.decode("utf-8", "replace").strip("\r\ufeff "), position, zone
                    )
                    if found is not None:
                        yield found
            position.offset += end
            position.tail = _fingerprint(data[:end])


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _fingerprint(data: bytes) -> str:
    last = data[-_FINGERPRINT:]
    return f"{len(last)}:{hashlib.sha256(last).hexdigest()[:16]}"


def _continues(file: Any, position: Position) -> bool:
    """Whether what was read is still there, in front of the offset."""
    if not position.offset:
        return True
    size = int(position.tail.partition(":")[0] or 0)
    file.seek(max(position.offset - size, 0))
    data = file.read(size)
    return len(data) == size and _fingerprint(data) == position.tail


def _parse(text: str, position: Position, zone: ZoneInfo) -> EquityPoint | BadLine | None:
    try:
        if text.startswith("{"):
            row = json.loads(text)
        else:
            cells = [cell.strip() for cell in next(csv.reader([text]))]
            if not position.header:
                position.header = [cell.lower() for cell in cells]
                missing = {"timestamp", "equity"} - set(position.header)
                if missing:
                    raise ValueError(
                        f"the header lacks {', '.join(sorted(missing))}; "
                        "write timestamp,equity[,flow]"
                    )
                return None
            if len(cells) != len(position.header):
                raise ValueError(f"{len(cells)} cells where the header has {len(position.header)}")
            row = dict(zip(position.header, cells, strict=True))
        return point(row, zone)
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        problem = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        return BadLine(position.line, text[:200], problem)


def point(row: dict[str, Any], zone: ZoneInfo, default_at: float | None = None) -> EquityPoint:
    """A row of a file, or the body of a request, as a point.

    Raises :class:`ValueError` (or KeyError for a missing field) saying what is wrong.
    """
    if "timestamp" not in row and default_at is not None:
        at = default_at
    else:
        at = timestamp(row["timestamp"], zone)
    flow = row.get("flow")
    return EquityPoint(at, _number(row["equity"], "equity"), _number(flow or 0, "flow"))


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, not {value!r}") from error


def timestamp(value: Any, zone: ZoneInfo) -> float:
    """ISO 8601, Unix seconds or milliseconds to Unix seconds; :class:`ValueError` otherwise."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"timestamp must be a time, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise ValueError(
                f"timestamp {value!r} is no time; write 2026-11-24T16:00:00-05:00 or Unix seconds"
            ) from error
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    number = number / 1000 if number > 1e11 else number
    if not 0 < number < 1e11:
        raise ValueError(f"timestamp {value!r} is out of range")
    return number
