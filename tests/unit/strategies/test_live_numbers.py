"""Numbers of a live curve: by the exchange's day, flows taken out, against the pure formulas."""

from __future__ import annotations

import csv
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.state.ledger import Position
from exporter.strategies import performance
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.live_numbers import exposure, live_numbers

NEW_YORK = ZoneInfo("America/New_York")
SPY = Path(__file__).parents[4] / "shared/data/spy_daily_2008_2018.csv"
FRIDAY = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)


def curve_of(points: list[tuple[datetime, float, float]]) -> EquityCurve:
    curve = EquityCurve()
    for at, equity, flow in points:
        curve = curve.add(EquityPoint(at.timestamp(), equity, flow), NEW_YORK)
    return curve


def test_a_week_and_a_month_are_sums_of_days_without_flows() -> None:
    """A deposit is no profit; a point after midnight in London is still New York's Monday."""
    curve = curve_of([
        (FRIDAY, 1000, 0), (FRIDAY + timedelta(days=3), 1100, 0),
        (FRIDAY + timedelta(days=3, hours=6), 1650, 500), (FRIDAY + timedelta(days=4), 1600, 0),
    ])  # fmt: skip
    numbers = live_numbers(curve, date(2026, 11, 24), 252)
    assert (numbers.pnl_week, numbers.pnl_month) == (pytest.approx(100), pytest.approx(100))
    assert curve.on("2026-11-23").pnl == pytest.approx(150)  # type: ignore[union-attr]
    assert live_numbers(curve, date(2026, 11, 30), 252).pnl_week == 0
    assert live_numbers(curve, date(2026, 12, 1), 252).pnl_month == 0
    window = numbers.windows["30d"]
    # 10 %, then 1150 of 1100, then 1600 of 1650.
    assert window.total_return == pytest.approx(1.1 * (1150 / 1100) * (1600 / 1650) - 1)
    assert window.win_rate == 0.5
    assert math.isnan(window.sharpe)


def test_a_window_of_spy_is_what_the_formulas_say_of_its_closes() -> None:
    """Each of them was compared with an independent library: test_performance.py."""
    if not SPY.exists():
        pytest.skip("the price history is not here")
    with SPY.open() as file:
        rows = [(row["Date"], float(row["Adj Close"])) for row in csv.DictReader(file)][:400]
    points = [
        (datetime.fromisoformat(day).replace(hour=16, tzinfo=NEW_YORK), close, 0.0)
        for day, close in rows
    ]
    curve, today = curve_of(points), date.fromisoformat(rows[-1][0]) + timedelta(days=1)
    first = next(
        n for n, (day, _) in enumerate(rows)
        if date.fromisoformat(day) > today - timedelta(days=90)
    )  # fmt: skip
    returns = performance.period_returns([close for _, close in rows[first - 1 :]])
    assert len(returns) > 50
    found = live_numbers(curve, today, 252).windows["90d"]
    assert found.total_return == pytest.approx(performance.total_return(returns))
    assert found.volatility == pytest.approx(performance.volatility(returns))
    assert found.sharpe == pytest.approx(performance.sharpe(returns))
    assert found.win_rate == performance.win_rate(returns)
    assert EquityCurve.from_json(curve.to_json()).past[-50:] == curve.past[-50:]


