"""From targets to equity: the next bar, costs, trades, ruin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backtests.trading import Account, simulate
from tests.unit.backtests.bars import FREE, bars, random_bars


def test_a_position_acts_on_the_next_bar() -> None:
    """Bought at the open of the bar after the signal, not at a price that was known with it."""
    table = bars([100, 110, 121, 121], opens=[100, 100, 112, 121])
    done = simulate(table, np.array([0.0, 1.0, 1.0, 1.0]), FREE)
    assert done.equity.tolist() == pytest.approx(
        [10_000, 10_000, 10_000 * 121 / 112, 10_000 * 121 / 112]
    )
    assert done.trades[0].opened_price == 112


def test_knowing_a_bar_at_its_close_earns_nothing_of_that_bar() -> None:
    """The sign of each bar as its position: with the same bar's return it would multiply the
    account; on the next bars of a random walk it is worth about nothing."""
    table = random_bars(2000)
    targets = np.sign(table.close - table.open)
    done = simulate(table, targets, FREE)
    cheated = np.prod(1 + np.abs(table.close / table.open - 1))
    assert cheated > 1000
    assert 0.2 < done.equity[-1] / 10_000 < 5


def test_costs_and_slippage_are_paid_on_both_sides() -> None:
    """A purchase pays more than the open, a sale gets less, and both pay costs."""
    table = bars([100.0] * 4)
    done = simulate(table, np.array([1.0, 0.0, 0.0, 0.0]), Account(10_000.0, 0.001, 0.01))
    bought = 100 * 101.0
    sold = 100 * 99.0
    expected = 10_000 - bought * 1.001 + sold * 0.999
    assert done.equity[-1] == pytest.approx(expected)
    (trade,) = done.trades
    assert trade.profit == pytest.approx(expected - 10_000)
    assert done.traded == pytest.approx(bought + sold)


def test_a_position_keeps_its_quantity_until_the_target_changes() -> None:
    """Half of the capital stays a number of shares while prices move: no trade, no costs."""
    table = bars([100.0, 100.0, 200.0, 50.0])
    done = simulate(table, np.array([0.5, 0.5, 0.5, 0.5]), Account(10_000.0, 0.01, 0.0))
    assert len(done.trades) == 1
    assert done.traded == pytest.approx(5_000)
    assert done.held[2] > 0.5


def test_turning_round_closes_one_trade_and_opens_the_other() -> None:
    """Long, then short, then out."""
    table = bars([100.0, 100.0, 110.0, 110.0, 99.0, 99.0])
    done = simulate(table, np.array([1.0, 1.0, -1.0, -1.0, 0.0, 0.0]), FREE)
    first, second = done.trades
    assert (first.quantity, second.quantity) == (pytest.approx(100), pytest.approx(-100))
    assert first.profit == pytest.approx(1_000)
    assert second.profit == pytest.approx(1_100)
    assert done.equity[-1] == pytest.approx(12_100)


def test_an_account_that_lost_everything_stays_at_nothing() -> None:
    """Sold short three times over, and the price doubles."""
    table = bars([100.0, 100.0, 200.0, 10.0])
    done = simulate(table, np.array([-3.0] * 4), FREE)
    assert done.equity.tolist() == [10_000, 10_000, 0, 0]
    assert done.held[-1] == 0


def test_a_position_at_the_end_is_an_open_trade() -> None:
    """It has a profit so far, and no end."""
    done = simulate(bars([100.0, 100.0, 150.0]), np.ones(3), FREE)
    (trade,) = done.trades
    assert trade.closed_at is None
    assert trade.profit == pytest.approx(5_000)


@given(
    targets=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0]), min_size=2, max_size=40),
    seed=st.integers(0, 1000),
)
def test_profits_of_trades_add_up_to_the_equity(targets: list[float], seed: int) -> None:
    """Nothing is earned or lost outside trades, whatever the targets."""
    table = random_bars(len(targets), seed)
    done = simulate(table, np.array(targets), Account(1_000.0, 0.002, 0.001))
    assert sum(trade.profit for trade in done.trades) == pytest.approx(done.equity[-1] - 1_000)


@pytest.mark.parametrize("targets", [[1.0, np.nan], [np.inf, 0.0], [1.0]])
def test_impossible_targets_are_refused(targets: list[float]) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="target"):
        simulate(bars([100.0, 101.0]), np.array(targets), FREE)
