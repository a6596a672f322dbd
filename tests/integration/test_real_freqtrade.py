"""A real freqtrade in dry-run, and the real ccxt, with an exchange on loopback in Binance's format.

Not part of `make test`: freqtrade needs 500 MB in an environment of its own.

    python3 -m venv /tmp/ft && /tmp/ft/bin/pip install freqtrade
    export QUANT_FREQTRADE=/tmp/ft/bin/freqtrade
    .venv/bin/pytest -m soak tests/integration/test_real_freqtrade.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.processes import ROOT, Exporter, Program, free_port, wait_for

PROGRAM = Path(os.environ.get("QUANT_FREQTRADE", "/nowhere"))
pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,
    pytest.mark.skipif(not PROGRAM.exists(), reason="QUANT_FREQTRADE names no freqtrade"),
    pytest.mark.timeout(300),
]
STRATEGY = """
from freqtrade.strategy import IStrategy

class Always(IStrategy):
    INTERFACE_VERSION, timeframe, startup_candle_count = 3, "5m", 1
    minimal_roi, stoploss, process_only_new_candles = {"0": 100}, -0.99, False
    def populate_indicators(self, df, metadata): return df
    def populate_entry_trend(self, df, metadata): df["enter_long"] = 1; return df
    def populate_exit_trend(self, df, metadata): df["exit_long"] = 0; return df
"""
EXPORTER = """\
listen: 127.0.0.1:{port}
strategies:
  bot:
    currency: USDT
    equity: {{from: freqtrade, url: "http://127.0.0.1:{bot}", key_env: F_USER,
              secret_env: F_PASSWORD, every: 1s, requests_per_minute: 6000}}
"""
USER, PASSWORD = "bot", "ft-password"


class SpotExchange:
    """https://developers.binance.com/docs/binance-spot-api-docs/rest-api, what a dry run asks."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port = free_port()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _answer(self, request: web.Request) -> web.Response:
        name, now = request.path.rsplit("/", 1)[-1], int(time.time() * 1000)
        match name:
            case "exchangeInfo":
                return web.json_response({"serverTime": now, "symbols": [_MARKET]})
            case "klines":
                return web.json_response(_klines(int(request.query.get("limit", "500"))))
            case "depth":
                book = {"bids": [["2000.00", "5"]], "asks": [["2000.50", "5"]]}
                return web.json_response({"lastUpdateId": 1, **book})
            case "24hr" | "bookTicker" | "price":
                one = _TICKER | {"closeTime": now}
                return web.json_response(one if "symbol" in request.query else [one])
            case "account":
                return web.json_response({"balances": _BALANCES, "updateTime": now})
            case "time":
                return web.json_response({"serverTime": now})
        self.unknown.append(request.path_qs)
        return web.json_response({"code": -1121, "msg": "unknown"}, status=404)


_MARKET: dict[str, Any] = {
    "symbol": "ETHUSDT", "status": "TRADING", "baseAsset": "ETH", "quoteAsset": "USDT",
    "baseAssetPrecision": 8, "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissionSets": [["SPOT"]],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000",
         "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "9000", "stepSize": "0.0001"},
        {"filterType": "NOTIONAL", "minNotional": "5", "maxNotional": "9000000"},
    ],
}  # fmt: skip
_TICKER = {
    "symbol": "ETHUSDT", "lastPrice": "2000.25", "bidPrice": "2000.00", "bidQty": "5",
    "askPrice": "2000.50", "askQty": "5", "volume": "1000", "quoteVolume": "2000000",
}  # fmt: skip
_BALANCES = [
    {"asset": "ETH", "free": "1.50000000", "locked": "0.50000000"},
    {"asset": "USDT", "free": "100.10", "locked": "0"},
    {"asset": "BNB", "free": "0", "locked": "0"},
]


def _klines(count: int) -> list[list[Any]]:
    now = int(time.time()) // 300 * 300
    starts = [(now - n * 300) * 1000 for n in range(count - 1, -1, -1)]
    prices, rest = ["2000", "2002", "1998", "2001", "10"], ["20000", 5, "5", "10000", "0"]
    return [[start, *prices, start + 299_999, *rest] for start in starts]


@pytest.fixture
def exchange() -> Iterator[SpotExchange]:
    made = SpotExchange()
    yield made
    made.close()


def _bent(exchange: SpotExchange) -> dict[str, Any]:
    """ccxt's settings: every address is the loopback one."""
    address = f"http://127.0.0.1:{exchange.port}"
    api = {"public": f"{address}/api/v3", "private": f"{address}/api/v3"}
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False}
    return {"urls": {"api": {**api, "sapi": f"{address}/sapi/v1", "v1": f"{address}/api/v1"}},
            "options": options}  # fmt: skip


