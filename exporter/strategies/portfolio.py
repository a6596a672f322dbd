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
        currency = self._settings.currency
        rates = {currency: 1.0}
        for name, rate in self._settings.rates.items():
            quote = self._quotes(rate.feed, rate.symbol)
            rates[name] = NAN if self._problem(name, rate, quote) else _value(rate, quote)
            yield "quant_portfolio_rate", (name,), rates[name]
            at = quote.at if quote else NAN
            yield "quant_portfolio_rate_timestamp_seconds", (name,), at
        factors = [rates.get(one.currency, NAN) for one in all_worth]
        pairs = list(zip(all_worth, factors, strict=True))
        equity = math.fsum(one.equity * factor for one, factor in pairs) if pairs else NAN
        pnl = math.fsum(one.pnl_today * factor for one, factor in pairs) if pairs else NAN
        yield "quant_portfolio_total_equity", (currency,), equity
        yield "quant_portfolio_total_pnl_today", (currency,), pnl

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
