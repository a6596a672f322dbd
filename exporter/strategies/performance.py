"""What a curve of equity, or the trades of a backtest, are worth: pure functions of float64.

Returns are simple returns a period, as fractions (0.01 is one per cent), oldest first. What cannot
be computed (too few values, nothing that varies) is NaN. Nothing is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter.util.nan import NAN

TRADING_DAYS = 252
"""Periods a year of daily returns on an exchange; 365 where every day is traded."""

_NOISE = 1e-12
"""Deviations below this share of the largest return are float rounding, not risk."""


def period_returns(equity: Sequence[float], flows: Sequence[float] | None = None) -> list[float]:
    """Time-weighted returns between the values of an equity curve, flows taken out.

    `flows[n]` is the deposit (positive) or withdrawal (negative) that is part of `equity[n]`, made
    at the end of the period: r = (E[n] - F[n]) / E[n-1] - 1. Chained, this is the time-weighted
    return of Bacon, *Practical Portfolio Performance Measurement and Attribution*, and of GIPS. A
    period that starts without capital (0 or less) has no return and is left out.
    """
    found = flows if flows is not None else [0.0] * len(equity)
    if len(found) != len(equity):
        raise ValueError(f"{len(equity)} values of equity need as many flows, not {len(found)}")
    return [
        (now - flow) / before - 1
        for before, now, flow in zip(equity, equity[1:], found[1:], strict=False)
        if before > 0
    ]


def total_return(returns: Iterable[float]) -> float:
    """What all periods together gained: the product of (1 + r), less 1; NaN without a period.

    What has lost everything (a return of -1 or less) stays at -1. Bacon, as above.
    """
    growth, count = 1.0, 0
    for value in returns:
        growth *= max(1 + value, 0.0)
        count += 1
    return growth - 1 if count else NAN


def cagr(returns: Sequence[float], periods_per_year: float = TRADING_DAYS) -> float:
    """Compound annual growth rate: (1 + total return) ** (periods a year / periods) - 1.

    Bacon's annualised return. -1 after a total loss; infinity where few returns overflow float64.
    """
    if not returns:
        return NAN
    try:
        return float((1 + total_return(returns)) ** (periods_per_year / len(returns)) - 1)
    except OverflowError:
        return math.inf


def volatility(returns: Sequence[float], periods_per_year: float = TRADING_DAYS) -> float:
    """Annualised sample standard deviation: stdev(r) * sqrt(periods a year); NaN below two.

    Hull, *Options, Futures, and Other Derivatives*, on volatility from history, here of simple
    returns.
    """
    return _deviation(returns) * math.sqrt(periods_per_year)


def sharpe(
    returns: Sequence[float],
    periods_per_year: float = TRADING_DAYS,
    risk_free: float = 0.0,
) -> float:
    """Annualised Sharpe ratio: mean(r - rf) / stdev(r - rf) * sqrt(periods a year).

    `risk_free` is a return a period. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management
    1994, equations 3 to 6 (ex post), scaled by the square root of time. NaN when nothing varies.
    """
    deviation = _deviation(returns)
    if not deviation > 0:
        return NAN
    return (_mean(returns) - risk_free) / deviation * math.sqrt(periods_per_year)


def sortino(
    returns: Sequence[float],
    periods_per_year: float = TRADING_DAYS,
    target: float = 0.0,
) -> float:
    """Annualised Sortino ratio: mean(r - target) / downside deviation * sqrt(periods a year).

    The downside deviation is sqrt(mean(min(r - target, 0) ** 2)) over all periods, not over the
    losing ones alone. Sortino and Price, "Performance Measurement in a Downside Risk Framework",
    Journal of Investing 1994. `target` is a return a period. NaN when no return is below it.
    """
    if len(returns) < 2:
        return NAN
    below = math.sqrt(math.fsum(min(r - target, 0.0) ** 2 for r in returns) / len(returns))
    if below <= _NOISE * max(abs(r - target) for r in returns):
        return NAN
    return (_mean(returns) - target) / below * math.sqrt(periods_per_year)


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall of a curve from its highest value before.

    Indices count values of the curve that starts with 1 before the first return: `peak` is the
    last highest value before the fall, `trough` the lowest after it, `recovered` the first that is
    as high as the peak again, or None while there is none.
    """

    depth: float
    """(peak - trough) / peak, 0 to 1."""
    peak: int
    trough: int
    recovered: int | None
    length: int
    """Periods from the peak to the recovery, or to the end of the curve."""


def max_drawdown(returns: Iterable[float]) -> Drawdown:
    """The deepest drawdown and how long it lasted; depth 0 and length 0 without a loss.

    Magdon-Ismail and Atiya, "Maximum Drawdown", Risk Magazine 2004. Of two that are equally deep
    the first counts.
    """
    level = top = 1.0
    peak = place = 0
    worst, open_ = Drawdown(0.0, 0, 0, None, 0), False
    for place, value in enumerate(returns, 1):
        level *= max(1 + value, 0.0)
        if level >= top:
            if open_ and worst.peak == peak:
                worst = Drawdown(worst.depth, peak, worst.trough, place, place - peak)
                open_ = False
            top, peak = level, place
        elif (depth := 1 - level / top) > worst.depth:
            worst, open_ = Drawdown(depth, peak, place, None, 0), True
    if open_:
        worst = Drawdown(worst.depth, worst.peak, worst.trough, None, place - worst.peak)
    return worst


def longest_under_water(returns: Iterable[float]) -> int:
    """The most periods in a row from one highest value to the next that is as high, or to the end.

    The longest drawdown need not be the deepest. Bacon's drawdown duration.
    """
    level = top = 1.0
    peak = longest = 0
    for place, value in enumerate(returns, 1):
        level *= max(1 + value, 0.0)
        if level < top:
            longest = max(longest, place - peak)
            continue
        if peak < place - 1:  # it was below in between; now it has recovered
            longest = max(longest, place - peak)
        top, peak = level, place
    return longest


def win_rate(results: Iterable[float]) -> float:
    """Share of what won among what won or lost: profits of closed trades, or returns of periods.

    A result of exactly 0 is neither. NaN while nothing was won or lost. Pardo, *The Evaluation and
    Optimization of Trading Strategies* (percentage of winning trades).
    """
    won = lost = 0
    for value in results:
        won += value > 0
        lost += value < 0
    return won / (won + lost) if won + lost else NAN


def time_in_market(positions: Iterable[float]) -> float:
    """Exposure as a share of time: periods with a position (long or short) among all; 0 to 1.

    NaN without a period. Pardo's time in market.
    """
    held = count = 0
    for quantity in positions:
        held += quantity != 0
        count += 1
    return held / count if count else NAN


def gross_exposure(values: Iterable[float], equity: float) -> float:
    """Exposure as a share of equity: the sum of the absolute values of all positions / equity.

    1 is fully invested, more is leverage. NaN while equity is not positive. The gross method of
    Commission Delegated Regulation (EU) 231/2013, articles 6 and 7.
    """
    return math.fsum(abs(value) for value in values) / equity if equity > 0 else NAN


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN below two values, 0 where all differences are rounding."""
    if len(values) < 2:
        return NAN
    mean = _mean(values)
    found = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return 0.0 if found <= _NOISE * max(abs(value) for value in values) else found
