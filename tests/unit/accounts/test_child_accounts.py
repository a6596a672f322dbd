"""Accounts that code says: callables, databases and ccxt, in a process of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.accounts.account_child import _with_password
from exporter.accounts.open_account import open_account
from exporter.config import AccountSettings, Config, Strategy
from exporter.metrics import Metrics
from exporter.state import State, ledger
from exporter.strategies.account_poller import AccountPoller
from exporter.strategies.tracker import Strategies
from tests.unit.clocks import ManualClock

MODULE = """
import os, time
from datetime import datetime, timezone
from decimal import Decimal

def equity(): print("looking"); return Decimal("1000.10")
def everything(factor=1):
    return {"equity": 100 * factor, "flow": 0, "positions": [{"symbol": "A.US", "quantity": "2"}],
            "fills": [{"symbol": "A.US", "side": "buy", "price": "0.10", "quantity": 2,
                       "timestamp": "2026-11-24T15:00:00Z", "id": "e1"}]}
def curve(): return [{"timestamp": datetime(2026, 11, day, tzinfo=timezone.utc), "equity": e}
                     for day, e in ((20, 1000), (21, 1200), (23, 900))]
def odd_fills(): return {"equity": 1000, "fills": [
    {"symbol": "X" * 40, "side": "buy", "price": 1}, {"symbol": "A.US", "side": "buy", "price": 2},
    {"symbol": "B.US", "side": "buy", "price": 1, "timestamp": time.time() + 9e8}]}
def many_positions():
    return {"equity": 1000, "positions": [{"symbol": f"S{n}", "quantity": 1} for n in range(600)]}
def ahead(): return [{"timestamp": "2026-11-20 10:00:00", "equity": 90},
                     {"timestamp": "2027-11-20 10:00:00", "equity": 80}]
def nothing(): return None
def wrong(): raise RuntimeError("no balance for " + os.environ["BROKER_KEY"])
def sleepy(): time.sleep(60)
def dies(): os._exit(3)
def secrets(): return 1 if "OTHER_KEY" not in os.environ and os.environ["BROKER_KEY"] else 0
"""
SECRETS = {"BROKER_KEY": "broker-s3cret", "OTHER_KEY": "other-s3cret", "PATH": "/usr/bin"}


class Book:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock()
        self.clock.advance(1_795_600_000.0 - self.clock.now())
        (folder / "my_broker.py").write_text(MODULE)
        self.state = State.open(folder / "state.db", self.clock)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.currency = "USD"
        self.strategies = Strategies(self.state, self.clock, self.metrics)

    async def look(self, **keys: Any) -> str | None:
        settings = AccountSettings(**{"retries": 0} | keys)
        other = AccountSettings(**{"from": "python", "run": "m:f", "secrets": ["OTHER_KEY"]})
        strategies = {
            "m": Strategy(equity=settings, currency=self.currency),
            "n": Strategy(equity=other),
        }
        config = Config(timezone="UTC", code=(self.folder,), strategies=strategies)
        self.strategies.apply(config)
        account = open_account("m", config, self.metrics, self.clock, SECRETS)
        poller = AccountPoller(
            self.state, self.clock, self.metrics, self.strategies, lambda *_: account
        )
        poller.use(config)
        self.clock.advance(60)
        await poller.look("m")
        await account.close()
        return self.strategies.problems.get("m")

    def run(self, function: str, **keys: Any) -> Any:
        return self.look(**{"from": "python", "run": f"my_broker:{function}"} | keys)


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    found = Book(tmp_path)
    yield found
    await found.state.close()


async def test_a_callable_says_a_number_or_everything(book: Book) -> None:
    """What it prints is no answer; a list is a curve, of which the new points count."""
    assert await book.run("curve") is None
    curve = book.strategies.curves["m"]
    assert (curve.equity, curve.drawdown) == (900, pytest.approx(0.25))
    assert await book.run("equity") is None
    assert book.strategies.curves["m"].equity == 1000.10
    for _ in range(2):
        assert await book.run("everything", params={"factor": 3}) is None
    assert book.strategies.curves["m"].equity == 300
    held = book.strategies.holdings.positions("m", "python")
    assert held
    assert {k: int(v) for k, v in held.quantities().items()} == {"A.US": 2}
    (row,) = ledger.fills(book.folder / "state.db")
    assert (str(row.fill.price), row.fill.origin) == ("0.10", "python")
    assert await book.run("secrets", secrets=["BROKER_KEY"]) is None
    assert book.strategies.curves["m"].equity == 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "nothing returned None: return the equity, or a mapping with it"),
        ("wrong", "RuntimeError: no balance for ***"),
        ("dies", "exited with 3"),
        ("missing", "has no attribute 'missing'"),
    ],
)
async def test_a_callable_that_fails_is_said_without_its_secrets(
    book: Book, function: str, said: str
) -> None:
    problem = str(await book.run(function, secrets=["BROKER_KEY"]))
    assert said.replace("***", "") in problem.replace("[masked]", "")
    assert SECRETS["BROKER_KEY"] not in problem
    labels = {"source": "m.equity", "endpoint": "read", "reason": "api"}
    assert book.registry.get_sample_value("quant_fetch_failures_total", labels) == 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("odd_fills", "a fill is left out: symbol must be a short text, not "),
        ("many_positions", "the positions are not known: 600 positions are too many"),
    ],
)
async def test_fills_and_positions_that_cannot_be_used_do_not_hide_the_equity(
    book: Book, function: str, said: str
) -> None:
    """They are said, and what can be used of them counts."""
    problem = str(await book.run(function))
    assert problem.startswith(f"the equity is read, but {said}")
    assert book.strategies.curves["m"].equity == 1000
    assert not book.strategies.problems.is_unread("m")
    if function == "odd_fills":
        assert problem.endswith(", and 1 more like it")
        assert [row.fill.symbol for row in ledger.fills(book.folder / "state.db")] == ["A.US"]
    assert await book.run("equity") is None


async def test_equity_of_an_account_from_the_future_is_said(book: Book) -> None:
    """As with UTC without an offset, west of it: left out silently, it would look like no trade."""
    problem = str(await book.run("ahead"))
    assert "its newest equity, of 2027-11-20 10:00:00, lies in the future" in problem
    assert book.strategies.problems.is_unread("m")
    assert book.strategies.curves["m"].equity == 90


async def test_a_callable_that_hangs_is_ended(book: Book) -> None:
    assert "no answer within 0.5 s" in str(await book.run("sleepy", timeout=0.5))


async def test_a_database_is_read_and_never_written(book: Book) -> None:
    """SQLite and DuckDB, each by its columns' names."""
    path = book.folder / "trades.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE nav (at TEXT, total TEXT)")
        db.execute("CREATE TABLE deals (id TEXT, at TEXT, price TEXT)")
        rows = [("2026-11-20 21:00", "100.10"), ("2026-11-23 21:00", "90.09")]
        db.executemany("INSERT INTO nav VALUES (?, ?)", rows)
        db.execute("INSERT INTO deals VALUES ('x1', '2026-11-23 15:00', '0.10')")
        db.commit()
    keys = {
        "from": "sql", "database": f"sqlite:{path}",
        "query": "SELECT at AS timestamp, total AS equity FROM nav ORDER BY at",
        "fills": "SELECT id, at AS timestamp, 'A.US' AS symbol, 'buy' AS side, price FROM deals",
        "positions": "SELECT 'A.US' AS symbol, 5 AS quantity",
    }  # fmt: skip
    assert await book.look(**keys) is None
    assert book.strategies.curves["m"].drawdown == pytest.approx(0.1)
    assert [str(row.fill.price) for row in ledger.fills(book.folder / "state.db")] == ["0.10"]
    assert "attempt to write a readonly database" in str(
        await book.look(**keys | {"query": "DELETE FROM nav"})
    )
    assert "no such table: nowhere" in str(
        await book.look(**keys | {"query": "SELECT * FROM nowhere"})
    )
    duck = {"from": "sql", "database": "duckdb:", "query": "SELECT 95.5 AS equity"}
    assert await book.look(**duck) is None
    assert book.strategies.curves["m"].equity == 95.5


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
async def test_a_database_that_is_not_there_is_named(book: Book, engine: str) -> None:
    path = book.folder / "none.db"
    keys = {"from": "sql", "database": f"{engine}:{path}", "query": "SELECT 1 AS equity"}
    assert f"there is no file {path}" in str(await book.look(**keys))


