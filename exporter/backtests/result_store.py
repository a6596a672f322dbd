"""Results that outlive a run, in one SQLite file that several processes may use at a time.

A unit is found again by its key (:mod:`.plan`), so a run that was broken off, and one in which
little changed, computes what is missing. A result is written as soon as it is there.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.backtests.batch_progress import BatchProgress
from exporter.backtests.plan import PlannedUnit
from exporter.backtests.unit import UnitResult
from exporter.util.atomic import private_folder
from exporter.util.clock import Clock
from exporter.util.nan import json_safe

KEEP_SECONDS = 180 * 86400.0
EARLIER_SECONDS = 20 * 3600.0
"""A run that is newer than that is of the same day: one is compared with last week's."""
_WAIT_SECONDS = 30.0
_WRITE_SECONDS = 0.5
"""How often results are written; a kill loses so much work at most."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
    key TEXT PRIMARY KEY, numbers TEXT NOT NULL, seconds REAL NOT NULL, made_at REAL NOT NULL,
    curve BLOB, trades BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL, published INTEGER NOT NULL,
    summary TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS run_units (
    run INTEGER NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, strategy TEXT NOT NULL,
    symbol TEXT NOT NULL, params TEXT NOT NULL, configured INTEGER NOT NULL, error TEXT, trace TEXT,
    PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True)
class StoredResult:
    """The result of one unit in a run. ``numbers`` is empty if it failed."""

    strategy: str
    symbol: str
    params: dict[str, Any]
    configured: bool
    numbers: dict[str, float]
    error: str | None
    trace: str
    made_at: float
    curve: tuple[list[float], list[float]] | None
    trades: list[list[Any]]


class ResultStore:
    """Raises :class:`sqlite3.Error` or :class:`OSError` when the file cannot be used."""

    def __init__(self, path: Path) -> None:
        private_folder(path.parent)
        self.path = path
        self._db = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def known(self, keys: Iterable[str]) -> set[str]:
        """Of these keys, those that have a result."""
        wanted = json.dumps(list(keys))
        rows = self._db.execute(
            "SELECT key FROM units WHERE key IN (SELECT value FROM json_each(?))", [wanted]
        )
        return {key for (key,) in rows}

    def begin(self, now: float, units: Sequence[PlannedUnit], *, published: bool) -> int:
        """A new run with these units. Returns its number."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO runs (started_at, published) VALUES (?, ?)", [now, published]
            )
            run = int(cursor.lastrowid or 0)
            self._db.executemany(
                "INSERT INTO run_units VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    (run, place, unit.key, unit.strategy, unit.symbol,
                     json.dumps(unit.params, default=repr), unit.configured)
                    for place, unit in enumerate(units)
                ),
            )  # fmt: skip
        return run

    def add(self, run: int, results: Iterable[tuple[PlannedUnit, UnitResult]], now: float) -> None:
        """Keep results; a unit that failed is computed again by the next run."""
        with self._transaction():
            for unit, result in results:
                if result.error is not None:
                    self._db.execute(
                        "UPDATE run_units SET error = ?, trace = ? WHERE run = ? AND place = ?",
                        [result.error, result.trace, run, result.number],
                    )
                    continue
                self._db.execute(
                    "INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?, ?)",
                    [unit.key, _text(result.numbers), result.seconds, now,
                     None if result.curve is None else _packed(result.curve),
                     _packed(result.trades) if result.trades else None],
                )  # fmt: skip

    def end(self, run: int, now: float, summary: dict[str, Any]) -> None:
        """The run is complete; what is older than half a year and in no newer run is deleted."""
        with self._transaction():
            self._db.execute(
                "UPDATE runs SET ended_at = ?, summary = ? WHERE id = ?", [now, _text(summary), run]
            )
            before = now - KEEP_SECONDS
            self._db.execute(
                "DELETE FROM run_units WHERE run IN (SELECT id FROM runs WHERE started_at < ?)",
                [before],
            )
            self._db.execute("DELETE FROM runs WHERE started_at < ?", [before])
            self._db.execute(
                "DELETE FROM units WHERE made_at < ? AND key NOT IN (SELECT key FROM run_units)",
                [before],
            )

    def results(self, run: int) -> list[StoredResult]:
        """Of one run, in the order of its plan; units that are not computed yet are left out."""
        rows = self._db.execute(
            "SELECT strategy, symbol, params, configured, error, trace, numbers, made_at, curve, "
            "trades FROM run_units LEFT JOIN units USING (key) WHERE run = ? "
            "AND (numbers IS NOT NULL OR error IS NOT NULL) ORDER BY place", [run],
        )  # fmt: skip
        return [_stored(row) for row in rows]

    def published(self) -> list[StoredResult]:
        """The newest result of each strategy and symbol with its configured parameters."""
        rows = self._db.execute(
            "SELECT strategy, symbol, params, configured, NULL, NULL, numbers, "
            "coalesce(ended_at, made_at), curve, NULL, max(run) FROM run_units JOIN units USING "
            "(key) JOIN runs ON runs.id = run WHERE configured AND published AND error IS NULL "
            "GROUP BY strategy, symbol"
        )
        return [_stored(row[:10]) for row in rows]

    def previous(self, now: float) -> int | None:
        """The newest published run of an earlier day that was completed."""
        row = self._db.execute(
            "SELECT max(id) FROM runs WHERE started_at < ? AND published AND ended_at IS NOT NULL",
            [now - EARLIER_SECONDS],
        ).fetchone()
        return None if row[0] is None else int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _stored(row: Sequence[Any]) -> StoredResult:
    strategy, symbol, params, configured, error, trace, numbers, made_at, curve, trades = row
    found = {} if numbers is None or error is not None else json.loads(numbers)
    return StoredResult(
        strategy, symbol, json.loads(params), bool(configured),
        {name: math.nan if value is None else value for name, value in found.items()},
        error, trace or "", made_at or 0.0,
        None if curve is None else tuple(_unpacked(curve)),
        [] if trades is None else _unpacked(trades),
    )  # fmt: skip


def _text(value: Any) -> str:
    return json.dumps(json_safe(value), separators=(",", ":"), default=str)


def _packed(value: Any) -> bytes:
    return zlib.compress(_text(value).encode(), 1)


def _unpacked(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


class ResultWriter:
    """Keeps results as they come, some at a time."""

    def __init__(
        self,
        store: ResultStore,
        run: int,
        units: Sequence[PlannedUnit],
        *,
        clock: Clock,
        progress: BatchProgress,
        on_progress: Callable[[BatchProgress], None],
    ) -> None:
        self._store, self._run, self._units, self._clock = store, run, units, clock
        self._progress, self._on_progress = progress, on_progress
        self._waiting: list[tuple[PlannedUnit, UnitResult]] = []
        self._next = 0.0

    def on_result(self, result: UnitResult) -> None:
        """Count it, and write it soon."""
        self._waiting.append((self._units[result.number], result))
        self._progress.done += 1
        self._progress.failed += result.error is not None
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises what the store raises."""
        if self._waiting:
            self._store.add(self._run, self._waiting, self._clock.now())
            self._waiting.clear()
        self._next = time.monotonic() + _WRITE_SECONDS
        self._on_progress(self._progress)
