"""Strategies: equity files and posts to drawdown and limits."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config import Config, LedgerSettings, Strategy
from exporter.metrics import Metrics
from exporter.state import State, StateError, ledger
from exporter.state.ledger import EquityEntry
from exporter.state.sql import Row
from exporter.strategies import performance
from exporter.strategies.curve_currency import CurveCurrency
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.equity_problems import DOUBT_SECONDS, report
from exporter.strategies.file import EquityFilePosition, no_line_ends
from exporter.strategies.holdings import Holdings
from exporter.strategies.live_numbers import (
    TradesOn,
    every_day,
)
from exporter.strategies.parse_fills import FILE_ORIGIN, entry_of, file_entry
from exporter.strategies.portfolio import Quotes, Total, Worth
from exporter.strategies.positions_file import PositionsFiles
from exporter.strategies.read_curve import MOST_NEW, CurveRead, read_curve
from exporter.strategies.strategy_samples import StrategySamples
from exporter.strategies.trading_time import trading_age
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

logger = logging.getLogger(__name__)

Value = tuple[str, str, Any]
"""Kind, name and what is kept."""
PATIENCE_SECONDS = 5.0
UNFINISHED_SECONDS = 120.0
"""A line without its newline is being written, but not for so long."""


class Strategies:
    """All configured strategies; remembers their curves in state under the kind ``strategy``.

    `calendar` gives the calendar of an exchange that the config names, `quotes` a feed's prices.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        metrics: Metrics,
        calendar: Callable[[str], Calendar] | None = None,
        quotes: Quotes = lambda feed, symbol: None,
    ) -> None:
        self._quotes = quotes
        self.total: Total | None = None
        """Where the config has `portfolio`."""
        self._state, self._clock, self._calendar = state, clock, calendar
        self._configured: dict[str, Strategy] = {}
        self._zone = ZoneInfo("UTC")
        self._ledger = LedgerSettings()
        self.curves: dict[str, EquityCurve] = {}
        self.holdings = Holdings(state, clock, metrics)
        self.positions_files = PositionsFiles(self.holdings)
        self._positions: dict[str, EquityFilePosition] = {}
        self._since: dict[str, float] = {}
        """When each strategy was first configured: equity that never came is as old as that."""
        self._currencies: dict[str, CurveCurrency] = {}
        self._kept: set[str] = set()
        self._unwritten: dict[str, list[Row]] = {}
        """Points of files that the disk did not take yet."""
        self._unkept: set[tuple[str, str]] = set()
        """Strategy and id of points that are in a curve and could not be kept yet."""
        self.problems: dict[str, str] = {}
        self._unread: set[str] = set()
        """Strategies whose file gave no equity at the last look: missing, or not understood."""
        self._doubted_at: dict[str, float] = {}
        self._unfinished: dict[str, tuple[int, float]] = {}
        """Bytes behind the last newline of each file, and since when they are so many."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reading: dict[str, asyncio.Task[None]] = {}
        self.listeners: list[Callable[[str], None]] = []
        """Called with the name of each strategy whose curve changed."""
        metrics.add_reader(StrategySamples(self).read)

    def apply(self, config: Config) -> None:
        """Apply the config; curves of strategies that stay continue."""
        self._configured = dict(config.strategies)
        self._zone = ZoneInfo(config.timezone)
        self._ledger = config.ledger
        self.total = Total(config.portfolio, self._quotes) if config.portfolio else None
        kept = self._state.kept("strategy")
        for name, strategy in self._configured.items():
            if name not in self.curves:
                saved = kept.get(name) or {}
                self.curves[name] = EquityCurve.from_json(saved.get("curve") or {})
                self._positions[name] = EquityFilePosition.from_json(saved.get("position") or {})
                self._since[name] = float(saved.get("since") or self._clock.now())
                self._currencies[name] = CurveCurrency.from_json(
                    saved.get("currency"), strategy.currency
                )
                if saved.get("since"):
                    self._kept.add(name)
                unknown = math.isnan(self.curves[name].at)
                if self._positions[name].line and unknown and not self._note(name):
                    self._unread.add(name)  # all that was read was not understood
            if self._currencies[name].name != strategy.currency:
                self._change_currency(name, strategy.currency)
        self.holdings.apply(self._configured)
        self.positions_files.apply(self._configured)

    def _change_currency(self, name: str, currency: str) -> None:
        curve = self.curves[name]
        self._currencies[name], self.curves[name] = self._currencies[name].change(curve, currency)
        self._kept.discard(name)
        self.problems.pop(name, None)
        if math.isnan(self.curves[name].at):
            self._since[name] = self._clock.now()
        if note := self._note(name):
            logger.warning(
                "%s: %s; it had %g before, and its peak was %g",
                name, note, curve.equity, curve.peak,
                extra={"event": "equity_currency_changed", "strategy": name},
            )  # fmt: skip

    def _note(self, name: str) -> str | None:
        return self._currencies[name].note(self.curves[name])

    async def refresh(self, patience: float = PATIENCE_SECONDS) -> None:
        """Read what is new in every equity file; one large file does not delay the others.

        What takes longer than `patience` seconds goes on in the background.
        """
        for name in self._configured:
            if name not in self._reading:
                task = asyncio.create_task(self._refresh(name), name=f"equity of {name}")
                self._reading[name] = task
                task.add_done_callback(partial(self._done_reading, name))
        if self._reading:
            await asyncio.wait(self._reading.values(), timeout=patience)

    def _done_reading(self, name: str, task: asyncio.Task[None]) -> None:
        self._reading.pop(name, None)
        if not task.cancelled() and (error := task.exception()):
            logger.error(
                "reading the equity of %s failed: %s", name, type(error).__name__, exc_info=error,
                extra={"event": "equity_refresh_failed", "strategy": name},
            )  # fmt: skip

    async def _refresh(self, name: str) -> None:
        async with self._locks[name]:  # a post meanwhile must not be overwritten
            strategy = self._configured.get(name)
            if strategy is None:
                return
            if strategy.equity_file:
                await self._read_file(name, strategy, strategy.equity_file)
            await self._confirm_doubted(name)
            if name in self._unwritten and self._state.durable:
                await self._keep_read(name, CurveRead(self.curves[name]))
            if name not in self._kept:
                await self._keep(name)

    async def _confirm_doubted(self, name: str) -> None:
        curve, now = self.curves[name], self._clock.monotonic()
        if curve.doubted is None:
            self._doubted_at.pop(name, None)
        elif now - self._doubted_at.setdefault(name, now) >= DOUBT_SECONDS:
            self.curves[name] = curve.confirm(self.days_of(name))
            await self._keep(name)

    async def _read_file(self, name: str, strategy: Strategy, path: Path) -> None:
        position = replace(self._positions[name])
        position.layout = replace(position.layout)
        before = position.to_json()
        latest = self._clock.now() + FUTURE_TOLERANCE_SECONDS
        try:
            read = await asyncio.to_thread(
                read_curve,
                self.curves[name],
                path,
                position,
                strategy,
                zone=self._zone,
                days=self.days_of(name),
                latest=latest,
            )
        except OSError as error:
            self._unreadable(name, f"cannot read {path}: {error.strerror or error}")
            return
        if self._currencies[name].name != strategy.currency:
            return  # a reload changed it meanwhile: the next look reads the file
        self._positions[name] = position
        if position.to_json() == before:
            if name in self._unread and self.problems.get(name, "").startswith("cannot read"):
                self._readable(name)
        else:
            self._readable(name)
            problem, is_unread = report(name, path, read)
            if problem:
                self.problems[name] = problem
            if is_unread:
                self._unread.add(name)
            self.curves[name] = read.curve
            await self._keep_read(name, read)
        await self._look_at_last_line(name, path, position)

    async def _keep_read(self, name: str, read: CurveRead) -> None:
        """The curve, how far the file was read, and the new points, in one transaction."""
        # In a thread: of a large file these are ten thousand.
        rows = await asyncio.to_thread(
            lambda: [ledger.put_equity(name, file_entry(point)) for point in read.new]
        )
        if not math.isnan(read.rewritten):
            rows.insert(0, ledger.forget_equity(name, read.rewritten, FILE_ORIGIN))
        rows = [*self._unwritten.pop(name, ()), *rows][-MOST_NEW:]
        try:
            await self._keep(name, rows)
        except StateError:
            self._unwritten[name] = rows
            await self._keep(name)  # in memory, until the disk works again

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
            self._unreadable(name, no_line_ends(path))
        elif name not in self.problems:
            self.problems[name] = (
                f"the last line of {path.name} does not end with a newline, so it is not read: end "
                "each line with one"
            )
            logger.warning(
                "%s", self.problems[name],
                extra={"event": "equity_unfinished_line", "strategy": name},
            )  # fmt: skip

    def _readable(self, name: str) -> None:
        self._unread.discard(name)
        self.problems.pop(name, None)

    def _unreadable(self, name: str, text: str) -> None:
        self._unread.add(name)
        if self.problems.get(name) != text:
            self.problems[name] = text
            logger.warning("%s", text, extra={"event": "equity_unreadable", "strategy": name})

    def note_account(self, name: str, problem: str | None) -> None:
        """How the last look at a strategy's account went; None: well."""
        if problem is None:
            self._readable(name)
        else:
            self._unreadable(name, problem)

    async def post_equity(
        self,
        name: str,
        point: EquityPoint,
        *,
        reset_peak: bool = False,
        entry: EquityEntry | None = None,
        values: Sequence[Value] = (),
    ) -> EquityCurve:
        """Add one point that was posted; with `reset_peak` it is the new peak. `entry` is the point
        as the ledger keeps it; one whose id it has already changes nothing. `values` are kept in
        the same transaction, by kind and name.

        Raises :class:`KeyError` for an unknown name, :class:`ValueError` for a point from the
        future or one that is not newer than the newest. :class:`StateError`: it counts, but is not
        kept; the same point may come again.
        """
        async with self._locks[name]:  # a file that is being read must not overwrite it
            curve, entry = self.curves[name], entry or entry_of(point)
            if point.at > self._clock.now() + FUTURE_TOLERANCE_SECONDS:
                raise ValueError(f"timestamp {iso(point.at)} lies in the future")
            again = point.at == curve.at and point.equity == curve.equity
            if not again and await self._has(name, entry):
                unkept = (name, entry.id) in self._unkept
                return await self._put(name, entry, values) if unkept else curve
            curve = self.curves[name]  # a reload may have begun it again
            if point.at <= curve.begun_after:
                raise ValueError(
                    f"timestamp {iso(point.at)} is not newer than {iso(curve.begun_after)}: what "
                    "is older is in the currency that the strategy had before"
                )
            if point.at <= curve.at and not again:
                raise ValueError(
                    f"timestamp {iso(point.at)} is not newer than {iso(curve.at)}, the newest"
                )
            if not again:
                add = curve.add if reset_peak else curve.observe
                curve = add(point, self.days_of(name))
            self.curves[name] = curve.reset_peak() if reset_peak else curve
            return await self._put(name, entry, values)

    async def _has(self, name: str, entry: EquityEntry) -> bool:
        """Whether a point was accepted before, perhaps long ago."""
        if (name, entry.id) in self._unkept:
            return True
        return await self._state.ask(lambda path: ledger.has_equity(path, name, entry.id))

    async def _put(self, name: str, entry: EquityEntry, values: Sequence[Value]) -> EquityCurve:
        """The curve, once it and its newest point are durable in one transaction."""
        try:
            await self._keep(name, [ledger.put_equity(name, entry)], values)
        except StateError:
            self._unkept.add((name, entry.id))
            await self._keep(name)  # in memory, until the disk works again
            raise
        self._unkept.discard((name, entry.id))
        return self.curves[name]

    async def _keep(
        self, name: str, rows: Sequence[Row] = (), values: Sequence[Value] = ()
    ) -> None:
        for listener in self.listeners:
            listener(name)
        value = {
            "curve": self.curves[name].to_json(),
            "position": self._positions[name].to_json(),
            "since": self._since[name],
            "currency": self._currencies[name].to_json(),
        }
        if rows:
            await self._state.write(rows, [*values, ("strategy", name, value)])
        else:
            await self._state.keep("strategy", name, value)
        self._kept.add(name)

    async def purge(self) -> None:
        """Delete what the ledger need not keep any more; called every few minutes."""
        now, kept = self._clock.now(), self._ledger
        rows = [
            *ledger.purge("fills", now - kept.keep_fills, kept.max_rows),
            *ledger.purge("equity", now - kept.keep_equity, kept.max_rows),
        ]
        with suppress(StateError):  # it is tried again
            while await self._state.write(rows) >= ledger.PURGE_ROWS:
                pass  # each a transaction of its own, so that others get their turn

    def age(self, name: str, now: float) -> float:
        """How old the newest equity is, or how long none has come: seconds, by the wall clock or by
        the strategy's exchange."""
        curve, strategy = self.curves[name], self._configured[name]
        since = self._since[name] if math.isnan(curve.at) else curve.at
        if strategy.exchange is None or self._calendar is None:
            return max(0.0, now - since)
        in_sessions = strategy.max_age is not None and strategy.max_age >= 86400.0
        calendar = self._calendar(strategy.exchange)
        return trading_age(calendar, since, now, in_sessions=in_sessions)

    def is_unread(self, name: str) -> bool:
        """Whether its file, or its account, gave no equity at the last look."""
        return name in self._unread

    def since(self, name: str) -> float:
        """When a strategy was first configured."""
        return self._since[name]

    def last_fill_at(self, name: str) -> float:
        """When the strategy's newest fill was; -inf while none is known."""
        return max(
            (fill.at for fill in list(self.holdings.fills[name].values())), default=-math.inf
        )

    def summary(self, name: str) -> dict[str, Any]:
        """The numbers of one strategy, for reports and pages."""
        curve, now = self.curves[name], self._clock.now()
        return {
            "currency": self._configured[name].currency,
            "equity": curve.equity,
            "peak": curve.peak,
            "drawdown": curve.drawdown,
            "pnl_today": curve.pnl_on(now, self.days_of(name)),
            "last_update": curve.at,
            "problem": self.problems.get(name) or self._note(name),
        }

    def now(self) -> float:
        """The exporter's clock."""
        return self._clock.now()

    @property
    def configured(self) -> dict[str, Strategy]:
        """The strategies of the running config."""
        return self._configured

    def trading_days(self, name: str) -> tuple[TradesOn, float]:
        """On which days a strategy trades, and how many of them a year has."""
        exchange = self._configured[name].exchange
        if exchange in (None, "24/7") or self._calendar is None:
            return every_day, 365.0
        calendar = self._calendar(exchange)
        return lambda day: calendar.session_on(day) is not None, performance.TRADING_DAYS

    def days_of(self, name: str) -> ZoneInfo:
        """The zone of its days: its exchange's, or else the config's."""
        exchange = self._configured[name].exchange
        if exchange is None or self._calendar is None:
            return self._zone
        return self._calendar(exchange).zone

    def worths(self) -> list[Worth]:
        """What each strategy has now."""
        now = self._clock.now()
        return [
            Worth(
                name, strategy.currency, self.curves[name].equity,
                self.curves[name].pnl_on(now, self.days_of(name)),
            )
            for name, strategy in list(self._configured.items())
        ]  # fmt: skip

    def problems_of_total(self) -> list[str]:
        """Why the total of `portfolio` is not known."""
        return self.total.missing(self.worths()) if self.total else []
