"""Formulas against an independent library, against their definitions, and on random curves.

The fixed values were made by empyrical-reloaded 0.7.1 (pandas 3.1.1, numpy 2.4.6), functions
cum_returns_final, annual_return, annual_volatility, sharpe_ratio, sortino_ratio and max_drawdown of
`pd.Series(closes).pct_change().dropna()`: of the whole history of SPY with 252 periods a year, and
of every 63rd close of it with `annualization=4`.
"""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.strategies import performance

SPY = Path(__file__).parents[4] / "shared/data/spy_daily_2008_2018.csv"

# Adjusted closes of SPY, every 63rd trading day from 31 December 2007 on.
QUARTERS = [
    118.624741, 111.458008, 105.197914, 95.595375, 73.92157, 67.831535, 77.698746, 89.280731,
    95.652527, 100.553444, 88.13269, 98.408264, 108.971817, 115.425835, 115.455704, 102.053139,
    111.611977, 125.158249, 121.59861, 129.316711, 132.12442, 141.616547, 147.31662, 155.285904,
    168.80899, 174.846817, 184.59787, 181.886292, 193.286972, 196.418015, 196.272079, 186.152145,
    193.041077, 197.096573, 202.216141, 210.424698, 220.944565, 231.994171, 240.342651, 251.574097,
]  # fmt: skip

RETURNS = st.lists(st.floats(-0.9, 2.0), min_size=2, max_size=60)


def test_a_decade_of_spy_gives_what_an_independent_library_computes() -> None:
    if not SPY.exists():
        pytest.skip("the price history is not here")
    with SPY.open() as file:
        closes = [float(row["Adj Close"]) for row in csv.DictReader(file)]
    returns = performance.period_returns(closes)
    near = {"rel": 1e-9}
    assert performance.total_return(returns) == pytest.approx(1.2496149011612996, **near)
    assert performance.cagr(returns) == pytest.approx(0.0845230463393345, **near)
    assert performance.volatility(returns) == pytest.approx(0.20343319714284389, **near)
    assert performance.sharpe(returns) == pytest.approx(0.5005000509394454, **near)
    assert performance.sharpe(returns, risk_free=1e-4) == pytest.approx(0.37662646317734794, **near)
    assert performance.sortino(returns) == pytest.approx(0.7101534189993921, **near)
    assert performance.sortino(returns, target=1e-4) == pytest.approx(0.5319100252081748, **near)
    assert performance.win_rate(returns) == pytest.approx(0.551394422310757, **near)
    # From the first day on under water, deepest on 9 March 2009, recovered on 29 April 2011.
    found = performance.max_drawdown(returns)
    assert found.depth == pytest.approx(0.522950848845268, **near)
    assert (found.peak, found.trough, found.recovered, found.length) == (0, 298, 839, 839)


def test_quarters_of_spy_give_what_an_independent_library_computes() -> None:
    returns = performance.period_returns(QUARTERS)
    near = {"rel": 1e-9}
    assert performance.total_return(returns) == pytest.approx(1.1207557114919227, **near)
    assert performance.cagr(returns, 4) == pytest.approx(0.08015534749090447, **near)
    assert performance.volatility(returns, 4) == pytest.approx(0.15631001103498, **near)
    assert performance.sharpe(returns, 4) == pytest.approx(0.5772583435753679, **near)
    assert performance.sortino(returns, 4) == pytest.approx(0.8664203425712655, **near)
    assert performance.max_drawdown(returns).depth == pytest.approx(0.4281839148546591, **near)


def test_a_deposit_is_no_return() -> None:
    # 10 % on 1000, then 400 come in, then 10 % on 1500.
    returns = performance.period_returns([1000, 1500, 1650], [0, 400, 0])
    assert returns == pytest.approx([0.1, 0.1])


def test_a_period_without_capital_has_no_return() -> None:
    assert performance.period_returns([0, 100, 110]) == pytest.approx([0.1])
    with pytest.raises(ValueError, match="2 values of equity need as many flows, not 1"):
        performance.period_returns([1, 2], [0])