def _configure(folder: Path, exchange: SpotExchange, port: int) -> list[str]:
    """Files of a bot that always buys; its command."""
    (folder / "user/strategies").mkdir(parents=True)
    (folder / "user/strategies/always.py").write_text(STRATEGY)
    pricing = {"price_side": "other", "use_order_book": True, "order_book_top": 1}
    config = {
        "max_open_trades": 1, "stake_currency": "USDT", "stake_amount": 100, "dry_run": True,
        "dry_run_wallet": 1000, "trading_mode": "spot", "fiat_display_currency": "",
        "entry_pricing": pricing, "exit_pricing": pricing,
        "exchange": {
            "name": "binance", "key": "", "secret": "", "enable_ws": False,
            "pair_whitelist": ["ETH/USDT"],
            "ccxt_config": _bent(exchange), "ccxt_async_config": _bent(exchange),
        },
        "pairlists": [{"method": "StaticPairList"}],
        "api_server": {
            "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": port,
            "verbosity": "error", "jwt_secret_key": "k" * 40, "CORS_origins": [],
            "username": USER, "password": PASSWORD,
        },
        "bot_name": "bot", "initial_state": "running", "force_entry_enable": True,
        "internals": {"process_throttle_secs": 1},
    }  # fmt: skip
    (folder / "bot.json").write_text(json.dumps(config))
    return [
        str(PROGRAM), "trade", "-c", str(folder / "bot.json"), "--strategy", "Always",
        "--userdir", str(folder / "user"), "--db-url", f"sqlite:///{folder / 'bot.db'}",
    ]  # fmt: skip


def test_a_real_freqtrade_is_read(tmp_path: Path, exchange: SpotExchange) -> None:
    """Its balance, an open trade, its fills, its own profit, and what became of them at the end."""
    bot, port = free_port(), free_port()
    command = _configure(tmp_path, exchange, bot)
    (tmp_path / "exporter.yml").write_text(EXPORTER.format(port=port, bot=bot))
    program = Program(command, tmp_path / "freqtrade.out", {"HOME": str(tmp_path)}, tmp_path)
    with program, Exporter(
        tmp_path / "exporter.yml", {"F_USER": USER, "F_PASSWORD": PASSWORD}
    ) as exporter:  # fmt: skip
        exporter.wait_ready(port)
        held = 'quant_position_quantity{origin="freqtrade",strategy="bot",symbol="ETH/USDT"}'
        wait_for(lambda: exporter.metrics().get(held, 0) > 0, "an open trade", 120)
        found = exporter.metrics()
        assert found[held] == pytest.approx(0.0499, rel=0.05)
        # Of its wallet of 1000 a bot has 99 %, unless its tradable_balance_ratio says otherwise.
        assert 985 < found['quant_strategy_equity{strategy="bot"}'] <= 990
        bought = 'quant_strategy_last_fill_price{side="buy",strategy="bot",symbol="ETH/USDT"}'
        assert found[bought] == 2000.5
        _ask(bot, "forceexit", {"tradeid": "all"})
        sold = 'quant_strategy_last_fill_price{side="sell",strategy="bot",symbol="ETH/USDT"}'
        wait_for(lambda: exporter.metrics().get(sold) == 2000, "the exit", 60)
        profit = 'quant_strategy_account_profit{strategy="bot"}'
        wait_for(lambda: exporter.metrics()[profit] < 0, "the profit")
        lost = 0.0499 * 0.5 + 0.0499 * 4000.5 * 0.001
        assert exporter.metrics()[profit] == pytest.approx(-lost, rel=0.1)
        failures = {n: v for n, v in exporter.metrics().items() if "fetch_failures" in n and v}
        assert all('reason="connect"' in name for name in failures), "it was starting"
    assert exchange.unknown == []


def _ask(port: int, endpoint: str, body: Any) -> None:
    pair = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/{endpoint}", method="POST", data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {pair}", "Content-Type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(request, timeout=10).close()


def test_the_real_ccxt_is_read(exchange: SpotExchange) -> None:
    """What it makes of an exchange's answers is what the account is worth."""
    order = {
        "kind": "ccxt", "exchange": "binance", "currency": "USDT", "key": "k", "secret": "s",
        "params": _bent(exchange),
    }  # fmt: skip
    done = subprocess.run(
        [PROGRAM.with_name("python"), "-m", "exporter.accounts.account_child"],
        input=json.dumps(order), env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert "reading" in said, said
    (point,) = said["reading"]["equity"]
    assert float(point["equity"]) == pytest.approx(100.10 + 2 * 2000.25)
    assert said["reading"]["positions"] == [
        {"symbol": "ETH", "quantity": "2.0", "price": "2000.25"}
    ]
