"""type: sql: real SQLite and DuckDB files, Parquet, and a real PostgreSQL where there is one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.sources.base import SourceError
from tests.unit.sources.own_sources import MINUTE, OwnSource

CREATE = (
    "CREATE TABLE bars (symbol TEXT, time {kind}, open REAL, high REAL, low REAL, close REAL, "
    "volume REAL)"
)
ROWS = [
    (symbol, MINUTE - 60 * n, 1.0, 3.0, 1.0, 2.0, 5.0)
    for symbol in ("A", "B", "OTHER")
    for n in range(1, 30)
]


def sqlite_file(folder: Path) -> Path:
    """A database of two minutes' work."""
    path = folder / "bars.db"
    with sqlite3.connect(path) as database:
        database.execute(CREATE.format(kind="REAL"))
        database.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", ROWS)
    database.close()
    return path


def duckdb_file(folder: Path) -> Path:
    """The same with moments that know their zone."""
    path = folder / "bars.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute(CREATE.format(kind="TIMESTAMPTZ"))
        database.executemany("INSERT INTO bars VALUES (?, to_timestamp(?), ?, ?, ?, ?, ?)", ROWS)
    return path


def parquet_file(folder: Path) -> Path:
    """The same as one Parquet file."""
    path = folder / "bars.parquet"
    with duckdb.connect() as database:
        database.execute(CREATE.format(kind="TIMESTAMPTZ"))
        database.executemany("INSERT INTO bars VALUES (?, to_timestamp(?), ?, ?, ?, ?, ?)", ROWS)
        database.execute(f"COPY bars TO '{path}' (FORMAT parquet)")
    return path


FILES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "sqlite table": (sqlite_file, {"table": "bars"}),
    "sqlite query": (
        sqlite_file,
        {"query": "SELECT * FROM bars WHERE symbol = :symbol AND time >= :start -- by :nobody"},
    ),
    "duckdb table": (duckdb_file, {"table": "bars"}),
    "duckdb query": (
        duckdb_file,
        {"query": "SELECT * FROM bars QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY time "
                  "DESC) <= :limit"},
    ),
    "parquet": (parquet_file, {}),
}  # fmt: skip


async def asked(path: Path, *symbols: str, **settings: Any) -> tuple[Any, OwnSource]:
    """The answer of a source of that file."""
    bench = OwnSource(type="sql", file=path, **settings)
    async with bench.open() as source:
        return await source.latest(symbols or ("A", "B"), "1m"), bench


@pytest.mark.parametrize("kind", FILES)
async def test_the_newest_rows_of_each_symbol_are_read(tmp_path: Path, kind: str) -> None:
    """Of tables, queries and files alike, and counted as any request."""
    make, settings = FILES[kind]
    answer, bench = await asked(make(tmp_path), **settings)
    assert answer.bad == {}
    for symbol in ("A", "B"):
        newest = answer.good[symbol][-1]
        assert (newest.symbol, newest.start, newest.close) == (symbol, MINUTE - 60, 2.0)
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 1


async def test_a_range_of_the_past_is_read_as_a_whole(tmp_path: Path) -> None:
    """Not only what is newest in the table."""
    bench = OwnSource(type="sql", file=sqlite_file(tmp_path), table="bars")
    async with bench.open() as source:
        bars = await source.history("A", "1m", MINUTE - 1200, MINUTE - 900)
        assert [bar.start for bar in bars] == [MINUTE - 1200 + 60 * n for n in range(5)]
        assert len(await source.recent("A", "1m", 3)) == 3


async def test_a_table_that_only_says_when_is_enough(tmp_path: Path) -> None:
    """`fields` names the columns that there are."""
    path = tmp_path / "ticks.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE log (who TEXT, ts TEXT)")
        database.execute("INSERT INTO log VALUES ('A', '2026-09-21 10:11:00')")
    database.close()
    fields = {"symbol": "who", "time": "ts"}
    answer, _ = await asked(path, table="log", fields=fields, timezone="America/New_York")
    assert answer.good["A"][0].start == MINUTE - 120
    assert answer.good["B"] == []
    answer, _ = await asked(path, table="log", fields=fields)
    assert "`time` has no zone" in answer.bad["A"].message


