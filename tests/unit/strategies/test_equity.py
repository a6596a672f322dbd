"""Equity to drawdown, flows taken out."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.strategies.equity import EquityCurve, EquityDay
from exporter.strategies.equity_point import EquityPoint

NEW_YORK = ZoneInfo("America/New_York")
DAY = 86400.0
NOON = 1_790_006_400.0  # 2026-09-21 12:00 in New York


def curve(*points: tuple[float, float, float]) -> EquityCurve:
    """A curve of (day, equity, flow)."""
    built = EquityCurve()
    for day, equity, flow in points:
        built = built.add(EquityPoint(NOON + day * DAY, equity, flow), NEW_YORK)
    return built


def test_nothing_is_known_before_the_first_point() -> None:
    """NaN, not 0: no equity is not the same as no money."""
    empty = EquityCurve()
    assert math.isnan(empty.equity)
    assert math.isnan(empty.drawdown)
    assert math.isnan(empty.pnl_on(NOON, NEW_YORK))


def test_drawdown_is_measured_from_the_highest_equity() -> None:
    """100, 120, 90: a quarter below the peak."""
    assert curve((0, 100, 0), (1, 120, 0), (2, 90, 0)).drawdown == pytest.approx(0.25)


def test_a_withdrawal_is_no_loss_and_a_deposit_no_recovery() -> None:
    """The drawdown before a flow and after it is the same, at the peak and below it."""
    at_peak = curve((0, 100, 0), (1, 40, -60))
    assert at_peak.drawdown == 0
    below = curve((0, 100, 0), (1, 90, 0))
    assert below.drawdown == pytest.approx(0.10)
    for flow in (-45.0, 500.0):
        after = below.add(EquityPoint(NOON + 2 * DAY, 90 + flow, flow), NEW_YORK)
        assert after.drawdown == pytest.approx(0.10)


def test_profit_that_comes_with_a_flow_counts() -> None:
    """From 100 to 110 by trading, then 50 withdrawn: a new peak, no drawdown, 10 earned."""
    both = curve((0, 100, 0), (0.01, 60, -50))
    assert both.drawdown == 0
    assert both.pnl_on(NOON, NEW_YORK) == pytest.approx(10)


def test_an_account_that_was_emptied_starts_afresh() -> None:
    """All withdrawn, later funded again: no drawdown from the old life."""
    assert curve((0, 100, 0), (1, 0, -100), (2, 70, 70)).drawdown == 0


def test_a_lost_account_is_a_drawdown_of_one() -> None:
    """Also below zero: the range is 0 to 1."""
    assert curve((0, 100, 0), (1, 0, 0)).drawdown == 1
    assert curve((0, 100, 0), (1, -20, 0)).drawdown == 1


def test_points_that_are_older_change_nothing() -> None:
    """A file that is read again, or a late row, cannot count twice."""
    known = curve((0, 100, 0), (1, 90, 0))
    assert known.add(EquityPoint(NOON, 500, 400), NEW_YORK) == known


def test_the_day_begins_at_local_midnight() -> None:
    """P&L counts from the last equity of the day before, and is 0 on a day without a point."""
    built = curve((0, 100, 0), (1, 104, 0), (1.1, 110, 5))
    assert built.pnl_on(NOON + DAY, NEW_YORK) == pytest.approx(5)
    assert built.pnl_on(NOON + 2 * DAY, NEW_YORK) == 0


def test_each_day_counts_from_the_equity_of_the_day_before() -> None:
    """Not from that of the first day, and its flows are its own."""
    built = curve((0, 100, 0), (1, 154, 50), (2, 150, 0), (2.1, 160, 0), (3, 163, 0))
    assert built.pnl_on(NOON + 3 * DAY, NEW_YORK) == pytest.approx(3)
    assert built.rewind().pnl_on(NOON + 2 * DAY, NEW_YORK) == pytest.approx(6)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=50))
def test_without_flows_it_is_the_textbook_drawdown(equities: list[float]) -> None:
    """Against the definition, computed from the whole list."""
    built = curve(*((i, e, 0.0) for i, e in enumerate(equities)))
    peak = max(equities)
    assert built.drawdown == pytest.approx((peak - equities[-1]) / peak)


@given(
    st.lists(st.tuples(st.floats(0.5, 2), st.floats(-0.9, 3)), min_size=1, max_size=30),
)
def test_with_flows_it_is_the_drawdown_of_the_unit_price(steps: list[tuple[float, float]]) -> None:
    """A fund's unit price knows no flows: returns multiplied up, whatever came in or went out."""
    unit, best, equity = 1.0, 1.0, 1000.0
    points = [(0.0, equity, 0.0)]
    for number, (growth, share) in enumerate(steps, 1):
        unit *= growth
        best = max(best, unit)
        flow = equity * growth * share
        equity = equity * growth + flow
        points.append((float(number), equity, flow))
    assert curve(*points).drawdown == pytest.approx((best - unit) / best, abs=1e-9)


def test_a_curve_survives_being_kept() -> None:
    """JSON knows no NaN."""
    for known in (EquityCurve(), curve((0, 100, 0), (1, 90, 0))):
        again = EquityCurve.from_json(known.to_json())
        assert again.to_json() == known.to_json()


def test_a_curve_knows_its_past_days() -> None:
    """Each with its end, its profit without flows, and the deepest drawdown in between; also when
    it was kept, and when the newest point is written again."""
    days = curve(
        (0, 100, 0), (0.1, 80, 0), (0.2, 110, 0),
        (1, 220, 110), (1.1, 209, 0),
        (3, 198, 0),
    )  # fmt: skip
    near = pytest.approx
    assert days.past == (
        EquityDay("2026-09-21", 110, 10, 0.0, near(0.2), near(1.1)),
        EquityDay("2026-09-22", 209, -11, near(0.05), near(0.05), near(0.95)),
    )
    assert days.today == EquityDay("2026-09-24", 198, -11, near(0.1), near(0.1), near(198 / 209))
    assert days.on("2026-09-22") == days.past[1]
    assert days.on("2026-09-23") is None
    again = EquityCurve.from_json(days.to_json())
    assert again.to_json() == days.to_json()
    assert again.rewind().add(EquityPoint(days.at, 230.0, 0.0), NEW_YORK).past == days.past


def test_a_curve_forgets_days_that_are_long_past() -> None:
    """A quarter is enough."""
    days = curve(*((n, 100.0 + n, 0.0) for n in range(140)))
    assert len(days.past) == 100
    assert days.past[-1].pnl == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "100"])
def test_equity_that_is_no_number_is_refused(value: object) -> None:
    """With a sentence."""
    with pytest.raises(ValueError, match="equity must be a"):
        EquityPoint(NOON, value)  # type: ignore[arg-type]