def test_a_weekend_is_no_day_without_risk() -> None:
    """An account is asked every day. What it says then belongs to the next session."""
    closes = {1: 1000, 2: 1010, 3: 990, 4: 1005, 5: 1002, 6: 1020, 9: 1011, 10: 1030, 11: 1025}
    closes |= {12: 1040, 13: 1033, 16: 1050, 17: 1044}
    points, equity = [], 1000.0
    for day in range(1, 18):
        equity = closes.get(day, equity + 1)
        points.append((datetime(2026, 11, day, 21, tzinfo=UTC), equity, 0.0))
    today = date(2026, 11, 17)
    found = live_numbers(curve_of(points), today, 252, lambda day: day.weekday() < 5)
    returns = performance.period_returns([v for day, v in closes.items() if day > 1])
    first = closes[2] / closes[1] - 1
    assert found.windows["30d"].sharpe == pytest.approx(performance.sharpe([first, *returns]))
    assert found.windows["30d"].win_rate == performance.win_rate([first, *returns])
    assert found.windows["30d"].total_return == pytest.approx(0.044)
    on_sunday = live_numbers(
        curve_of(points[:8]), date(2026, 11, 8), 252, lambda d: d.weekday() < 5
    )
    assert on_sunday.windows["30d"].total_return == pytest.approx(0.022)


def test_the_first_day_of_a_curve_is_no_return() -> None:
    """Nothing was held before its first point; later points of that day are returns."""
    numbers = live_numbers(curve_of([(FRIDAY, 1000, 0)]), date(2026, 11, 20), 252)
    assert math.isnan(numbers.windows["30d"].total_return)
    assert math.isnan(numbers.windows["30d"].win_rate)
    within = curve_of([(FRIDAY, 1000, 0), (FRIDAY + timedelta(hours=1), 1100, 0)])
    window = live_numbers(within, date(2026, 11, 20), 252).windows["30d"]
    assert window.total_return == pytest.approx(0.1)
    assert EquityCurve.from_json(curve_of([(FRIDAY, 1000, 0)]).to_json()).today.growth != 1


@given(st.lists(st.tuples(st.floats(0.5, 1.5), st.floats(-0.3, 2.0)), min_size=1, max_size=40))
def test_flows_change_no_return_of_a_day(steps: list[tuple[float, float]]) -> None:
    """Whatever is paid in or out, and however many points a day has."""
    at, equity, plain = FRIDAY, 1000.0, 1.0
    points = [(at, equity, 0.0)]
    for growth, share in steps:
        at += timedelta(hours=7)
        grown = equity * growth
        equity = grown * (1 + share)
        plain *= growth
        points.append((at, equity, grown * share))
    curve = curve_of(points)
    found = live_numbers(curve, at.astimezone(NEW_YORK).date(), 252)
    assert found.windows["30d"].total_return == pytest.approx(plain - 1, rel=1e-6, abs=1e-9)


def test_time_under_water_starts_at_the_last_peak_and_survives_a_restart() -> None:
    days = {0: 100, 1: 120, 3: 110, 4: 115}
    curve = curve_of([(FRIDAY + timedelta(days=n), value, 0) for n, value in days.items()])
    assert curve.peak_at == (FRIDAY + timedelta(days=1)).timestamp()
    assert EquityCurve.from_json(curve.to_json()) == curve
    again = curve.add(EquityPoint(curve.at + 60, 120), NEW_YORK)
    assert again.peak_at == again.at
    assert curve.reset_peak().peak_at == curve.at


def test_a_curve_of_an_older_version_has_no_returns_yet() -> None:
    """Its days are known, what they returned is not."""
    data = curve_of([(FRIDAY, 100, 0), (FRIDAY + timedelta(days=3), 90, 0)]).to_json()
    del data["day_growth"], data["peak_at"]
    data["past"] = [row[:5] for row in data["past"]]
    curve = EquityCurve.from_json(data)
    numbers = live_numbers(curve, date(2026, 11, 23), 252)
    assert numbers.pnl_week == -10
    assert math.isnan(curve.peak_at)


def test_exposure_needs_prices() -> None:
    held = [Position("A", Decimal(10), Decimal(5)), Position("B", Decimal(-1), Decimal(50))]
    assert exposure(held, 200) == 0.5
    assert exposure([], 200) == 0
    assert math.isnan(exposure([Position("A", Decimal(1))], 200))
    assert math.isnan(live_numbers(EquityCurve(), date(2026, 1, 1), 252).pnl_week)
