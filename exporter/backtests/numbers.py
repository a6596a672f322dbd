"""The numbers of one backtest, from the account's value bar by bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from exporter.backtests.bar_table import Column
from exporter.backtests.trading import Simulated
from exporter.strategies import performance

Numbers = dict[str, float]


def curve_numbers(
    equity: Column, start: Column, periods_per_year: float, *, parts: int = 1
) -> Numbers:
    """Of an account's curve alone; formulas and their sources are in
    :mod:`exporter.strategies.performance`. NaN where nothing can be computed."""
    returns = performance.period_returns(equity.tolist())
    fall = performance.max_drawdown(returns)
    ends = fall.recovered if fall.recovered is not None else len(returns)
    lasted = float(start[ends] - start[fall.peak]) if fall.depth > 0 else 0.0
    return {
        "return": performance.total_return(returns),
        "cagr": performance.cagr(returns, periods_per_year),
        "sharpe": performance.sharpe(returns, periods_per_year),
        "sortino": performance.sortino(returns, periods_per_year),
        "worst_drawdown": fall.depth,
        "worst_drawdown_seconds": lasted,
        "bars": float(len(equity)),
        "profit": float(equity[-1] - equity[0]) if len(equity) else math.nan,
        "periods_per_year": periods_per_year,
        **_moments(returns),
        **(_parts(returns, periods_per_year, parts) if parts > 1 else {}),
    }


def _parts(returns: Sequence[float], periods_per_year: float, parts: int) -> Numbers:
    """Return and Sharpe ratio of each of so many equal parts of the time."""
    found: Numbers = {}
    edges = [round(len(returns) * n / parts) for n in range(parts + 1)]
    for number, (first, last) in enumerate(pairwise(edges)):
        part = returns[first:last]
        found[f"part_{number}_return"] = performance.total_return(part)
        found[f"part_{number}_sharpe"] = performance.sharpe(part, periods_per_year)
    return found


def trading_numbers(simulated: Simulated, periods_per_year: float) -> Numbers:
    """What needs positions and trades. Turnover is a year's: half of what was bought and sold, as a
    share of mean equity; the win rate is of closed trades."""
    equity = simulated.equity
    years = len(equity) / periods_per_year if len(equity) else math.nan
    mean = float(equity.mean()) if len(equity) else math.nan
    profits = [trade.profit for trade in simulated.trades if trade.closed_at is not None]
    return {
        "turnover": simulated.traded / 2 / mean / years if mean > 0 else math.nan,
        "win_rate": performance.win_rate(profits),
        "exposure": performance.time_in_market(simulated.held.tolist()),
        "trades": float(len(simulated.trades)),
    }


def _moments(returns: Sequence[float]) -> Numbers:
    """Skewness and kurtosis (3 for a normal distribution), for the deflated Sharpe ratio."""
    count = len(returns)
    if count < 2:
        return {"skew": math.nan, "kurtosis": math.nan}
    mean = math.fsum(returns) / count
    second = math.fsum((r - mean) ** 2 for r in returns) / count
    if second <= 1e-24:
        return {"skew": math.nan, "kurtosis": math.nan}
    third = math.fsum((r - mean) ** 3 for r in returns) / count
    fourth = math.fsum((r - mean) ** 4 for r in returns) / count
    return {"skew": third / second**1.5, "kurtosis": fourth / second**2}
