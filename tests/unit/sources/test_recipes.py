"""The recipes in docs/recipes, as a user copies them.

Alpaca's answers come from a server on this machine in the format of
https://docs.alpaca.markets/reference/stockbars; ccxt and yfinance are not installed, stand-ins have
the documented interface (https://docs.ccxt.com/#/README?id=ohlcv-candlestick-charts and
https://ranaroussi.github.io/yfinance/reference/api/yfinance.Ticker.history.html).
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.sources.own_sources import MINUTE, OwnSource

RECIPES = Path(__file__).parents[3] / "docs" / "recipes"
ALPACA_KEYS = {"APCA_API_KEY_ID": "PK12345678", "APCA_API_SECRET_KEY": "s3cret-of-alpaca"}
CCXT = """
class RateLimitExceeded(Exception):
    pass

class kraken:
    def __init__(self, config):
        assert config == {"enableRateLimit": True}
    def fetch_ohlcv(self, symbol, timeframe="1m", since=None, limit=None, params={}):
        if symbol == "BUSY/USD":
            raise RateLimitExceeded("kraken too many requests")
        assert (symbol, timeframe, limit) == ("BTC/USD", "1m", 10) and isinstance(since, int)
        return [[MS, 1.0, 3.0, 1.0, 2.0, 7.5]]
"""
YFINANCE = """
import pandas

class YFTzMissingError(Exception):
    pass

class YFPricesMissingError(Exception):
    pass

class Ticker:
    def __init__(self, ticker):
        self.ticker = ticker
    def history(self, period=None, interval="1d", start=None, end=None, auto_adjust=True,
                raise_errors=False, **more):
        assert (interval, auto_adjust, raise_errors) == ("1m", False, True)
        assert start.tzinfo and end.tzinfo and not more
        assert (end - start).total_seconds() >= 3600
        if self.ticker == "CLOSED":
            raise YFPricesMissingError("possibly delisted; no price data found")
        if self.ticker == "NOBODY":
            raise YFTzMissingError("possibly delisted; no timezone found")
        times = pandas.to_datetime([MS, MS + 60_000], unit="ms", utc=True)
        return pandas.DataFrame(
            {"Open": [1.0, None], "High": [3.0, None], "Low": [1.0, None], "Close": [2.0, None],
             "Adj Close": [1.9, None], "Volume": [7, 0], "Dividends": 0.0, "Stock Splits": 0.0},
            index=times.tz_convert("America/New_York").rename("Datetime"),
        )
"""


def recipe(folder: Path, name: str, **stand_ins: str) -> Path:
    """The folder with the recipe's file, and with stand-ins for the modules that it imports."""
    (folder / f"{name}.py").write_text((RECIPES / f"{name}.py").read_text())
    for module, code in stand_ins.items():
        text = f"MS = {int(MINUTE - 60) * 1000}\n" + textwrap.dedent(code)
        (folder / f"{module}.py").write_text(text)
    return folder


