"""What each limit compares now: values of users' own metrics, and measures of strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.backtests.expected_days import ExpectedDays
from exporter.backtests.published import BacktestResults
from exporter.calendars.loader import Calendar
from exporter.config import Config, LimitSettings
from exporter.config.limit_keys import OF_POSITIONS, STRATEGY_MEASURES
from exporter.custom_metrics.custom_metrics import CustomMetrics, NewValue
from exporter.limits.reconciliation import Reconciliation
from exporter.limits.signal_days import SignalDays
from exporter.limits.strategy_measures import by_year, daily_loss, decay, whole_sessions
from exporter.strategies.live_numbers import TradesOn, daily_returns, every_day
from exporter.strategies.tracker import Strategies
from exporter.util.local_time import date_of
from exporter.util.nan import NAN


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that a limit is compared with. `strategy` and `subject` (the other labels, as text)
    may be empty; `at` is when it was so, Unix seconds."""

    limit: str
    strategy: str
    subject: str
    value: float
    at: float
    counted: bool = False
    """The exporter counted it itself: there is no doubt about one value."""
    of_metric: bool = False
    missing: str = ""
    """Why nobody knows the value, where somebody should say it."""


class Readings:
    """Computes them from what the parts know."""

    def __init__(
        self,
        metrics: CustomMetrics,
        strategies: Strategies,
        signals: SignalDays,
        calendar: Callable[[str], Calendar],
        backtests: BacktestResults,
    ) -> None:
        self._metrics, self._strategies, self._backtests = metrics, strategies, backtests
        self._signals, self._calendar = signals, calendar
        self._positions = Reconciliation(strategies.holdings)
        strategies.holdings.listeners.append(self._compare_positions)
        self._config: Config | None = None

    def apply(self, config: Config) -> None:
        """Use the limits of the running config."""
        self._config = config
        self._positions.forget()
        for strategy in self._strategies.configured:
            self._compare_positions(strategy)

    def _compare_positions(self, strategy: str) -> None:
        for name, limit in self.limits.items():
            measure = limit.measure(name)
            if measure in OF_POSITIONS and (not limit.strategies or strategy in limit.strategies):
                ratio = STRATEGY_MEASURES[measure] == "ratio"
                self._positions.compare(name, limit, strategy, ratio=ratio)

    @property
    def limits(self) -> dict[str, LimitSettings]:
        """Of the running config."""
        return dict(self._config.limits) if self._config else {}

    def all(self, now: float) -> Iterator[Reading]:
        """Every reading of every limit."""
        for name in self.limits:
            yield from self.of(name, now)

    def of(self, name: str, now: float) -> Iterator[Reading]:
        """Those of one limit."""
        limit = self.limits[name]
        measure = limit.measure(name)
        if measure not in STRATEGY_MEASURES:
            for value in self._metrics.values(measure):
                if reading := self.of_value(name, value):
                    yield reading
            return
        for strategy in limit.strategies or self._strategies.configured:
            if strategy in self._strategies.configured:
                yield self.of_strategy(name, strategy, now)

    def of_value(self, name: str, new: NewValue) -> Reading | None:
        """The reading that a value of a metric is; None where the limit is not on its strategy."""
        labels = dict(new.labels)
        strategy = labels.pop("strategy", "")
        wanted = self.limits[name].strategies
        if wanted and strategy not in wanted:
            return None
        subject = ", ".join(f"{label}={value}" for label, value in labels.items())
        return Reading(name, strategy, subject, new.value, new.at, of_metric=True)

    def of_strategy(self, name: str, strategy: str, now: float) -> Reading:
        """A measure of one strategy."""
        limit = self.limits[name]
        curve, settings = self._strategies.curves[strategy], self._strategies.configured[strategy]
        match limit.measure(name):
            case "daily_loss":
                loss = daily_loss(curve, now, self._strategies.time.days_of(strategy))
                return Reading(name, strategy, "", loss, curve.at)
            case "drawdown":
                return Reading(name, strategy, "", curve.drawdown, curve.at)
            case "decay":
                return self._decay(name, limit, strategy, now)
            case measure if measure in OF_POSITIONS:
                found = self._positions.difference(name, limit, strategy, settings, now)
                subject = f"symbol={found.symbol}" if found.symbol else ""
                return Reading(
                    name, strategy, subject, found.value, found.at, missing=found.missing
                )
        calendar = self._calendar(settings.exchange) if settings.exchange else None
        if calendar is None:
            return Reading(name, strategy, "", NAN, now, counted=True)
        since = self._strategies.since(strategy)
        filled = self._strategies.holdings.last_fill_at(strategy)
        match limit.measure(name):
            case "silent_sessions":
                silent_since = since if math.isnan(curve.at) else curve.at
                count = whole_sessions(calendar, silent_since, now)
            case "sessions_without_fill":
                count = whole_sessions(calendar, max(since, filled), now)
            case _:
                count = self._signals.unanswered(strategy, calendar, filled, now)
        return Reading(name, strategy, "", float(count), now, counted=True)

    def _decay(self, name: str, limit: LimitSettings, strategy: str, now: float) -> Reading:
        """Of the days that are over: against `expected`, or else the newest backtest."""
        curve = self._strategies.curves[strategy]
        trades_on, days_per_year = self._strategies.time.trading_days(strategy)
        if limit.expected:
            expected: ExpectedDays | None = by_year(limit.expected, days_per_year)
        elif expected := self._backtests.expected_days(strategy):
            trades_on = self._backtest_days(strategy)
        if expected is None:
            missing = (
                f"no backtest of {strategy} has a result for each of its symbols with the "
                f"configured `params` and 30 days or more: run `quant-exporter backtest {strategy}`"
            )
            return Reading(name, strategy, "", NAN, curve.at, missing=missing)
        today = date_of(now, self._strategies.time.days_of(strategy)).isoformat()
        over = [*curve.past, *([curve.today] if curve.day and curve.day < today else [])]
        value = decay(daily_returns(over, trades_on), expected)
        return Reading(name, strategy, "", value, curve.at)

    def _backtest_days(self, strategy: str) -> TradesOn:
        settings = self._config.backtests.strategies[strategy] if self._config else None
        if settings is None or settings.exchange == "24/7":
            return every_day
        calendar = self._calendar(settings.exchange)
        return lambda day: calendar.session_on(day) is not None
