"""DuckDB over the JSON files. Never imported in the daemon: the library alone is 40 MB.

One pass reads every line once: it counts by level, and sets aside the lines that matter
(warnings, errors, and the events that digests use); queries name the fields that they want
(:func:`lines`). Of a file that has an extract (:mod:`exporter.logs.extracts`) only those lines are
read that are not counted there. Files that DuckDB refuses are cleaned line by line first, so that
no content of a file can stop a digest.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from exporter.logs.digest.read_share import ReadShare
from exporter.logs.extracts import EVENTS, distil
from exporter.logs.files import LogFile
from exporter.logs.reader import LONGEST_LINE, parse, raw_lines, stamp

MEMORY_LIMIT = "180MB"
ONE_THREAD_BYTES = 50_000_000
"""Less than this takes a moment, of which a second thread costs more than it saves."""
LEFT_SECONDS = 6 * 3600.0
_PREFIX = "quant-digest-"
_LEVELS = ("debug", "info", "warning", "error", "critical")
_WARNING = _LEVELS.index("warning")
ERRORS = f"within AND level >= {_LEVELS.index('error')}"
"""Of :func:`lines`: those of level error and above."""

_MACROS = r"""
CREATE MACRO wording(t) AS
  regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(t, 500),
    '''[^'']*''|"[^"]*"', '“”', 'g'),
    '\b[A-Z0-9]{1,12}(\.[A-Z])?\.(US|HK|SH|SZ|CN|L)\b|\b[A-Z0-9]{2,10}USDT?\b', 'SYMBOL', 'g'),
    '\b(0x[0-9a-f]+|[0-9a-f]{8,}(-[0-9a-f]+)*)\b', '#', 'g'),
    '[0-9]+([.,:][0-9]+)*([eE][+-]?[0-9]+)?', '#', 'g');
CREATE MACRO seconds_of(t) AS
  CASE WHEN try_cast(t AS DOUBLE) BETWEEN 0 AND 1e9 THEN try_cast(t AS DOUBLE) END;
CREATE MACRO number_of(t) AS
  CASE WHEN try_cast(t AS BIGINT) BETWEEN 0 AND 1000000000000 THEN try_cast(t AS BIGINT) END;
CREATE MACRO first_line(t) AS split_part(coalesce(t, ''), chr(10), 1);
CREATE MACRO fingerprint(level, logger, kind, t) AS
  left(md5(concat_ws('|', level, logger, coalesce(kind, ''), wording(first_line(t)))), 10);
"""


@dataclass(frozen=True)
class Scan:
    """What one pass over files found, besides the lines that matter (:func:`lines`)."""

    levels: Mapping[str, int]
    """How many records of each level."""
    broken: int


@contextmanager
def connect(near: Path, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own, which spills to disk rather than exceed its memory limit: into the
    folder `near`, if it exists, because /tmp is often small or in memory itself."""
    with _folder(near) as folder:
        connection = duckdb.connect(str(Path(folder) / "digest.db"))
        try:
            for setting in (
                f"threads = {min(threads, os.cpu_count() or 1)}",
                f"memory_limit = '{MEMORY_LIMIT}'",
                f"temp_directory = '{folder}'",
                "preserve_insertion_order = false",
                "autoinstall_known_extensions = false",
                "autoload_known_extensions = false",
                "enable_progress_bar = true",  # or its progress cannot be asked for
                "enable_progress_bar_print = false",
                "progress_bar_time = 0",
            ):
                connection.execute(f"SET {setting}")
            connection.execute(_MACROS)
            yield connection
        finally:
            connection.close()


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """What `query` finds."""
    return connection.execute(query).fetchall()


@contextmanager
def _folder(near: Path) -> Iterator[str]:
    place = near if near.is_dir() and os.access(near, os.W_OK) else None
    if place is not None:
        for left in place.glob(f"{_PREFIX}*"):  # left by a process that was killed
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place) as folder:
        yield folder


def scan(
    connection: duckdb.DuckDBPyConnection,
    files: Iterable[LogFile],
    between: tuple[float, float],
    *,
    table: str = "scanned",
    reading: ReadShare | None = None,
) -> Scan:
    """Read the lines of [start, end), Unix seconds, and set aside in `table` those that matter:
    warnings, errors and :data:`EVENTS`."""
    files = list(files)
    reading = reading or ReadShare()
    reading.begin(sum(_size(file.path) for file in files), connection)
    empty = sum(f.compressed and f.path.exists() and not _size(f.path) for f in files)
    start, end = between
    values = {"start": stamp(start), "end": stamp(end)}
    broken = 0
    database = Path(connection.execute("PRAGMA database_list").fetchall()[0][2])
    with tempfile.TemporaryDirectory(dir=database.parent) as name:
        folder = Path(name)
        paths, calm = _distilled(files, values, folder, reading)
        if sum(_size(Path(path)) for path in paths) < ONE_THREAD_BYTES:
            connection.execute("SET threads = 1")
        try:
            _scan(connection, values | _objects_of(paths), table)
        except duckdb.Error:
            # Damaged beyond what DuckDB skips (a cut archive, an endless line), or vanished.
            readable, broken = _made_readable(connection, paths, folder)
            _scan(connection, values | _objects_of(readable), table)
    broken += empty + rows(connection, f"SELECT count(*) FROM {table} WHERE broken")[0][0]
    by_number = rows(connection, f"SELECT level, count(*) FROM {table} WHERE within GROUP BY 1")
    levels = calm + Counter({_LEVELS[n]: count for n, count in by_number if n is not None})
    if any(number is None for number, _ in by_number):
        odd = "SELECT json_extract_string(json, '$.level'), count(*)"
        where = "within AND level IS NULL"
        found = rows(connection, f"{odd} FROM {table} WHERE {where} GROUP BY 1")
        levels.update({str(level): count for level, count in found})
    return Scan(levels, broken)


def join(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Add what was set aside in `table` to the rest."""
    connection.execute(f"INSERT INTO scanned FROM {table}")
    connection.execute(f"DROP TABLE {table}")


def lines(of: str, fields: str, table: str = "scanned") -> str:
    """For a FROM: the lines that were set aside, `of` one of :data:`EVENTS` or of :data:`ERRORS`,
    with these `fields`, space between them, as text; NULL where there is none.

    A WHERE on them would parse every line once more: filter afterwards."""
    names = fields.split()
    paths = ", ".join(f"'$.{name}'" for name in names)
    columns = ", ".join(f"found[{number}] AS {name}" for number, name in enumerate(names, 1))
    where = ERRORS if of == ERRORS else f"event = {EVENTS.index(of)}"
    return (
        f"(SELECT {columns} FROM"
        f" (SELECT json_extract_string(json, [{paths}]) AS found FROM {table} WHERE {where}))"
    )


def _distilled(
    files: Iterable[LogFile], stamps: Mapping[str, str], folder: Path, reading: ReadShare
) -> tuple[list[str], Counter[str]]:
    """What must be read of `files`, and how many other lines there are of each level."""
    paths: list[str] = []
    calm: Counter[str] = Counter()
    rest = folder / "rest.jsonl"
    with rest.open("wb") as out:
        for file in files:
            begin = out.tell()
            counted = distil(file.path, stamps["start"], stamps["end"], out)
            if counted is None:
                out.seek(begin)
                out.truncate()
                paths += [str(file.path)] if _size(file.path) else []
            else:
                calm.update(counted)
                reading.done(_size(file.path))
                out.write(b"\n")  # it may end within a line
    return paths + ([str(rest)] if _size(rest) else []), calm


def _made_readable(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], folder: Path
) -> tuple[list[str], int]:
    """The same files, with cleaned copies of those that DuckDB refuses, and the lines dropped."""
    readable, broken = [], 0
    for number, path in enumerate(paths):
        try:
            connection.execute(f"SELECT count(*) FROM ({_OBJECTS})", _objects_of([path])).fetchall()
        except duckdb.Error:
            target = folder / f"{number}.jsonl"
            broken += _clean(Path(path), target)
            readable += [str(target)] if _size(target) else []
        else:
            readable.append(path)
    return readable, broken


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _clean(source: Path, target: Path) -> int:
    """Copy the lines that are records; returns how many were not."""
    broken = 0
    with target.open("wb") as out:
        for line in raw_lines(source):
            if line.strip() and len(line) <= LONGEST_LINE and parse(line) is not None:
                out.write(line + b"\n")
            elif line.strip():
                broken += 1
    return broken


def _objects_of(paths: Sequence[str]) -> dict[str, object]:
    return {"paths": list(paths), "longest": LONGEST_LINE}


_OBJECTS = (
    "SELECT json FROM"
    " read_ndjson_objects($paths, ignore_errors = true, maximum_object_size = $longest)"
)


def _number(of: str, names: Sequence[str]) -> str:
    """The position of a name in `names`, NULL for others: a million numbers are searched in a
    thousandth of a second."""
    cases = " ".join(f"WHEN '{name}' THEN {number}" for number, name in enumerate(names))
    return f"CASE {of} {cases} END::TINYINT"


# No WHERE in here: it would be pushed below the projection, and every line be parsed twice.
_SCANNED = f"""
  SELECT level, event, broken, within,
         CASE WHEN event IS NOT NULL OR within AND coalesce(level, {_WARNING}) >= {_WARNING}
              THEN json END AS json
  FROM (
    SELECT json, {_number("found[1]", _LEVELS)} AS level,
           found[3] IS NULL AS broken, found[3] >= $start AND found[3] < $end AS within,
           CASE WHEN within THEN {_number("found[2]", EVENTS)} END AS event
    FROM (
      SELECT json, json_extract_string(json, ['$.level', '$.event', '$.timestamp']) AS found
      FROM ({_OBJECTS})
    )
  )
"""
_NOTHING = "SELECT 0 AS level, 0 AS event, true AS broken, true AS within, '' AS json LIMIT 0"


def _scan(connection: duckdb.DuckDBPyConnection, values: dict[str, Any], table: str) -> None:
    found = _SCANNED if values["paths"] else _NOTHING
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS {found}", values if values["paths"] else None
    )
