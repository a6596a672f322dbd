"""Positions of a strategy against those of its account."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from exporter.config import Strategy
from exporter.state.ledger import Position
from tests.unit.limits.test_limits import Limited, limit

ACCOUNT = "alpaca"
STRATEGY = Strategy.model_validate(
    {"equity": {"from": ACCOUNT, "key_env": "KEY", "secret_env": "SECRET"}}
)


class Sides:
    """A strategy and its account under one limit."""

    def __init__(self, of: str = "position_difference", **keys: Any) -> None:
        self.sections: dict[str, Any] = {
            "strategies": {"m": STRATEGY},
            "limits": {"held": limit(of=of, max={"warning": 0.5, "critical": 5}, **keys)},
        }
        self.limited = Limited(**self.sections)
        self.clock = self.limited.desk.clock

    async def own(self, **held: str) -> None:
        await self._set("strategy", held)

    async def account(self, origin: str = ACCOUNT, **held: str) -> None:
        await self._set(origin, held)

    async def _set(self, origin: str, held: dict[str, str], as_of: float | None = None) -> None:
        self.clock.advance(10)
        positions = [Position(symbol, Decimal(quantity)) for symbol, quantity in held.items()]
        holdings = self.limited.strategies.holdings
        await holdings.set_positions("m", positions, as_of or self.clock.now(), origin)

    def value(self, symbol: str = "") -> float | None:
        subject = f"symbol={symbol}" if symbol else ""
        return self.limited.value("quant_limit_value", limit="held", strategy="m", subject=subject)

    def is_unknown(self) -> bool:
        found = self.limited.value("quant_limit_unknown", limit="held", strategy="m")
        assert found is not None
        return found == 1

    @property
    def why(self) -> str:
        """Nobody knows it."""
        return self.limited.service.unknown(self.clock.now()).get(("held", "m"), "")


@pytest.fixture
def sides() -> Callable[..., Sides]:
    return Sides


async def test_the_worst_symbol_is_named(sides: Callable[..., Sides]) -> None:
    """Whoever does not name a symbol does not hold it; short is negative."""
    both = sides()
    await both.own(AAPL="10", TSLA="-5", SPY="3")
    await both.account(AAPL="9", TSLA="5", GLD="2")
    assert both.value("TSLA") == 10
    assert both.value() is None
    await both.account(AAPL="10", TSLA="-5", SPY="3.0")
    assert both.value() == 0
    assert not both.is_unknown()
    await both.own()
    await both.account(SPY="3")
    assert both.value("SPY") == 3


async def test_a_side_that_never_came_is_unknown_and_not_equal(
    sides: Callable[..., Sides],
) -> None:
    """Neither side, or one of them alone."""
    both = sides()
    assert both.is_unknown()
    await both.own(AAPL="10")
    value = both.value()
    assert value is not None
    assert math.isnan(value)
    assert both.is_unknown()
    await both.account(AAPL="10")
    assert both.value() == 0
    assert not both.is_unknown()


async def test_an_account_that_was_asked_before_an_order_is_not_compared_with_what_came_of_it(
    sides: Callable[..., Sides],
) -> None:
    """What was compared before stands until the account is asked again."""
    both = sides()
    await both.own(AAPL="10")
    await both.account(AAPL="10")
    assert both.value() == 0
    await both.own(AAPL="20")
    assert both.value() == 0
    await both.own(AAPL="20")  # the same again: the change is as old as it was
    await both.account(AAPL="12")
    assert both.value("AAPL") == 8
    await both.own(AAPL="20")
    assert both.value("AAPL") == 8


async def test_symbols_have_other_names_at_the_account(sides: Callable[..., Sides]) -> None:
    """Two of them may be one of the strategy's."""
    both = sides(symbols={"AAPL": "AAPL.US", "AAPL.FRAC": "AAPL.US"})
    await both.own(**{"AAPL.US": "10.5"})
    await both.account(**{"AAPL": "10", "AAPL.FRAC": "0.5"})
    assert both.value() == 0


async def test_a_ratio_is_a_share_of_the_larger_quantity(sides: Callable[..., Sides]) -> None:
    both = sides("position_difference_ratio")
    await both.own(BTC="0.5", AAPL="100")
    await both.account(BTC="0.25", AAPL="99")
    assert both.value("BTC") == 0.5
    info = both.limited.desk.value(
        "quant_limit_info", limit="held", measure="position_difference_ratio", unit="ratio"
    )
    assert info == 1


async def test_positions_that_are_too_old_are_unknown(sides: Callable[..., Sides]) -> None:
    """Of either side."""
    both = sides(max_age="10m")
    await both.own(AAPL="10")
    await both.account(AAPL="10")
    assert both.value() == 0
    both.clock.advance(595)
    assert both.is_unknown()
    assert both.why.startswith("the positions by m are of ")
    await both.own(AAPL="10")
    await both.account(AAPL="10")
    assert not both.is_unknown()


async def test_an_account_that_no_longer_answers_is_unknown_and_not_equal(
    sides: Callable[..., Sides],
) -> None:
    """Also without `max_age`: once it should have been asked three times. The strategy may be
    silent as long as nothing changes."""
    both = sides()
    await both.own(AAPL="10")
    assert both.why == "the account of m has not said its positions"
    await both.account(AAPL="10")
    both.clock.advance(899)
    assert both.value() == 0
    both.clock.advance(2)
    assert both.is_unknown()
    assert both.why.startswith("the account of m has not said its positions since 20")
    await both.account(AAPL="9")
    assert both.value("AAPL") == 1


async def test_a_statement_of_an_earlier_day_is_not_compared_with_the_orders_of_today(
    sides: Callable[..., Sides],
) -> None:
    """It is as old as its day, though it was fetched a moment ago."""
    both = sides()
    await both.own(AAPL="10")
    yesterday = both.clock.now() + 5
    both.clock.advance(3600)
    await both._set(ACCOUNT, {"AAPL": "10"}, yesterday)
    assert both.value() == 0
    await both.own(AAPL="20")
    await both._set(ACCOUNT, {"AAPL": "10"}, yesterday)
    assert both.value() == 0


async def test_each_answer_is_compared_once_however_seldom_anybody_looks(
    sides: Callable[..., Sides],
) -> None:
    """A strategy that trades every few seconds would else never be compared."""
    both = sides()
    await both.own(AAPL="10")
    await both.account(AAPL="7")
    await both.own(AAPL="11")
    assert both.value("AAPL") == 3


async def test_an_account_that_is_not_configured_any_more_is_not_compared_with(
    sides: Callable[..., Sides],
) -> None:
    """Nobody asks it again."""
    both = sides()
    await both.own(AAPL="10")
    await both.account("ib_flex", AAPL="7")
    await both.account(AAPL="10")
    assert both.value("AAPL") == 3
    both.limited.strategies.holdings.apply({"m": STRATEGY})
    await both.own(AAPL="10")
    assert both.value() == 0
    again = Limited(both.limited.desk, **both.sections)
    assert again.value("quant_limit_value", limit="held", strategy="m") == 0


async def test_what_was_reported_before_a_restart_is_compared_after_it(
    sides: Callable[..., Sides],
) -> None:
    """The moment of the strategy's change, too."""
    both = sides()
    await both.own(AAPL="10")
    await both.account(AAPL="10")
    await both.own(AAPL="20")
    again = Limited(both.limited.desk, **both.sections)
    assert again.value("quant_limit_unknown", limit="held", strategy="m") == 1
