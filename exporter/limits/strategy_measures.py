"""What a limit can be of a strategy, as pure functions. A value that is not known is NaN."""

from __future__ import annotations

import math
import statistics
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config.limit_keys import ExpectedReturn
from exporter.strategies.equity import EquityCurve
from exporter.util.nan import NAN

TRADING_DAYS = 252
"""In a year, for figures of a year."""
FEWEST_DAYS = 10
"""Fewer say nothing about a mean."""
_LONGEST_SECONDS = 400 * 86400.0


def daily_loss(curve: EquityCurve, now: float, zone: ZoneInfo) -> float:
    """The loss since midnight as a share of the equity at the end of the day before, flows taken
    out; 0 when there is a profit, or no point yet today."""
    pnl = curve.pnl_on(now, zone)
    if math.isnan(pnl):
        return NAN
    if pnl >= 0:
        return 0.0
    # Money that came today was at risk, too; what was withdrawn may have been lost before.
    base = curve.day_base + max(curve.day_flows, 0.0)
    return -pnl / base if base > 0 else 1.0


def whole_sessions(calendar: Calendar, since: float, now: float) -> int:
    """Sessions that opened after `since` and have closed."""
    since = max(since, now - _LONGEST_SECONDS)
    return sum(one.open >= since and one.close <= now for one in calendar.sessions(since, now))


def decay(curve: EquityCurve, expected: ExpectedReturn) -> float:
    """By how many standard errors the mean daily return of the days that are remembered (31 at
    most) lies below the expected one; negative where it lies above.

    (mu - mean) / (sigma / sqrt(n)), with mu = annual return / 252 and sigma = annual volatility /
    sqrt(252): the z-test of a mean whose deviation is known. 2 happens by chance to one strategy of
    44 that is as good as its backtest, 3 to one of 740.
    """
    returns = []
    for day in curve.past:
        before = day.equity - day.pnl
        if before > 0:
            returns.append(day.pnl / before)
    if len(returns) < FEWEST_DAYS:
        return NAN
    sigma = expected.annual_volatility / math.sqrt(TRADING_DAYS)
    below = expected.annual_return / TRADING_DAYS - statistics.fmean(returns)
    return below / (sigma / math.sqrt(len(returns)))
