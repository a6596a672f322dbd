"""Bars of Yahoo Finance, for a source of type python (pip install yfinance).

sources:
  yahoo: {type: python, run: "yfinance_bars:bars", requests_per_minute: 30,
          symbols: {AAPL.US: AAPL}, intervals: {1m: 1m, 1h: 1h, 1d: 1d}}

Prices are not adjusted. Yahoo may be 15 minutes late: give the feed a `delay` of 20m.
Interface: https://ranaroussi.github.io/yfinance/reference/api/yfinance.Ticker.history.html
"""

from datetime import UTC, datetime

import yfinance


def bars(symbol, interval, start, end):
    frame = yfinance.Ticker(symbol).history(
        interval=interval,
        start=datetime.fromtimestamp(start, UTC),
        end=datetime.fromtimestamp(end, UTC),
        auto_adjust=False,
        raise_errors=True,
    )
    # The minute that has just begun may come without prices. The index knows its zone.
    return frame[["Open", "High", "Low", "Close", "Volume"]].dropna()
