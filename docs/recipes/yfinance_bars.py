"""Bars of Yahoo Finance, for a source of type python (pip install yfinance).

sources:
  yahoo: {type: python, run: "yfinance_bars:bars", requests_per_minute: 30,
          symbols: {AAPL.US: AAPL}, intervals: {1m: 1m, 1h: 1h, 1d: 1d}}

Prices are not adjusted. Yahoo may be 15 minutes late, so at least an hour is asked for: give the
feed a `delay` of 20m.
Interface: https://ranaroussi.github.io/yfinance/reference/api/yfinance.Ticker.history.html
"""

from datetime import UTC, datetime

import yfinance


def bars(symbol, interval, start, end):
    try:
        frame = yfinance.Ticker(symbol).history(
            interval=interval,
            start=datetime.fromtimestamp(min(start, end - 3600), UTC),
            end=datetime.fromtimestamp(end, UTC),
            auto_adjust=False,
            raise_errors=True,
        )
    except Exception as error:
        if type(error).__name__ != "YFPricesMissingError":
            raise
        return []  # nobody traded in that time
    # The minute that has just begun may come without prices. The index knows its zone.
    return frame[["Open", "High", "Low", "Close", "Volume"]].dropna()
