"""The numbers of live curves against pandas, which knows days, zones and deviations by itself."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.live_numbers import live_numbers
from tests.unit.tables import calendar

NEW_YORK = ZoneInfo("America/New_York")
FIRST = datetime(2026, 9, 14, 4, 30, tzinfo=UTC)


def made_up(seed: int) -> pd.DataFrame:
    """Eleven weeks over the end of daylight saving, Thanksgiving and weekends, several points a
    day around midnight in New York, deposits, and gaps of days."""
    dice, at, equity, rows = random.Random(seed), FIRST, 10_000.0, []
    while at < FIRST + timedelta(days=77):
        grown = equity * (1 + dice.gauss(0, 0.01))
        flow = dice.choice([0, 0, 0, 0, 2_500, -1_000]) if rows else 0
        equity = grown + flow
        rows.append((at, equity, float(flow)))
        hours = dice.choice([1, 5, 9, 23, 24, 25, 70])
        at += timedelta(hours=hours, minutes=dice.randint(0, 59))
    return pd.DataFrame(rows, columns=["at", "equity", "flow"])


@pytest.mark.parametrize("seed", range(8))
def test_weeks_months_and_windows_are_what_pandas_says(seed: int) -> None:
    """By the exchange's date; a return of a weekend or holiday belongs to the next session."""
    frame, curve = made_up(seed), EquityCurve()
    for row in frame.itertuples():
        curve = curve.add(EquityPoint(row.at.timestamp(), row.equity, row.flow), NEW_YORK)
    frame["date"] = frame["at"].dt.tz_convert("America/New_York").dt.date
    frame["growth"] = (frame["equity"] - frame["flow"]) / frame["equity"].shift()
    frame["pnl"] = frame["equity"].diff() - frame["flow"]
    by_day = frame.groupby("date").agg(
        growth=("growth", lambda g: g.prod(min_count=1)), pnl=("pnl", "sum")
    )
    today: date = by_day.index[-1]
    trades = calendar("XNYS").session_on
    found = live_numbers(curve, today, 252.0, lambda day: trades(day) is not None)
    monday = today - timedelta(days=today.weekday())
    assert found.pnl_week == pytest.approx(by_day.pnl[by_day.index >= monday].sum(), abs=1e-6)
    first = today.replace(day=1)
    assert found.pnl_month == pytest.approx(by_day.pnl[by_day.index >= first].sum(), abs=1e-6)
    for name, length in (("30d", 30), ("90d", 90)):
        window = by_day[by_day.index > today - timedelta(days=length)].dropna(subset="growth")
        is_session = pd.Series([trades(day) is not None for day in window.index], window.index)
        session = is_session.shift(fill_value=False).cumsum()
        returns = window.groupby(session).growth.prod() - 1
        numbers = found.windows[name]
        assert numbers.total_return == pytest.approx(window.growth.prod() - 1)
        assert numbers.volatility == pytest.approx(returns.std() * math.sqrt(252))
        assert numbers.sharpe == pytest.approx(returns.mean() / returns.std() * math.sqrt(252))
        assert numbers.win_rate == (returns > 0).sum() / (returns != 0).sum()


@pytest.mark.parametrize("seed", range(3))
def test_drawdown_and_time_under_water_are_those_of_the_unit_price(seed: int) -> None:
    """As a fund has it: deposits buy units at the price of the moment."""
    frame, curve = made_up(seed), EquityCurve()
    price = ((frame.equity - frame.flow) / frame.equity.shift()).fillna(1).cumprod()
    for row, unit, peak in zip(frame.itertuples(), price, price.cummax(), strict=True):
        curve = curve.add(EquityPoint(row.at.timestamp(), row.equity, row.flow), NEW_YORK)
        assert curve.drawdown == pytest.approx(1 - unit / peak, abs=1e-9)
        if unit == peak:
            last_peak = row.at.timestamp()
    if curve.drawdown > 1e-9:
        assert curve.peak_at == last_peak


def test_what_has_no_return_has_none() -> None:
    """A negative or empty account, one row: NaN, and never a number that looks right."""
    for equities in ([1000.0], [-50.0, -60.0], [0.0, 0.0], [100.0, -20.0, -10.0]):
        curve = EquityCurve()
        for n, equity in enumerate(equities):
            at = (FIRST + timedelta(days=n)).timestamp()
            curve = curve.add(EquityPoint(at, equity), NEW_YORK)
        numbers = live_numbers(curve, date(2026, 9, 14 + len(equities) - 1), 365.0)
        window = numbers.windows["30d"]
        assert math.isnan(window.sharpe)
        assert math.isnan(window.volatility)
        if equities[0] <= 0 or len(equities) == 1:
            assert math.isnan(window.total_return)
        assert numbers.pnl_month == pytest.approx(equities[-1] - equities[0])
        assert 0 <= curve.drawdown <= 1
    assert curve.drawdown == 1
