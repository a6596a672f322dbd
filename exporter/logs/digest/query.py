"""DuckDB over the JSON files. Never imported in the daemon: the library alone is 40 MB.

One pass reads every line once: it counts by level, and puts aside the lines that
matter (warnings, errors, and the events that digests tell of). Files that DuckDB refuses are
cleaned line by line first, so no content of a file can stop a digest.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from exporter.logs.files import LogFile
from exporter.logs.reading import LONGEST_LINE, parse, raw_lines, stamp

MEMORY_LIMIT = "180MB"
LEFT_SECONDS = 6 * 3600.0
_PREFIX = "quant-digest-"
EVENTS = ("run_ended", "run_retry", "slots_missed", "fetch_failed", "fetch_totals",
          "alert_notification", "log_lines_lost")  # fmt: skip
"""Events whose lines a digest reads, beside warnings and errors."""
COLUMNS = (
    "timestamp", "level", "logger", "event", "message", "task", "run_id", "duration_seconds",
    "error_type", "error_message", "outcome", "attempts", "count", "lost", "source", "endpoint",
    "reason", "requests", "failed", "alertname", "severity", "status", "fingerprint", "starts_at",
)  # fmt: skip

_MACROS = r"""
CREATE MACRO wording(t) AS
  regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(t, 500),
    '''[^'']*''|"[^"]*"', '“”', 'g'),
    '\b[A-Z0-9]{1,12}\.(US|HK|SH|SZ|CN|L)\b', 'SYMBOL', 'g'),
    '\b[0-9a-f]{8,}(-[0-9a-f]+)*\b', '#', 'g'),
    '[0-9]+([.,:][0-9]+)*', '#', 'g');
CREATE MACRO seconds_of(t) AS
  CASE WHEN try_cast(t AS DOUBLE) BETWEEN 0 AND 1e9 THEN try_cast(t AS DOUBLE) END;
CREATE MACRO number_of(t) AS
  CASE WHEN try_cast(t AS BIGINT) BETWEEN 0 AND 1000000000000 THEN try_cast(t AS BIGINT) END;
CREATE MACRO first_line(t) AS split_part(coalesce(t, ''), chr(10), 1);
CREATE MACRO fingerprint(level, logger, kind, t) AS
  left(md5(concat_ws('|', level, logger, coalesce(kind, ''), wording(t))), 10);
"""
_NOTABLE = f"(level IN ('warning', 'error', 'critical') OR event IN {EVENTS})"


@dataclass(frozen=True)
class Scan:
    """What one pass over files found; the lines that matter are in the table ``notable``."""

    levels: Mapping[str, int]
    """How many records of each level."""
    broken: int


@contextmanager
def connect(beside: Path, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own, which goes to disk rather than over its memory limit: into the folder
    `beside`, where there is one, because /tmp is often small or memory itself."""
    with _folder(beside) as folder:
        connection = duckdb.connect(str(Path(folder) / "digest.db"))
        try:
            for setting in (
                f"threads = {min(threads, os.cpu_count() or 1)}",
                f"memory_limit = '{MEMORY_LIMIT}'",
                f"temp_directory = '{folder}'",
                "preserve_insertion_order = false",
                "autoinstall_known_extensions = false",
                "autoload_known_extensions = false",
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
def _folder(beside: Path) -> Iterator[str]:
    place = beside if beside.is_dir() and os.access(beside, os.W_OK) else None
    if place is not None:
        for left in place.glob(f"{_PREFIX}*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place) as folder:
        yield folder


def scan(
    connection: duckdb.DuckDBPyConnection,
    files: Iterable[LogFile],
    between: tuple[float, float],
    *,
    table: str = "notable",
    events_alone: Sequence[str] = (),
) -> Scan:
    """Read the lines of [start, end), Unix seconds, and make `table` from those that matter: of
    ``events_alone``, or, when none is named, warnings, errors and :data:`EVENTS`."""
    wanted = f"event IN {(*events_alone, '')}" if events_alone else _NOTABLE
    paths = [str(file.path) for file in files if _size(file.path)]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} ({', '.join(f'{c} VARCHAR' for c in COLUMNS)})"
    )
    if not paths:
        return Scan({}, 0)
    start, end = between
    values = _objects_of(paths) | {"start": stamp(start), "end": stamp(end)}
    try:
        return _scan(connection, values, table, wanted)
    except duckdb.Error:
        # Damaged beyond what DuckDB skips (a cut archive, an endless line), or vanished.
        database = Path(connection.execute("PRAGMA database_list").fetchall()[0][2])
        with tempfile.TemporaryDirectory(dir=database.parent) as folder:
            readable, broken = _made_readable(connection, paths, Path(folder))
            if not readable:
                return Scan({}, broken)
            connection.execute(f"DELETE FROM {table}")
            found = _scan(connection, values | {"paths": readable}, table, wanted)
            return Scan(found.levels, found.broken + broken)


def _made_readable(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], folder: Path
) -> tuple[list[str], int]:
    """The same files, those that DuckDB refuses as cleaned copies, and how many lines that cost."""
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
# No WHERE here: it would be pushed below the projection and every line be parsed twice.
_LINES = f"""
  SELECT json, found[1] AS level, found[2] AS event,
         CASE WHEN found[3] IS NULL THEN 'broken'
              WHEN found[3] >= $start AND found[3] < $end THEN 'in' ELSE 'out' END AS place
  FROM (
    SELECT json, json_extract_string(json, ['$.level', '$.event', '$.timestamp']) AS found
    FROM ({_OBJECTS})
  )
"""


def _scan(
    connection: duckdb.DuckDBPyConnection, values: dict[str, object], table: str, wanted: str
) -> Scan:
    fields = ", ".join(f"'$.{column}'" for column in COLUMNS)
    row = ", ".join(f"found[{n}]" for n in range(1, len(COLUMNS) + 1))
    counts = "SELECT level, place, count(*) AS count"
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE scanned AS {counts},"
            f" list(json) FILTER ({wanted} AND place = 'in') AS lines"
            f" FROM ({_LINES}) GROUP BY ALL",
            values,
        )
        connection.execute(
            f"INSERT INTO {table} SELECT {row} FROM (SELECT json_extract_string(json, [{fields}])"
            " AS found FROM (SELECT unnest(lines) AS json FROM scanned))"
        )
        counted = rows(connection, "SELECT level, place, count FROM scanned")
        connection.execute("DROP TABLE scanned")
    except duckdb.OutOfMemoryException:
        # So many lines matter that they do not fit: a second pass, straight to the disk.
        connection.execute(f"DELETE FROM {table}")
        connection.execute(
            f"INSERT INTO {table} SELECT {row} FROM (SELECT json_extract_string(json, [{fields}])"
            f" AS found FROM ({_LINES}) WHERE {wanted} AND place = 'in')",
            values,
        )
        counted = connection.execute(f"{counts} FROM ({_LINES}) GROUP BY ALL", values).fetchall()
    return Scan(
        {str(level): count for level, place, count in counted if place == "in"},
        sum(count for _, place, count in counted if place == "broken"),
    )
