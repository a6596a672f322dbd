"""Equity files, read as they grow.

CSV with a header, or without one (``timestamp,equity`` and perhaps ``flow``, in this order), or
JSON lines with the same keys; :mod:`.table_layout` knows other delimiters, names and decimal signs.
Timestamps are ISO 8601 (without an offset: in the configured zone), or Unix seconds, milli-, micro-
or nanoseconds.

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
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.config import Strategy
from exporter.strategies.equity_point import EquityPoint, parse_point, parse_timestamp
from exporter.strategies.table_layout import (
    COLUMNS,
    DELIMITERS,
    Layout,
    assume_columns,
    check_account,
    column_of,
    find_header,
    missing_columns,
    split,
    used_cells,
)

_NOT_A_ROW = (
    KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error,
)  # fmt: skip
_FORMATS = {
    b"\xff\xfe": "UTF-16; write it as UTF-8",
    b"\xfe\xff": "UTF-16; write it as UTF-8",
    b"PK\x03\x04": "a zip file or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; export it as CSV",
    b"\x1f\x8b": "compressed; write it as plain text",
    b"BZh": "compressed; write it as plain text",
    b"\xfd7zXZ": "compressed; write it as plain text",
    b"\x28\xb5\x2f\xfd": "compressed; write it as plain text",
    b"SQLite format 3": "a database; export the table as CSV",
    b"PAR1": "a Parquet file; export it as CSV",
    b"%PDF": "a PDF; export it as CSV",
    b"<!": "HTML; export it as CSV",
    b"<html": "HTML; export it as CSV",
    b"<table": "HTML; export it as CSV",
    b"<?xml": "XML; export it as CSV",
    b"[": "a JSON array; write one JSON object per line",
}
"""By its first bytes, what a file is that this cannot read."""
_FINGERPRINT = 256
_CHUNK = 4 * 1024 * 1024
_FIRST_LINES = 50


@dataclass
class EquityFilePosition:
    """How far a file was read, and how it is laid out; kept in state."""

    inode: int = 0
    offset: int = 0
    tail: str = ""
    line: int = 0
    last: float = -1.0
    """The time of the last row, Unix seconds; -1 before the first."""
    layout: Layout = field(default_factory=Layout)
    settings: str = ""
    """What the config says of the layout; another one reads the file again."""

    def start_over(self, inode: int) -> None:
        """Read from the start: the file is another one."""
        self.inode, self.offset, self.tail, self.line, self.last = inode, 0, "", 0, -1.0
        self.layout = Layout()

    def to_json(self) -> dict[str, Any]:
        """For the state file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EquityFilePosition:
        """The reverse of :meth:`to_json`, and of what older versions wrote."""
        known = {
            k: data[k] for k in ("inode", "offset", "tail", "line", "last", "settings") if k in data
        }
        layout = Layout(**(data.get("layout") or {}))
        if old := data.get("header"):
            layout.header = layout.columns = [name if name in COLUMNS else "" for name in old]
        return cls(**known, layout=layout)


@dataclass(frozen=True)
class Restart:
    """What follows was read from the start of a file. `rotated`: the one before lies next to it."""

    rotated: bool = False


@dataclass(frozen=True)
class BadLine:
    """A line that could not be used."""

    line: int
    text: str
    problem: str
    above_header: bool = False
    """No header came before it: a title, which is fine once a header follows."""
    dated: bool = False
    """It has a time and something for equity, so that it is a row and no footer."""


Found = EquityPoint | BadLine | Restart


