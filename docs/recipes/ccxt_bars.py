"""Candles of any exchange that ccxt knows, for a source of type python (pip install ccxt).

sources:
  kraken: {type: python, run: "ccxt_bars:Exchange", params: {exchange: kraken},
           symbols: {BTCUSD: BTC/USD}}

Interface: https://docs.ccxt.com/#/README?id=ohlcv-candlestick-charts
"""

import ccxt


class Exchange:
    """One exchange object for as long as the process lives: it paces itself."""

    def __init__(self, exchange):
        self.exchange = getattr(ccxt, exchange)({"enableRateLimit": True})

    def bars(self, symbol, interval, start, limit):
        # Oldest first from `start`; times are UTC milliseconds.
        return self.exchange.fetch_ohlcv(symbol, interval, since=int(start * 1000), limit=limit)
