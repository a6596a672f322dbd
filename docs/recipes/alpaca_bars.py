"""Bars of Alpaca's Market Data API, for a source of type python.

sources:
  alpaca: {type: python, run: "alpaca_bars:Alpaca", params: {feed: iex},
           secrets: [APCA_API_KEY_ID, APCA_API_SECRET_KEY], requests_per_minute: 200,
           intervals: {1m: 1Min, 5m: 5Min, 1h: 1Hour, 1d: 1Day}}

Format: https://docs.alpaca.markets/reference/stockbars
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime

from exporter.tasks import SourceError

MOST_PAGES = 20


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The keys are not taken elsewhere: a redirect is an error."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


class Alpaca:
    """Asks for all symbols at once, newest bars first, and follows the pages."""

    def __init__(self, feed="iex", url="https://data.alpaca.markets"):
        self.feed, self.url = feed, url

    def bars(self, symbols, interval, start):
        found = {symbol: [] for symbol in symbols}
        query = {
            "symbols": ",".join(symbols), "timeframe": interval, "feed": self.feed, "limit": 10000,
            "start": datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sort": "desc",
        }  # fmt: skip
        for _ in range(MOST_PAGES):
            page = self._get(query)
            for symbol, bars in (page["bars"] or {}).items():
                found[symbol] += [
                    {"time": bar["t"], "open": bar["o"], "high": bar["h"], "low": bar["l"],
                     "close": bar["c"], "volume": bar["v"]}
                    for bar in bars
                ]  # fmt: skip
            query["page_token"] = page.get("next_page_token")
            if not query["page_token"]:
                return found
        raise SourceError("api", f"more than {MOST_PAGES} pages: ask for fewer symbols or days")

    def _get(self, query):
        request = urllib.request.Request(
            f"{self.url}/v2/stocks/bars?{urllib.parse.urlencode(query)}",
            headers={
                "APCA-API-KEY-ID": os.environ["APCA_API_KEY_ID"],
                "APCA-API-SECRET-KEY": os.environ["APCA_API_SECRET_KEY"],
            },
        )
        try:
            with OPENER.open(request, timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = {401: "auth", 403: "auth", 429: "rate_limit"}.get(error.code, "http")
            again = error.code == 429 or error.code >= 500
            raise SourceError(reason, f"HTTP {error.code}", retryable=again) from None
