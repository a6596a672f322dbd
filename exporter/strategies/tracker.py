"""Strategies: equity files and posts to drawdown and limits."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from exporter.calendars.loader import Calendar
from exporter.config import Config, LedgerSettings, Strategy
from exporter.metrics import Metrics
from exporter.state import State, StateError, ledger
from exporter.state.ledger import EquityEntry
from exporter.strategies.curve_store import CurveStore, Value
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_files import EquityFiles
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.equity_problems import DOUBT_SECONDS, EquityProblems, doubt_of
from exporter.strategies.holdings import Holdings
from exporter.strategies.parse_fills import entry_of
from exporter.strategies.portfolio import Quotes, Total, Worth
from exporter.strategies.positions_file import PositionsFiles
from exporter.strategies.strategy_samples import StrategySamples
from exporter.strategies.trading_time import TradingTime
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0


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
        self._state, self._clock, self._quotes = state, clock, quotes
        self.total: Total | None = None
        """Where the config has `portfolio`."""
        self._configured: dict[str, Strategy] = {}
        self._ledger = LedgerSettings()
        self.holdings = Holdings(state, clock, metrics)
        self.positions_files = PositionsFiles(self.holdings)
        self.time = TradingTime(calendar)
        self.problems = EquityProblems()
        self._store = CurveStore(state, clock)
        self.curves, self.listeners = self._store.curves, self._store.listeners
        self._files = EquityFiles(self._store, self.problems, self.time, clock)
        self._unkept: set[tuple[str, str]] = set()
        """Strategy and id of points that are in a curve and could not be kept yet."""
        self._doubted_at: dict[str, float] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        metrics.add_reader(StrategySamples(self).read)

    def apply(self, config: Config) -> None:
        """Apply the config; curves of strategies that stay continue."""
        self._configured = dict(config.strategies)
        self._ledger = config.ledger
        self.total = Total(config.portfolio, self._quotes) if config.portfolio else None
        self.time.apply(config)
        for name in self._store.load(self._configured):
            unknown = math.isnan(self.curves[name].at)
            if self._store.positions[name].line and unknown and not self._store.note(name):
                self.problems.unread_before(name)
        for name, strategy in self._configured.items():
            if self._store.currencies[name].name != strategy.currency:
                self._store.change_currency(name, strategy.currency)
                self.problems.forget(name)
        self.holdings.apply(self._configured)
        self.positions_files.apply(self._configured)

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
        async with self._store.locks[name]:  # a post meanwhile must not be overwritten
            strategy = self._configured.get(name)
            if strategy is None:
                return
            await self._files.read(name, strategy)
            await self._confirm_doubted(name)
            if not self._store.is_kept(name):
                await self._store.keep(name)

    async def _confirm_doubted(self, name: str) -> None:
        curve, now = self.curves[name], self._clock.monotonic()
        if curve.doubted is None:
            self._doubted_at.pop(name, None)
        elif now - self._doubted_at.setdefault(name, now) >= DOUBT_SECONDS:
            self.curves[name] = curve.confirm(self.time.days_of(name))
            await self._store.keep(name)

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
        async with self._store.locks[name]:  # a file that is being read must not overwrite it
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
                curve = add(point, self.time.days_of(name))
            self.curves[name] = curve.reset_peak() if reset_peak else curve
            return await self._put(name, entry, values)

    async def _has(self, name: str, entry: EquityEntry) -> bool:
        """Whether a point was accepted before, perhaps long ago."""
        if (name, entry.id) in self._unkept:
            return True
        return await self._state.history.ask(lambda path: ledger.has_equity(path, name, entry.id))

    async def _put(self, name: str, entry: EquityEntry, values: Sequence[Value]) -> EquityCurve:
        """The curve, once it and its newest point are durable in one transaction."""
        try:
            await self._store.keep(name, [ledger.put_equity(name, entry)], values)
        except StateError:
            self._unkept.add((name, entry.id))
            await self._store.keep(name)  # in memory, until the disk works again
            raise
        self._unkept.discard((name, entry.id))
        return self.curves[name]

    async def purge(self) -> None:
        """Delete what the ledger no longer has to keep; called every few minutes."""
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
        at = self.curves[name].at
        return self.time.age(name, self._store.since[name] if math.isnan(at) else at, now)

    def since(self, name: str) -> float:
        """When a strategy was first configured."""
        return self._store.since[name]

    def summary(self, name: str) -> dict[str, Any]:
        """The numbers of one strategy, for reports and pages."""
        curve, now = self.curves[name], self._clock.now()
        return {
            "currency": self._configured[name].currency,
            "equity": curve.equity,
            "peak": curve.peak,
            "drawdown": curve.drawdown,
            "pnl_today": curve.pnl_on(now, self.time.days_of(name)),
            "last_update": curve.at,
            "problem": self.problems.get(name) or doubt_of(curve) or self._store.note(name),
        }

    def now(self) -> float:
        """The exporter's clock."""
        return self._clock.now()

    @property
    def configured(self) -> dict[str, Strategy]:
        """The strategies of the running config."""
        return self._configured

    def worths(self) -> list[Worth]:
        """What each strategy has now."""
        now = self._clock.now()
        return [
            Worth(
                name, strategy.currency, self.curves[name].equity,
                self.curves[name].pnl_on(now, self.time.days_of(name)),
            )
            for name, strategy in list(self._configured.items())
        ]  # fmt: skip

    def problems_of_total(self) -> list[str]:
        """Why the total of `portfolio` is not known."""
        return self.total.missing(self.worths()) if self.total else []
