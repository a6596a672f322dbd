"""What a strategy's days are worth now: profit of week and month, and rolling ratios.

Days are those of the strategy's exchange; returns are time-weighted, flows taken out. The formulas
are in :mod:`exporter.strategies.performance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from exporter.state.ledger import Position
from exporter.strategies import performance
from exporter.strategies.equity import EquityCurve, EquityDay
from exporter.util.nan import NAN

WINDOWS = {"30d": 30, "90d": 90}
"""Calendar days, today included."""
FEWEST_RETURNS = 10
"""Of fewer days, volatility and Sharpe ratio are chance."""


@dataclass(frozen=True)
class WindowNumbers:
    """Of the days of one window; NaN where too little is known."""

    total_return: float
    volatility: float
    sharpe: float
    win_rate: float
    """Days with a gain among those that won or lost."""


@dataclass(frozen=True)
class LiveNumbers:
    """Of one curve on one day."""

    pnl_week: float
    """Since Monday."""
    pnl_month: float
    windows: dict[str, WindowNumbers]


TradesOn = Callable[[date], bool]


def every_day(day: date) -> bool:
    """For what is traded on all days."""
    return True


def daily_returns(days: Iterable[EquityDay], trades_on: TradesOn = every_day) -> list[float]:
    """One return for each day on which there is trading, oldest first.

    An account is asked on weekends and holidays, too. What changes then belongs to the next
    session; counted by itself it would be a day without risk, of which a year of 252 has none.
    """
    found, waiting = list[float](), 1.0
    for one in days:
        if math.isnan(one.growth):
            continue
        waiting *= one.growth
        if trades_on(date.fromisoformat(one.day)):
            found.append(waiting - 1)
            waiting = 1.0
    return found if waiting == 1 else [*found, waiting - 1]


def live_numbers(
    curve: EquityCurve, today: date, periods_per_year: float, trades_on: TradesOn = every_day
) -> LiveNumbers:
    """The numbers as of `today`, which need not have a point yet."""
    if not curve.day:
        none = WindowNumbers(NAN, NAN, NAN, NAN)
        return LiveNumbers(NAN, NAN, dict.fromkeys(WINDOWS, none))
    days = [(date.fromisoformat(one.day), one) for one in (*curve.past, curve.today)]
    monday = today - timedelta(days=today.weekday())
    return LiveNumbers(
        _pnl(one for day, one in days if monday <= day <= today),
        _pnl(one for day, one in days if today.replace(day=1) <= day <= today),
        {
            name: _window(
                [one for day, one in days if today - timedelta(days=length) < day <= today],
                periods_per_year,
                trades_on,
            )
            for name, length in WINDOWS.items()
        },
    )


def _pnl(days: Iterable[EquityDay]) -> float:
    return math.fsum(one.pnl for one in days if not math.isnan(one.pnl))


def _window(
    days: Sequence[EquityDay], periods_per_year: float, trades_on: TradesOn
) -> WindowNumbers:
    returns = daily_returns(days, trades_on)
    enough = len(returns) >= FEWEST_RETURNS
    return WindowNumbers(
        performance.total_return(returns),
        performance.volatility(returns, periods_per_year) if enough else NAN,
        performance.sharpe(returns, periods_per_year) if enough else NAN,
        performance.win_rate(returns),
    )


def exposure(positions: Sequence[Position], equity: float) -> float:
    """Gross exposure; NaN where a position has no price."""
    if any(one.price is None for one in positions):
        return NAN
    values = (float(one.quantity * one.price) for one in positions if one.price is not None)
    return performance.gross_exposure(values, equity)
