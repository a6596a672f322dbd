"""The section on the total of all strategies: its currency, and the rates of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from exporter.config.config_errors import Mistake
from exporter.config.types import Model
from exporter.util.units import Duration

if TYPE_CHECKING:
    from exporter.config.market_data import Feed
    from exporter.config.task_keys import Strategy

CURRENCY = r"^[A-Z]{3,5}$"


class RateSettings(Model):
    """What one unit of a currency is worth in that of the total: a symbol's last price."""

    feed: str
    symbol: str
    inverse: bool = False
    """The symbol says how many units one unit of the total's currency is, as USDJPY for JPY."""


class PortfolioSettings(Model):
    """The total of all strategies."""

    currency: str = Field("USD", pattern=CURRENCY)
    rates: Mapping[str, RateSettings] = {}
    """By currency."""
    max_overdue: Duration = 3600.0
    """A rate whose newest bar has been due for longer is not used."""

    @model_validator(mode="after")
    def _rates_are_of_others(self) -> PortfolioSettings:
        if self.currency in self.rates:
            raise ValueError(
                f"`rates` has {self.currency}, the currency of the total: leave it out"
            )
        return self


def portfolio_mistakes(
    portfolio: PortfolioSettings | None,
    named: Mapping[str, Mapping[str, Any]],
    unsure: Collection[str],
) -> Iterator[Mistake]:
    """Feeds and symbols that are not there, and currencies without a rate."""
    if portfolio is None:
        return
    feeds: Mapping[str, Feed | None] = named["feeds"]
    for currency, rate in portfolio.rates.items():
        place = f"portfolio.rates.{currency}"
        if "feeds" not in unsure and rate.feed not in feeds:
            known = f"write one of {', '.join(feeds)}" if feeds else "add it to `feeds:`"
            yield Mistake(f"{place}.feed", f"unknown feed {rate.feed!r}: {known}")
        elif (feed := feeds.get(rate.feed)) and rate.symbol not in feed.symbols:
            text = f"the feed {rate.feed} has no symbol {rate.symbol!r}: add it to its `symbols`"
            yield Mistake(f"{place}.symbol", text)
    strategies: Mapping[str, Strategy | None] = named["strategies"]
    for name, strategy in strategies.items():
        if strategy and strategy.currency not in {portfolio.currency, *portfolio.rates}:
            yield Mistake(
                "portfolio.rates",
                f"no rate for {strategy.currency}, the currency of the strategy {name}: add "
                f"`{strategy.currency}: {{feed: …, symbol: …}}`",
            )