async def test_a_locked_table_is_said_and_ends_in_time(tmp_path: Path) -> None:
    """By the file's own lock, with what to look for."""
    path = sqlite_file(tmp_path)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        answer, bench = await asked(path, table="bars", timeout=2.0)
        assert answer.bad["A"].message == "another program has it locked (waited 1 s)"
        assert bench.failures() == {"timeout": 1}
        assert time.monotonic() - began < 10
    writer.close()


async def test_a_slow_query_is_ended(tmp_path: Path) -> None:
    """By the database where it can, so that it can say why."""
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT 'A' AS symbol, max(i) AS time FROM n"
    )
    answer, _ = await asked(sqlite_file(tmp_path), query=query, timeout=2.0)
    assert answer.bad["A"].reason == "timeout"
    assert "is there an index on symbol and time?" in answer.bad["A"].message


BAD: dict[str, tuple[str, bytes | None, dict[str, Any], str, str]] = {
    "no file": ("x.db", None, {"table": "bars"}, "connect", "there is no file"),
    "half a Parquet file": ("x.parquet", b"PAR1half", {}, "malformed", ""),
    "an empty Parquet file": ("x.parquet", b"", {}, "malformed", ""),
    "no database": ("x.db", b"this is text, not a database" * 9, {"table": "bars"}, "malformed",
                    "not a database"),
    "no table": ("x.db", b"", {"table": "bars"}, "error", "no such table"),
    "another name for the column": ("bars.db", None, {"table": "bars",
        "fields": {"symbol": "ticker", "time": "ts"}}, "error", "no such column: ticker"),
    "a pragma": ("bars.db", None, {"query": "PRAGMA writable_schema = 1"}, "error", "one SELECT"),
    "two statements": ("bars.db", None, {"query": "SELECT 1; SELECT 2"}, "error", "one SELECT"),
    "writing": ("x.db", b"", {"query": "CREATE TABLE bars (symbol)"}, "error", "readonly"),
    "writing a file": ("x.parquet", None, {"query": "COPY bars TO 'y.csv'"}, "error", "SELECT"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_be_read_is_an_outcome(tmp_path: Path, case: str) -> None:
    """With its reason; nothing is ever written."""
    name, content, settings, reason, text = BAD[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif name.endswith("parquet"):
        parquet_file(tmp_path).rename(tmp_path / name)
    elif name == "bars.db":
        sqlite_file(tmp_path)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    answer, bench = await asked(tmp_path / name, **settings)
    assert answer.bad["A"].reason == reason
    assert text in answer.bad["A"].message
    assert bench.failures() == {reason: 1}
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


async def test_a_row_without_a_time_says_nothing(tmp_path: Path) -> None:
    """PostgreSQL would give it first."""
    path = sqlite_file(tmp_path)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM bars WHERE symbol = 'B'")
        database.execute("INSERT INTO bars (symbol, close) VALUES ('A', 1), ('B', 1)")
    database.close()
    answer, _ = await asked(path, table="bars")
    assert answer.good["A"][-1].start == MINUTE - 60
    assert answer.good["B"] == []


async def test_a_parquet_file_that_is_rewritten_all_the_time_is_asked_again(
    tmp_path: Path,
) -> None:
    """A half written file is never bars, and never a mistake for good."""
    path = parquet_file(tmp_path)
    whole = path.read_bytes()
    for size in (0, 7, 30, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        answer, _ = await asked(path)
        assert answer.bad["A"].reason == "malformed"
        assert answer.bad["A"].retryable
    path.write_bytes(whole)
    assert (await asked(path))[0].good["A"]


async def test_a_duckdb_file_that_another_program_writes_is_said(tmp_path: Path) -> None:
    """DuckDB lets nobody else in meanwhile."""
    path = duckdb_file(tmp_path)
    with duckdb.connect(str(path)):
        answer, _ = await asked(path, table="bars")
        assert answer.bad["A"].reason == "connect"
        assert answer.bad["A"].message == "another program has the file open for writing"
    assert (await asked(path, table="bars"))[0].good["A"]


async def test_an_error_of_history_is_raised(tmp_path: Path) -> None:
    """As tasks expect it."""
    bench = OwnSource(type="sql", file=tmp_path / "x.db", table="bars")
    async with bench.open() as source:
        with pytest.raises(SourceError, match="there is no file"):
            await source.recent("A", "1m", 3)