async def test_alpaca(tmp_path: Path) -> None:
    """All symbols in one request, page by page; a refusal has its reason."""
    asked: list[Any] = []
    bar = {"t": "2026-09-21T14:12:00Z", "o": 1, "h": 3, "l": 1, "c": 2.5, "n": 8, "v": 7, "vw": 2}

    async def bars(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        if request.headers["APCA-API-SECRET-KEY"] != ALPACA_KEYS["APCA_API_SECRET_KEY"]:
            return web.json_response({"message": "forbidden."}, status=403)
        if "page_token" not in request.query:
            return web.json_response({"bars": {"AAPL": [bar]}, "next_page_token": "QUFQTHxN"})
        return web.json_response({"bars": {"MSFT": [bar]}, "next_page_token": None})

    app = web.Application()
    app.router.add_get("/v2/stocks/bars", bars)
    async with TestServer(app) as server:
        bench = OwnSource(
            type="python", run="alpaca_bars:Alpaca", secrets=[*ALPACA_KEYS],
            params={"url": str(server.make_url("")).rstrip("/")}, intervals={"1m": "1Min"},
            symbols={"AAPL.US": "AAPL", "MSFT.US": "MSFT"},
        )  # fmt: skip
        for keys, good in (
            (ALPACA_KEYS, True),
            ({**ALPACA_KEYS, "APCA_API_SECRET_KEY": "x"}, False),
        ):
            async with bench.open(recipe(tmp_path, "alpaca_bars"), keys) as source:
                answer = await source.latest(["AAPL.US", "MSFT.US"], "1m")
            if good:
                assert [each.close for each in answer.good["MSFT.US"]] == [2.5]
                assert answer.good["AAPL.US"][0].start == MINUTE - 60
            else:
                assert answer.bad["AAPL.US"].reason == "auth"
    assert asked[0]["symbols"] == "AAPL,MSFT"
    assert asked[0]["timeframe"] == "1Min"
    assert asked[0]["start"] == "2026-09-21T14:03:20Z"
    assert asked[1]["page_token"] == "QUFQTHxN"


async def test_ccxt(tmp_path: Path) -> None:
    """A request for each symbol; its own exceptions have a reason of ours."""
    bench = OwnSource(
        type="python", run="ccxt_bars:Exchange", params={"exchange": "kraken"},
        symbols={"BTCUSD": "BTC/USD", "BUSYUSD": "BUSY/USD"},
    )  # fmt: skip
    async with bench.open(recipe(tmp_path, "ccxt_bars", ccxt=CCXT)) as source:
        answer = await source.latest(["BTCUSD", "BUSYUSD"], "1m")
    (bar,) = answer.good["BTCUSD"]
    assert (bar.start, bar.close, bar.volume) == (MINUTE - 60, 2.0, 7.5)
    assert answer.bad["BUSYUSD"].reason == "rate_limit"


async def test_yfinance(tmp_path: Path) -> None:
    """Times in the exchange's zone, and a minute without prices that is left out."""
    bench = OwnSource(
        type="python", run="yfinance_bars:bars", symbols={"AAPL.US": "AAPL"}, intervals={"1m": "1m"}
    )
    async with bench.open(recipe(tmp_path, "yfinance_bars", yfinance=YFINANCE)) as source:
        answer = await source.latest(["AAPL.US"], "1m")
    assert answer.bad == {}
    (bar,) = answer.good["AAPL.US"]
    assert (bar.start, bar.close, bar.volume) == (MINUTE - 60, 2.0, 7)


async def test_yfinance_without_prices_has_no_bar_and_an_unknown_symbol_fails(
    tmp_path: Path,
) -> None:
    """As at night, with the exceptions of yfinance 1.7."""
    bench = OwnSource(type="python", run="yfinance_bars:bars", intervals={"1m": "1m"})
    async with bench.open(recipe(tmp_path, "yfinance_bars", yfinance=YFINANCE)) as source:
        answer = await source.latest(["CLOSED", "NOBODY"], "1m")
    assert answer.good == {"CLOSED": []}
    assert "no timezone found" in str(answer.bad["NOBODY"])


async def test_alpaca_does_not_take_the_keys_to_where_a_server_redirects(tmp_path: Path) -> None:
    """Neither to another host nor to another path."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        bench = OwnSource(
            type="python", run="alpaca_bars:Alpaca", secrets=[*ALPACA_KEYS],
            params={"url": str(server.make_url("")).rstrip("/")},
        )  # fmt: skip
        async with bench.open(recipe(tmp_path, "alpaca_bars"), ALPACA_KEYS) as source:
            error = (await source.latest(["AAPL"], "1m")).bad["AAPL"]
    assert (error.reason, str(error)) == ("http", "SourceError: HTTP 302")
    assert asked == ["/v2/stocks/bars"]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*_bars.py")), ids=lambda file: file.stem)
def test_each_recipe_says_how_to_use_it_and_whose_format_it_follows(file: Path) -> None:
    """Whoever copies it needs no other page."""
    text = file.read_text()
    assert f'run: "{file.stem}:' in text
    assert "https://" in text
