"""What a scrape shows of strategies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

from exporter.metrics import Sample
from exporter.strategies.equity import EquityCurve
from exporter.strategies.live_numbers import LiveNumbers, exposure, live_numbers
from exporter.strategies.portfolio import by_currency
from exporter.util.local_time import date_of

if TYPE_CHECKING:
    from exporter.strategies.tracker import Strategies


class StrategySamples:
    """Of all strategies, with their limits; numbers of days are computed once for each point."""

    def __init__(self, strategies: Strategies) -> None:
        self._strategies = strategies
        self._known_numbers: dict[str, tuple[EquityCurve, date, LiveNumbers]] = {}

    def read(self) -> Iterator[Sample]:
        """The samples of one scrape."""
        strategies, now = self._strategies, self._strategies.now()
        worths = strategies.worths()
        yield from by_currency(worths)
        if strategies.total:
            yield from strategies.total.samples(worths)
        for name, strategy in list(strategies.configured.items()):
            label = (name,)
            yield "quant_strategy_info", (name, strategy.currency, strategy.severity), 1.0
            curve = strategies.curves[name]
            yield "quant_strategy_equity", label, curve.equity
            yield "quant_strategy_equity_peak", label, curve.peak
            yield "quant_strategy_drawdown_ratio", label, curve.drawdown
            pnl_today = curve.pnl_on(now, strategies.time.days_of(name))
            yield "quant_strategy_pnl_today", label, pnl_today
            yield from self._numbers(name, curve, now)
            yield "quant_strategy_last_update_timestamp_seconds", label, curve.at
            yield "quant_strategy_age_seconds", label, strategies.age(name, now)
            if strategy.equity_file:
                unread = float(strategies.problems.is_unread(name))
                yield "quant_strategy_equity_unreadable", label, unread
            for severity, limit in strategy.max_drawdown.items():
                yield "quant_strategy_drawdown_limit_ratio", (name, severity), limit
            if strategy.max_age:
                yield "quant_strategy_age_limit_seconds", label, strategy.max_age

    def _numbers(self, name: str, curve: EquityCurve, now: float) -> Iterator[Sample]:
        """Computed once for each point, and at the beginning of a day."""
        today = date_of(now, self._strategies.time.days_of(name))
        known = self._known_numbers.get(name)
        if known is None or known[0] is not curve or known[1] != today:
            trades_on, periods = self._strategies.time.trading_days(name)
            known = curve, today, live_numbers(curve, today, periods, trades_on)
            self._known_numbers[name] = known
        numbers = known[2]
        yield "quant_strategy_pnl_week", (name,), numbers.pnl_week
        yield "quant_strategy_pnl_month", (name,), numbers.pnl_month
        for window, each in numbers.windows.items():
            labels = (name, window)
            yield "quant_strategy_return_ratio", labels, each.total_return
            yield "quant_strategy_volatility_ratio", labels, each.volatility
            yield "quant_strategy_sharpe_ratio", labels, each.sharpe
            yield "quant_strategy_win_ratio", labels, each.win_rate
        below = curve.drawdown > 0
        yield (
            "quant_strategy_under_water_seconds",
            (name,),
            (now - curve.peak_at if below else curve.drawdown),
        )
        if held := self._strategies.holdings.newest_positions(name):
            yield "quant_strategy_exposure_ratio", (name,), exposure(held.positions, curve.equity)