def read_new(
    path: Path, position: EquityFilePosition, strategy: Strategy, zone: ZoneInfo
) -> Iterator[Found]:
    """Points that were not read before; moves `position` as it goes.

    A chunk at a time, so that a first look at a large file stays small. Raises :class:`OSError`
    when the file cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")  # a pipe would block forever
    with path.open("rb") as file:
        _check_format(file)
        settings, rotated = _settings(strategy), False
        if found.st_ino != position.inode or not _continues(file, position):
            rotated = yield from _rotated(path, position, strategy, zone)
            position.start_over(found.st_ino)
        elif settings != position.settings:
            position.start_over(found.st_ino)
        position.settings = settings
        if not position.offset:
            yield Restart(rotated)
        yield from _rest(file, position, strategy, zone)


def first_problem(path: Path, strategy: Strategy, zone: ZoneInfo) -> str | None:
    """Why the file gives no equity, as far as its first lines tell; None when they do."""
    bad: BadLine | None = None
    position = EquityFilePosition()
    try:
        for found in read_new(path, position, strategy, zone):
            if isinstance(found, EquityPoint):
                return None
            if isinstance(found, BadLine):
                bad = bad or found
                if found.line >= _FIRST_LINES:
                    break
        if not position.offset and path.stat().st_size:
            return no_line_ends(path)
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    if bad is None:
        return f"{path} has no row yet"
    return f"line {bad.line} of {path}: {bad.problem}"


def no_line_ends(path: Path) -> str:
    """What is wrong with a file in which nothing is a finished line."""
    return f"no line of {path} ends with a newline, so nothing is read: end each line with \\n"


def _settings(strategy: Strategy) -> str:
    columns = [f"{name}={strategy.columns[name]}" for name in sorted(strategy.columns)]
    return ";".join([*columns, strategy.decimal or ""]) if columns or strategy.decimal else ""


def _check_format(file: Any) -> None:
    file.seek(0)
    start = file.read(64)
    text = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for first, what in _FORMATS.items():
        if start.startswith(first) or text.startswith(first):
            raise OSError(errno.EILSEQ, f"it is {what}")
    if len(start) > 8 and start[1::2].count(0) > 4 and not start[::2].count(0):
        raise OSError(errno.EILSEQ, "it is UTF-16; write it as UTF-8")


def _rotated(
    path: Path, position: EquityFilePosition, strategy: Strategy, zone: ZoneInfo
) -> Generator[Found, None, bool]:
    """The unread rest of the previous file, if it now lies next to its successor; whether it
    does."""
    for sibling in path.parent.glob(f"{glob.escape(path.name)}?*") if position.offset else ():
        try:
            same = sibling.is_file() and sibling.stat().st_ino == position.inode
            with sibling.open("rb") as file:
                if same and _continues(file, position):
                    yield from _rest(file, position, strategy, zone)
                    return True
        except OSError:
            continue  # compressed or deleted meanwhile
    return False


def _rest(
    file: Any, position: EquityFilePosition, strategy: Strategy, zone: ZoneInfo
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
            if raw.strip(b" \t\r\f\v\0"):
                text = raw.decode("utf-8", "replace").strip("\r\ufeff \0")
                found = _parse(text, position, strategy, zone)
                if isinstance(found, EquityPoint):
                    position.last = found.at
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


def _parse(
    text: str, position: EquityFilePosition, strategy: Strategy, zone: ZoneInfo
) -> EquityPoint | BadLine | None:
    layout = position.layout
    try:
        if text.startswith("{"):
            pairs = json.loads(text, object_pairs_hook=list)
            row = _once(pairs, strategy)
            check_account(dict(pairs), layout)
            return parse_point(row, zone, after=position.last, currency=strategy.currency)
        if not layout.columns:
            return _first_line(text, position, strategy, zone)
        cells = split(text, layout.delimiter)
        if [cell.lower() for cell in cells] == layout.header:
            return None  # programs write the header again when they restart
        while len(cells) > len(layout.columns) and not cells[-1]:
            cells.pop()  # a comma at the end of each row, but not of the header
        if len(cells) != len(layout.columns):
            raise ValueError(f"{len(cells)} cells where the header has {len(layout.columns)}")
        check_account(dict(zip(layout.header, cells, strict=True)), layout)
        row = used_cells(cells, layout)
        return parse_point(row, zone, after=position.last, currency=strategy.currency)
    except KeyError as error:
        problem = f"{error.args[0]} is missing"
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as e:
        problem = str(e)
    if layout.columns and _has_new_header(text, layout, strategy):
        return None
    layout.titled = layout.titled or not layout.columns
    return BadLine(
        position.line, text[:200], problem, dated=_is_dated(text, layout, strategy, zone)
    )


def _once(pairs: list[tuple[str, Any]], strategy: Strategy) -> dict[str, Any]:
    """What a line of JSON says. Raises :class:`ValueError` for what it says twice."""
    row: dict[str, Any] = {}
    for key, value in pairs:
        name = column_of(key, strategy.columns) or key
        if name in row:
            raise ValueError(
                f"{name} is there twice, {row[name]!r} and {value!r}: name the key that counts "
                "under `columns`"
            )
        row[name] = value
    return row


def _has_new_header(text: str, layout: Layout, strategy: Strategy) -> bool:
    """Whether a program that was changed has written a header with other columns, which is then the
    layout of what follows."""
    new = Layout(decimal=layout.decimal)
    with suppress(ValueError, csv.Error):
        if find_header(text, new, strategy.columns):
            layout.header, layout.columns = new.header, new.columns
            layout.delimiter = new.delimiter
            return True
    return False


def _is_dated(text: str, layout: Layout, strategy: Strategy, zone: ZoneInfo) -> bool:
    try:
        if text.startswith("{"):
            row = {column_of(k, strategy.columns): v for k, v in json.loads(text).items()}
        else:
            row = dict(zip(layout.columns, split(text, layout.delimiter), strict=False))
        parse_timestamp(row["timestamp"], zone)
        return str(row["equity"]).strip() != ""
    except _NOT_A_ROW:
        return False


def _first_line(
    text: str, position: EquityFilePosition, strategy: Strategy, zone: ZoneInfo
) -> EquityPoint | BadLine | None:
    """A header, the first row of a file without one, or what may stand above a header."""
    layout = position.layout
    layout.decimal = strategy.decimal or ""
    comment = text.startswith("#") or text.lower().startswith("sep=")
    if comment or find_header(text, layout, strategy.columns):
        return None
    for delimiter in reversed(DELIMITERS):  # a comma may be the decimal sign
        if layout.titled or not 2 <= len(split(text, delimiter)) <= len(COLUMNS):
            continue
        layout.decimal = strategy.decimal or ""
        assume_columns(text, layout, delimiter)
        try:
            return parse_point(used_cells(split(text, delimiter), layout), zone)
        except (ValueError, KeyError, TypeError, OverflowError):
            layout.clear()
    layout.clear()
    layout.titled = True
    problem = missing_columns(text, strategy.columns)
    return BadLine(position.line, text[:200], problem, above_header=True)
