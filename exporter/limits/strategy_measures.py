"""The measures of a strategy that a limit can be on, as pure functions. An unknown value is NaN."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from exporter.backtests.expected_days import ExpectedDays
from exporter.calendars.loader import Calendar
from exporter.config.limit_keys import ExpectedReturn
from exporter.strategies.equity import EquityCurve
from exporter.util.nan import NAN

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


def by_year(expected: ExpectedReturn, days_per_year: float) -> ExpectedDays:
    """What somebody expects of a year, by day. It has no error of its own."""
    deviation = expected.annual_volatility / math.sqrt(days_per_year)
    return ExpectedDays(expected.annual_return / days_per_year, deviation, 0, NAN)


def decay(returns: Sequence[float], expected: ExpectedDays) -> float:
    """By how many standard errors the mean daily return is below the expected one; negative where
    it is above; NaN for fewer than ten days.

    (mu - mean) / (sigma * sqrt(1/n + 1/m)), the z-test of two means with a known deviation, n live
    days and m days of the backtest; without 1/m where mu is what somebody expects. 2 happens by
    chance to one strategy of 44 that is as good as its backtest, 3 to one of 740.
    """
    if len(returns) < FEWEST_DAYS or not expected.deviation > 0:
        return NAN
    error = 1 / len(returns) + (1 / expected.count if expected.count else 0.0)
    return (expected.mean - statistics.fmean(returns)) / (expected.deviation * math.sqrt(error))
