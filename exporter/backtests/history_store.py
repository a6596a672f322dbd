"""Bars that are kept as Parquet, one file a source, symbol and interval, and extended.

A file holds which time it covers, so what was fetched is not asked for again. When it is extended,
its newest bars are fetched once more: where the source now says otherwise (a split, a correction),
all that is needed is fetched again. Several processes may use the files at a time. A disk that is
full costs the file, not the bars.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import duckdb
import numpy as np

from exporter.backtests.bar_table import COLUMNS, BarTable
from exporter.calendars.bars import Calendar
from exporter.config import INTERVAL_SECONDS
from exporter.sources.base import Bar, SourceError
from exporter.util.atomic import private_folder, sync_folder
from exporter.util.clock import utc

log = logging.getLogger(__name__)

OVERLAP_BARS = 20
"""How many known bars are fetched again when a file is extended."""
MOST_RECENT = 1000
_NO_HISTORY = frozenset((1004, 2003, 3009, 3010))
"""TickDB's codes for what a plan does not include, and for a range that it refuses."""
_SAME = 1e-9
_JUMP = 1.9
"""From one bar to the next: two for one is the smallest split that is common."""


class Market(Protocol):
    """What the exporter offers. Raises :class:`~exporter.sources.base.SourceError`."""

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar."""

    def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        """Bars that start in [start, end)."""

    def recent(
        self, symbol: str, interval: str, limit: int, *, source: str | None = None
    ) -> list[Bar]:
        """The newest bars, at most `limit`."""


@dataclass(frozen=True)
class KeptBars:
    """What one file holds."""

    bars: BarTable
    low: float
    high: float
    """It covers [low, high): where there is no bar, the source had none."""
    refused: float
    """The end for which the source refused history by time; 0: it never did."""


@dataclass
class HistoryNotes:
    """What was noticed on the way, in words."""

    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Wanted:
    source: str | None
    symbol: str
    interval: str
    start: float
    end: float


class HistoryStore:
    """Bars of all symbols, below one folder. Use it in one thread."""

    def __init__(self, folder: Path, market: Market) -> None:
        self._folder, self._market = folder, market
        self._db = duckdb.connect(config={"threads": 1, "memory_limit": "300MB"})

    def close(self) -> None:
        """Give the memory back."""
        self._db.close()

    def bars(
        self, source: str | None, symbol: str, interval: str, start: float, end: float
    ) -> tuple[BarTable, list[str]]:
        """Bars that start in [start, end), and notes. Raises
        :class:`~exporter.sources.base.SourceError`."""
        notes, wanted = HistoryNotes(), _Wanted(source, symbol, interval, start, end)
        name = f"{quote(symbol, safe='')}@{interval}.parquet"
        file = self._folder / quote(source or "default", safe="") / name
        with self._locked(file, notes):
            kept = self._read(file, symbol, notes)
            if kept and kept.low <= start and kept.high >= end:
                return kept.bars.between(start, end), notes.texts
            if kept and kept.refused >= end:
                return kept.bars.between(start, end), notes.texts
            fetched = self._fetch(kept, wanted, notes)
            if kept is None or _differs(kept, fetched):
                self._write(file, fetched, notes)
        return fetched.bars.between(start, end), notes.texts

    def _fetch(self, kept: KeptBars | None, wanted: _Wanted, notes: HistoryNotes) -> KeptBars:
        try:
            return self._fetch_by_time(kept, wanted, notes)
        except SourceError as error:
            if not (error.code in _NO_HISTORY or "plan include history" in error.message):
                raise
        symbol, end = wanted.symbol, wanted.end
        found = self._market.recent(symbol, wanted.interval, MOST_RECENT, source=wanted.source)
        recent = self._table(symbol, found, notes)
        if kept is not None and (changed := _changed(kept.bars, recent)):
            notes.texts.append(f"{changed}; older bars are deleted, since they may be wrong too")
            kept = None
        merged = recent if kept is None else _merged(kept.bars, recent)
        if len(merged) == 0:
            raise SourceError("api", f"{symbol}: the source has no {wanted.interval} bars")
        low = float(merged.start[0])
        return KeptBars(merged, low, end, refused=end)

    def _fetch_by_time(
        self, kept: KeptBars | None, wanted: _Wanted, notes: HistoryNotes
    ) -> KeptBars:
        start, end = wanted.start, wanted.end

        def ask(low: float, high: float) -> BarTable:
            found = self._market.history(
                wanted.symbol, wanted.interval, low, high, source=wanted.source
            )
            return self._table(wanted.symbol, found, notes)

        if kept is None or not len(kept.bars) or start > kept.high or end < kept.low:
            return KeptBars(ask(start, end), start, end, 0.0)
        bars, low, high = kept.bars, kept.low, kept.high
        if end > high:
            again = float(bars.start[max(0, len(bars) - OVERLAP_BARS)])
            newer = ask(min(again, high), end)
            if changed := _changed(bars, newer):
                notes.texts.append(f"{changed}; all of it is fetched again")
                return KeptBars(ask(start, end), start, end, 0.0)
            bars, high = _merged(bars, newer), end
        if start < low:
            bars, low = _merged(ask(start, low), bars), start
        return KeptBars(bars, low, high, 0.0)

    def _table(self, symbol: str, found: list[Bar], notes: HistoryNotes) -> BarTable:
        table = BarTable.of_bars(symbol, found)
        if len(table) < len(found):
            notes.texts.append(f"{len(found) - len(table)} bars came twice")
        return table

    def _read(self, file: Path, symbol: str, notes: HistoryNotes) -> KeptBars | None:
        if not file.exists():
            return None
        try:
            path = str(file).replace("'", "''")
            found = self._db.execute(
                f"SELECT value FROM parquet_kv_metadata('{path}') WHERE key = 'covers'"  # noqa: S608
            ).fetchone()
            covers = json.loads(bytes(found[0]).decode()) if found else {}
            columns = self._db.execute(
                f"SELECT * FROM read_parquet('{path}') ORDER BY start"  # noqa: S608
            ).fetchnumpy()
            bars = BarTable.of(symbol, columns)
            return KeptBars(
                bars, float(covers["low"]), float(covers["high"]), float(covers["refused"])
            )
        except (duckdb.Error, OSError, ValueError, KeyError, TypeError) as error:
            notes.texts.append(f"what was kept cannot be read and is fetched again: {_line(error)}")
            return None

    def _write(self, file: Path, kept: KeptBars, notes: HistoryNotes) -> None:
        part = file.with_suffix(f".{os.getpid()}.part")
        covers = json.dumps({"low": kept.low, "high": kept.high, "refused": kept.refused})
        try:
            # Column by column: pandas is not needed for that.
            self._db.register("kept_bars", kept.bars.columns)
            path = str(part).replace("'", "''")
            self._db.execute(
                f"COPY (SELECT * FROM kept_bars) TO '{path}' "  # noqa: S608
                f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{covers: '{covers}'}})"
            )
            part.chmod(0o600)
            part.replace(file)
            sync_folder(file.parent)
        except (duckdb.Error, OSError) as error:
            notes.texts.append(f"its bars cannot be kept: {_line(error)}")
        finally:
            with suppress(OSError, duckdb.Error):
                self._db.unregister("kept_bars")
            with suppress(OSError):
                part.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, file: Path, notes: HistoryNotes) -> Iterator[None]:
        """Two processes do not fetch the same bars, nor overwrite each other's."""
        try:
            private_folder(file.parent)
            descriptor = os.open(
                file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            notes.texts.append(f"its bars cannot be kept: {error.strerror}")
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _differs(kept: KeptBars, fetched: KeptBars) -> bool:
    return (kept.low, kept.high, kept.refused, len(kept.bars)) != (
        fetched.low, fetched.high, fetched.refused, len(fetched.bars),
    )  # fmt: skip


def _merged(one: BarTable, other: BarTable) -> BarTable:
    """Bars of both, each start once; of two the other's."""
    columns = {n: np.concatenate([c, other.columns[n]]) for n, c in one.columns.items()}
    order = np.argsort(columns["start"], kind="stable")
    starts = columns["start"][order]
    last = np.append(starts[1:] != starts[:-1], True) if len(starts) else np.array([], bool)
    return BarTable.of(one.symbol, {name: column[order][last] for name, column in columns.items()})


def _changed(known: BarTable, again: BarTable) -> str | None:
    """What the source now says otherwise of bars that are known, in words; the newest known bar
    may have been forming."""
    _, ours, theirs = np.intersect1d(known.start[:-1], again.start, return_indices=True)
    if not len(ours):
        return None
    ratios = {
        name: again.columns[name][theirs] / known.columns[name][ours] for name in COLUMNS[:-1]
    }
    wrong = np.zeros(len(ours), bool)
    for ratio in ratios.values():
        wrong |= ~(np.abs(ratio - 1) <= _SAME)
    if not wrong.any():
        return None
    at = utc(float(known.start[ours[np.flatnonzero(wrong)[0]]]))
    close = ratios["close"]
    middle = float(np.median(close))
    if wrong.all() and abs(middle - 1) > 0.01 and np.abs(close / middle - 1).max() < 1e-3:
        times = f"{middle:.6g} times what they were, as after a split"
        return f"prices until {at:%Y-%m-%d} are now {times}"
    return (
        f"the source corrected {int(wrong.sum())} of the bars that it gave before, from "
        f"{at:%Y-%m-%d %H:%M} UTC on"
    )


def gaps(bars: BarTable, calendar: Calendar, interval: str, start: float, end: float) -> str | None:
    """What is missing of the bars that the exchange makes, or is there although it is closed."""
    until = min(end, float(calendar.last_bar_end_before(interval, end)))
    expected = calendar.expected_bars(interval, start, until)
    ends = [calendar.bar_end(float(at), interval) for at in bars.start]
    outside = sum(calendar.expected_bars(interval, at - 1e-3, at) == 0 for at in ends)
    missing = expected - (len(bars) - outside)
    texts = []
    if missing > 0:
        days = _days_without(bars, calendar, interval, start, until)
        among = f" ({days} whole {'day' if days == 1 else 'days'})" if days else ""
        texts.append(f"{missing} of {expected} {interval} bars are missing{among}")
    if outside > 0:
        texts.append(f"{outside} bars are from outside the exchange's hours")
    return "; ".join(texts) or None


def jumps(bars: BarTable) -> str | None:
    """Closes that change as a split does: whoever trades such bars earns or loses what nobody
    could."""
    if len(bars) < 2:
        return None
    ratios = bars.close[1:] / bars.close[:-1]
    odd = np.flatnonzero((ratios > _JUMP) | (ratios < 1 / _JUMP))
    if not len(odd):
        return None
    first = int(odd[0])
    more = f" ({len(odd) - 1} more)" if len(odd) > 1 else ""
    return (
        f"the close of {utc(float(bars.start[first + 1])):%Y-%m-%d %H:%M} UTC is "
        f"{ratios[first]:.3g} times the one before{more}: a split that the source has not adjusted "
        "for, or a wrong price?"
    )


def _days_without(
    bars: BarTable, calendar: Calendar, interval: str, start: float, end: float
) -> int:
    if INTERVAL_SECONDS[interval] >= INTERVAL_SECONDS["1d"]:
        return 0
    have = {calendar.day_of(float(at)) for at in bars.start}
    return sum(
        1 for session in calendar.sessions(start, end)
        if session.close <= end and session.day not in have
    )  # fmt: skip


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    full = os.strerror(errno.ENOSPC)  # DuckDB hides it in a long one
    return full if full in text else text[:200]
