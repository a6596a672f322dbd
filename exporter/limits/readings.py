"""What each limit compares now: values of metrics of one's own, and measures of strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config import Config, LimitSettings
from exporter.config.limit_keys import STRATEGY_MEASURES
from exporter.custom_metrics.custom_metrics import CustomMetrics, NewValue
from exporter.limits.reconciliation import Reconciliation
from exporter.limits.signal_days import SignalDays
from exporter.limits.strategy_measures import daily_loss, decay, whole_sessions
from exporter.strategies.tracker import Strategies
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


class Readings:
    """Computes them from what the parts know."""

    def __init__(
        self,
        metrics: CustomMetrics,
        strategies: Strategies,
        signals: SignalDays,
        calendar: Callable[[str], Calendar],
    ) -> None:
        self._metrics, self._strategies = metrics, strategies
        self._signals, self._calendar = signals, calendar
        self._positions = Reconciliation(strategies.holdings)
        self._config: Config | None = None

    def apply(self, config: Config) -> None:
        """Use the limits of the running config."""
        self._config = config

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
        return Reading(name, strategy, subject, new.value, new.at)

    def of_strategy(self, name: str, strategy: str, now: float) -> Reading:
        """A measure of one strategy."""
        limit = self.limits[name]
        curve, settings = self._strategies.curves[strategy], self._strategies.configured[strategy]
        zone = ZoneInfo(self._config.timezone if self._config else "UTC")
        match limit.measure(name):
            case "daily_loss":
                return Reading(name, strategy, "", daily_loss(curve, now, zone), curve.at)
            case "drawdown":
                return Reading(name, strategy, "", curve.drawdown, curve.at)
            case "decay":
                value = decay(curve, limit.expected) if limit.expected else NAN
                return Reading(name, strategy, "", value, curve.at)
            case "position_difference" | "position_difference_ratio" as measure:
                ratio = measure == "position_difference_ratio"
                found = self._positions.difference(name, limit, strategy, now, ratio=ratio)
                subject = f"symbol={found.symbol}" if found.symbol else ""
                return Reading(name, strategy, subject, found.value, found.at)
        calendar = self._calendar(settings.exchange) if settings.exchange else None
        if calendar is None:
            return Reading(name, strategy, "", NAN, now, counted=True)
        since = self._strategies.since(strategy)
        filled = self._strategies.last_fill_at(strategy)
        match limit.measure(name):
            case "silent_sessions":
                silent_since = since if math.isnan(curve.at) else curve.at
                count = whole_sessions(calendar, silent_since, now)
            case "sessions_without_fill":
                count = whole_sessions(calendar, max(since, filled), now)
            case _:
                count = self._signals.unanswered(strategy, calendar, filled, now)
        return Reading(name, strategy, "", float(count), now, counted=True)
