"""The sum of all strategies, by currency and in one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.config.portfolio_settings import PortfolioSettings, RateSettings
from exporter.metrics import Sample
from exporter.util.nan import NAN


@dataclass(frozen=True)
class Quote:
    """The last price of a symbol. Times are Unix seconds."""

    price: float
    at: float
    overdue: float
    """For how many seconds its newest bar has been due."""


@dataclass(frozen=True)
class Worth:
    """What a strategy has, in its currency; NaN while its equity is not known."""

    name: str
    currency: str
    equity: float
    pnl_today: float


Quotes = Callable[[str, str], Quote | None]
"""By feed and symbol; None when there is none."""


def by_currency(all_worth: list[Worth]) -> Iterator[Sample]:
    """Sums; strategies without equity are left out."""
    totals: dict[str, tuple[float, float]] = {}
    for one in all_worth:
        if not math.isnan(one.equity):
            equity, pnl = totals.get(one.currency, (0.0, 0.0))
            totals[one.currency] = equity + one.equity, pnl + one.pnl_today
    for currency, (equity, pnl) in totals.items():
        yield "quant_portfolio_equity", (currency,), equity
        yield "quant_portfolio_pnl_today", (currency,), pnl


class Total:
    """All strategies in one currency, by the last prices of feeds. What lacks a rate has no total:
    a sum without it would look like a loss."""

    def __init__(self, settings: PortfolioSettings, quotes: Quotes) -> None:
        self._settings, self._quotes = settings, quotes

    def samples(self, all_worth: list[Worth]) -> Iterator[Sample]:
        """NaN while :meth:`missing` says something."""
        for name, rate in self._settings.rates.items():
            quote = self._quotes(rate.feed, rate.symbol)
            yield "quant_portfolio_rate", (name,), self._rate(name, rate)
            at = quote.at if quote else NAN
            yield "quant_portfolio_rate_timestamp_seconds", (name,), at
        equity, pnl = self.sums(all_worth)
        yield "quant_portfolio_total_equity", (self.currency,), equity
        yield "quant_portfolio_total_pnl_today", (self.currency,), pnl

    def sums(self, all_worth: list[Worth]) -> tuple[float, float]:
        """Equity and profit of today; NaN while :meth:`missing` says something."""
        rates = {name: self._rate(name, rate) for name, rate in self._settings.rates.items()}
        rates[self.currency] = 1.0
        pairs = [(one, rates.get(one.currency, NAN)) for one in all_worth]
        if not pairs:
            return NAN, NAN
        return (
            math.fsum(one.equity * factor for one, factor in pairs),
            math.fsum(one.pnl_today * factor for one, factor in pairs),
        )

    @property
    def currency(self) -> str:
        """What it is in."""
        return self._settings.currency

    def _rate(self, name: str, rate: RateSettings) -> float:
        quote = self._quotes(rate.feed, rate.symbol)
        return NAN if self._problem(name, rate, quote) else _value(rate, quote)

    def missing(self, all_worth: list[Worth]) -> list[str]:
        """Why there is no total, in words."""
        used = {one.currency for one in all_worth}
        found = [f"{one.name} has no equity yet" for one in all_worth if math.isnan(one.equity)]
        for name, rate in self._settings.rates.items():
            problem = self._problem(name, rate, self._quotes(rate.feed, rate.symbol))
            if name in used and problem:
                found.append(problem)
        return found

    def _problem(self, currency: str, rate: RateSettings, quote: Quote | None) -> str:
        what = f"the rate of {currency} ({rate.symbol} of the feed {rate.feed})"
        if quote is None or math.isnan(quote.price):
            return f"{what} has not come yet"
        if not 0 < quote.price < math.inf:
            return f"{what} is {quote.price:g}"
        if quote.overdue > self._settings.max_overdue:
            return f"{what} is older than `portfolio.max_overdue` allows"
        return ""


def _value(rate: RateSettings, quote: Quote | None) -> float:
    price = quote.price if quote else NAN
    return 1 / price if rate.inverse else price