def test_too_few_values_are_nan_and_nothing_raises() -> None:
    for function in (performance.total_return, performance.win_rate, performance.time_in_market):
        assert math.isnan(function([]))
    for function in (performance.volatility, performance.sharpe, performance.sortino):
        assert math.isnan(function([]))
        assert math.isnan(function([0.01]))
    assert math.isnan(performance.cagr([]))
    assert math.isnan(performance.gross_exposure([100.0], 0.0))
    assert performance.max_drawdown([]) == performance.Drawdown(0.0, 0, 0, None, 0)


def test_what_does_not_vary_has_no_ratio_whatever_float_rounding_says() -> None:
    steady = [0.1 + 0.2 - 0.2] * 50 + [0.1] * 50
    assert performance.volatility(steady) == 0
    assert math.isnan(performance.sharpe(steady))
    assert math.isnan(performance.sortino(steady))


def test_a_total_loss_stays_one() -> None:
    returns = [0.5, -1.2, 3.0]
    assert performance.total_return(returns) == -1
    assert performance.cagr(returns) == -1
    assert performance.max_drawdown(returns).depth == 1


def test_a_drawdown_that_goes_on_ends_with_the_curve() -> None:
    found = performance.max_drawdown([0.1, -0.2, 0.05, 0.05])
    assert found.depth == pytest.approx(0.2)
    assert (found.peak, found.trough, found.recovered, found.length) == (1, 2, None, 3)


def test_the_longest_drawdown_need_not_be_the_deepest() -> None:
    deep = [-0.5, 1.0]
    long = [-0.01, 0.0, 0.0, 0.02]
    assert performance.max_drawdown([*deep, *long]).length == 2
    assert performance.longest_under_water([*deep, *long]) == 4
    assert performance.longest_under_water([0.1, 0.1, 0.0]) == 0
    assert performance.longest_under_water([0.1, -0.1, -0.1]) == 2


def test_a_trade_that_won_nothing_is_neither_won_nor_lost() -> None:
    assert performance.win_rate([10, -5, 0, 3]) == pytest.approx(2 / 3)
    assert performance.time_in_market([0, 3, -2, 0]) == 0.5
    assert performance.gross_exposure([600, -900], 1000) == 1.5


@given(RETURNS, st.floats(0.001, 1e6))
def test_no_number_depends_on_the_size_of_the_account(returns: list[float], size: float) -> None:
    equity = [size]
    for value in returns:
        equity.append(equity[-1] * (1 + value))
    again = performance.period_returns(equity)
    assert again == pytest.approx(returns, abs=1e-9)
    assert performance.total_return(again) == pytest.approx(equity[-1] / size - 1, rel=1e-6)


@given(RETURNS, st.lists(st.floats(-0.4, 2.0), min_size=60, max_size=60))
def test_flows_change_no_return(returns: list[float], shares: list[float]) -> None:
    equity, flows = [1000.0], [0.0]
    for value, share in zip(returns, shares, strict=False):
        before_flow = equity[-1] * (1 + value)
        flows.append(before_flow * share)
        equity.append(before_flow + flows[-1])
    assert performance.period_returns(equity, flows) == pytest.approx(returns, abs=1e-9)


@given(RETURNS)
def test_a_drawdown_is_the_worst_pair_of_a_curve(returns: list[float]) -> None:
    curve = [1.0]
    for value in returns:
        curve.append(curve[-1] * (1 + value))
    worst = max(1 - low / high for n, high in enumerate(curve) for low in curve[n:])
    found = performance.max_drawdown(returns)
    assert found.depth == pytest.approx(worst, abs=1e-12)
    assert 0 <= found.peak <= found.trough <= found.peak + found.length <= len(returns)
    assert performance.longest_under_water(returns) >= found.length
    if found.recovered is not None:
        assert curve[found.recovered] >= curve[found.peak]


@given(RETURNS, st.floats(1, 400))
def test_ratios_scale_by_the_square_root_of_time(returns: list[float], periods: float) -> None:
    for ratio in (performance.sharpe, performance.sortino, performance.volatility):
        once, scaled = ratio(returns, 1), ratio(returns, periods)
        assert math.isnan(once) == math.isnan(scaled)
        if not math.isnan(once):
            assert scaled == pytest.approx(once * math.sqrt(periods))
