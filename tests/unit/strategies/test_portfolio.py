"""The sum of all strategies: by currency, and in one of them by rates that may be missing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.config.portfolio_settings import PortfolioSettings
from exporter.strategies.portfolio import Quote, Total, Worth, by_currency

SETTINGS = PortfolioSettings.model_validate({
    "currency": "USD",
    "rates": {
        "EUR": {"feed": "fx", "symbol": "EURUSD"},
        "JPY": {"feed": "fx", "symbol": "USDJPY", "inverse": True},
    },
})  # fmt: skip
ALL = [
    Worth("a", "USD", 1000.0, 10.0), Worth("b", "EUR", 500.0, -5.0), Worth("c", "JPY", 15000.0, 0.0)
]  # fmt: skip


class Desk:
    """Rates of a feed."""

    def __init__(self, **prices: Any) -> None:
        self.quotes = {
            symbol: Quote(price, 5.0, 0.0)
            for symbol, price in ({"EURUSD": 1.1, "USDJPY": 150.0} | prices).items()
        }
        self.total = Total(SETTINGS, lambda feed, symbol: self.quotes.get(symbol))

    def value(self, name: str, currency: str = "USD") -> float:
        return next(
            value for found, labels, value in self.total.samples(ALL)
            if (found, tuple(labels)) == (name, (currency,))
        )  # fmt: skip


def test_a_total_is_the_sum_at_the_last_rates() -> None:
    """Of a currency whose symbol says it the other way round, by the inverse."""
    desk = Desk()
    assert desk.value("quant_portfolio_total_equity") == pytest.approx(1000 + 550 + 100)
    assert desk.value("quant_portfolio_total_pnl_today") == pytest.approx(10 - 5.5)
    assert desk.value("quant_portfolio_rate", "JPY") == pytest.approx(1 / 150)
    assert desk.value("quant_portfolio_rate_timestamp_seconds", "EUR") == 5
    assert desk.total.missing(ALL) == []
    sums = {(name, labels[0]): value for name, labels, value in by_currency([*ALL, ALL[0]])}
    assert sums["quant_portfolio_equity", "USD"] == 2000
    assert sums["quant_portfolio_pnl_today", "EUR"] == -5


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        (None, "the rate of EUR (EURUSD of the feed fx) has not come yet"),
        (Quote(math.nan, 5.0, 0.0), "has not come yet"),
        (Quote(0.0, 5.0, 0.0), "is 0"),
        (Quote(-1.0, 5.0, 0.0), "is -1"),
        (Quote(math.inf, 5.0, 0.0), "is inf"),
        (Quote(1.1, 5.0, 3601.0), "is older than `portfolio.max_overdue` allows"),
    ],
)
def test_without_a_good_rate_there_is_no_total(quote: Quote | None, said: str) -> None:
    """A sum that leaves a currency out, or has it at last week's rate, would look right."""
    desk = Desk()
    desk.quotes["EURUSD"] = quote  # type: ignore[assignment]
    assert math.isnan(desk.value("quant_portfolio_total_equity"))
    assert math.isnan(desk.value("quant_portfolio_total_pnl_today"))
    assert math.isnan(desk.value("quant_portfolio_rate", "EUR"))
    (text,) = desk.total.missing(ALL)
    assert said in text
    only_usd = [ALL[0]]
    assert desk.total.missing(only_usd) == []
    assert list(desk.total.samples(only_usd))[-2][2] == 1000


def test_a_strategy_without_equity_leaves_no_total() -> None:
    """By currency it is left out."""
    unknown = [*ALL, Worth("d", "USD", math.nan, math.nan)]
    assert Desk().total.missing(unknown) == ["d has no equity yet"]
    assert math.isnan(list(Desk().total.samples(unknown))[-2][2])
    assert {n: v for n, (c,), v in by_currency(unknown) if c == "USD"} == {
        "quant_portfolio_equity": 1000, "quant_portfolio_pnl_today": 10,
    }  # fmt: skip


@given(st.floats(1e-4, 1e4), st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_a_total_scales_with_its_rate(rate: float, equities: list[float]) -> None:
    """And there and back is the same."""
    all_worth = [Worth(str(n), "EUR", equity, equity / 100) for n, equity in enumerate(equities)]
    total = Total(SETTINGS, lambda *_: Quote(rate, 5.0, 0.0))
    found = list(total.samples(all_worth))[-2][2]
    assert found == pytest.approx(math.fsum(equities) * rate, rel=1e-9, abs=1e-3)


def test_the_currency_of_the_total_needs_no_rate() -> None:
    with pytest.raises(ValidationError, match="the currency of the total: leave it out"):
        PortfolioSettings.model_validate({"rates": {"USD": {"feed": "f", "symbol": "s"}}})