CCXT = """
class binance:
    def __init__(self, settings): pass
    def fetch_balance(self): return {"total": {"USDT": 100.5, "BTC": 0.5, "NFT": 7000, "OLD": 0}}
    def load_markets(self): return {"BTC/USDT": {}, "ETH/USDT": {}}
    def fetch_tickers(self, pairs):
        if pairs != ["BTC/USDT"]: raise KeyError("binance does not have such a market")
        return {"BTC/USDT": {"last": 100000}}
"""


async def test_a_coin_without_a_market_is_named_and_can_be_ignored(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given away without being asked for has no price anywhere."""
    (book.folder / "ccxt.py").write_text(CCXT)
    monkeypatch.setitem(SECRETS, "PYTHONPATH", str(book.folder))
    keys = {
        "from": "ccxt", "exchange": "binance", "key_env": "BROKER_KEY", "secret_env": "OTHER_KEY",
    }  # fmt: skip
    problem = str(await book.look(**keys))
    assert "no market in USD has a price of USDT, BTC, NFT, so the equity is unknown" in problem
    book.currency = "USDT"
    assert "has a price of NFT, so" in str(await book.look(**keys))
    assert await book.look(**keys, ignore=["NFT"]) is None
    assert book.strategies.curves["m"].equity == 50100.5


async def test_a_driver_or_a_library_that_is_lacking_is_named(book: Book) -> None:
    keys = {"from": "ccxt", "exchange": "binance", "key_env": "BROKER_KEY"}
    problem = await book.look(**keys, secret_env="OTHER_KEY")
    assert "ccxt is not installed: pip install ccxt" in str(problem)


def test_a_password_goes_into_the_address_as_it_must() -> None:
    address = _with_password("postgresql://quant@db:5432/trades", "p@ss/w:rd")
    assert address == "postgresql://quant:p%40ss%2Fw%3Ard@db:5432/trades"
    assert _with_password("postgresql://quant@db/trades", "") == "postgresql://quant@db/trades"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"from": "alpaca", "key_env": "K"}, "needs one of `secret_env` and `secret_file`"),
        ({"from": "alpaca", "key_env": "K", "secret_env": "S", "query": "1"}, "has no `query`"),
        ({"from": "freqtrade", "key_env": "K", "secret_env": "S"}, "needs `url`"),
        ({"from": "sql", "database": "mysql://x", "query": "q"}, "unknown database"),
        ({"from": "python", "run": "nothing"}, "invalid function"),
        ({"from": "elsewhere"}, "alpaca"),
    ],
)
def test_a_wrong_account_is_a_mistake_that_says_what_to_write(keys: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("`", ".")):
        AccountSettings(**keys)
