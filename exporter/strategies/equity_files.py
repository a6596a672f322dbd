"""What is new in the equity files of strategies."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

from exporter.config import Strategy
from exporter.state import StateError, ledger
from exporter.state.sql import Row
from exporter.strategies.curve_store import CurveStore
from exporter.strategies.equity_problems import EquityProblems
from exporter.strategies.file import EquityFilePosition, no_line_ends
from exporter.strategies.parse_fills import FILE_ORIGIN, file_entry
from exporter.strategies.read_curve import MOST_NEW, CurveRead, read_curve
from exporter.strategies.trading_time import TradingTime
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock

UNFINISHED_SECONDS = 120.0
"""A line without its newline is being written, but not for so long."""


class EquityFiles:
    """Reads the files of the configured strategies into their curves."""

    def __init__(
        self, store: CurveStore, problems: EquityProblems, time: TradingTime, clock: Clock
    ) -> None:
        self._store, self._problems, self._time, self._clock = store, problems, time, clock
        self._unwritten: dict[str, list[Row]] = {}
        """Points of files that the disk did not take yet."""
        self._unfinished: dict[str, tuple[int, float]] = {}
        """Bytes behind the last newline of each file, and since when they are so many."""

    async def read(self, name: str, strategy: Strategy) -> None:
        """A look at the file of a strategy that has one; the caller holds the curve's lock."""
        if strategy.equity_file:
            await self._look(name, strategy, strategy.equity_file)
        if name in self._unwritten and self._store.durable:
            await self._keep(name, CurveRead(self._store.curves[name]))

    async def _look(self, name: str, strategy: Strategy, path: Path) -> None:
        position = replace(self._store.positions[name])
        position.layout = replace(position.layout)
        before = position.to_json()
        latest = self._clock.now() + FUTURE_TOLERANCE_SECONDS
        try:
            read = await asyncio.to_thread(
                read_curve,
                self._store.curves[name],
                path,
                position,
                strategy,
                zone=self._time.zone,
                days=self._time.days_of(name),
                latest=latest,
            )
        except OSError as error:
            self._problems.unreadable(name, f"cannot read {path}: {error.strerror or error}")
            return
        if self._store.currencies[name].name != strategy.currency:
            return  # a reload changed it meanwhile: the next look reads the file
        self._store.positions[name] = position
        if position.to_json() == before:
            self._problems.readable_again(name)
        else:
            self._problems.note_read(name, path, read)
            self._store.curves[name] = read.curve
            await self._keep(name, read)
        await self._look_at_last_line(name, path, position)

    async def _keep(self, name: str, read: CurveRead) -> None:
        """The curve, how far the file was read, and the new points, in one transaction."""
        # In a thread: of a large file these are ten thousand.
        rows = await asyncio.to_thread(
            lambda: [ledger.put_equity(name, file_entry(point)) for point in read.new]
        )
        if not math.isnan(read.rewritten):
            rows.insert(0, ledger.forget_equity(name, read.rewritten, FILE_ORIGIN))
        rows = [*self._unwritten.pop(name, ()), *rows][-MOST_NEW:]
        try:
            await self._store.keep(name, rows)
        except StateError:
            self._unwritten[name] = rows
            await self._store.keep(name)  # in memory, until the disk works again

    async def _look_at_last_line(self, name: str, path: Path, position: EquityFilePosition) -> None:
        """Report a last line that has had no newline for so long that nobody is writing it."""
        try:
            found = await asyncio.to_thread(path.stat)
        except OSError:
            return  # the next look says it
        now, waiting = self._clock.monotonic(), found.st_size - position.offset
        before, since = self._unfinished.get(name, (0, now))
        since = since if waiting == before else now
        self._unfinished[name] = (waiting, since)
        if waiting <= 0 or now - since < UNFINISHED_SECONDS:
            return
        if not position.offset:
            self._problems.unreadable(name, no_line_ends(path))
        else:
            self._problems.note_unfinished(name, path)
