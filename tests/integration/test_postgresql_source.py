"""Bars and accounts from a real PostgreSQL, as a user of its own on a socket in a temp folder."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from exporter.accounts.open_account import open_account
from exporter.config import AccountSettings, Config, Strategy
from exporter.metrics import Metrics
from exporter.state import State, ledger
from exporter.strategies.account_poller import AccountPoller
from exporter.strategies.tracker import Strategies
from tests.unit.clocks import ManualClock
from tests.unit.sources.own_sources import MINUTE, OwnSource

pytestmark = pytest.mark.integration
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
PASSWORD = "s3cret-of-the-reader"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the server listens: a socket; TCP is off. Its tables have bars of two symbols."""
    if BINARIES is None:
        pytest.skip("needs PostgreSQL: tools/install-test-packages")
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="quant-pg-", dir="/tmp"))
    shutil.chown(folder, user)
    try:
        (folder / "password").write_text("owner\n")
        run(user, "initdb", "-D", f"{folder}/data", "-A", "scram-sha-256", "-U", "owner",
            f"--pwfile={folder}/password", "-N")  # fmt: skip
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=10"
        run(user, "pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w",
            "start")  # fmt: skip
        try:
            fill(f"postgresql://owner@/postgres?host={folder}")
            yield f"postgresql://reader@/postgres?host={folder}"
        finally:
            run(user, "pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(user: str, program: str, *arguments: str) -> None:
    """As that user: PostgreSQL refuses to run as root."""
    command = [f"{BINARIES}/{program}", *arguments]
    if os.geteuid() == 0:
        command = ["runuser", "-u", user, "--", *command]
    subprocess.run(
        command, check=True, timeout=60, stdout=subprocess.DEVNULL, cwd="/tmp"
    )  # fmt: skip


def fill(address: str) -> None:
    with psycopg.connect(address, password="owner") as database:
        database.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        database.execute(
            "CREATE TABLE bars (symbol text, time timestamptz, open numeric, high numeric, "
            'low numeric, close numeric, volume numeric, "a%b" int)'
        )
        database.execute(
            "INSERT INTO bars SELECT s, to_timestamp(%s) - n * interval '1 minute', 1, 3, 1, 2, 5 "
            "FROM unnest(ARRAY['A', 'B']) s, generate_series(1, 500) n",
            (MINUTE,),
        )
        database.execute("CREATE TABLE nav (at timestamptz, total numeric, paid numeric)")
        database.execute(
            "INSERT INTO nav VALUES ('2026-11-20 21:00Z', 1000.10, 0), "
            "('2026-11-23 21:00Z', 1600.10, 500), ('2026-11-24 21:00Z', 1440.09, 0)"
        )
        database.execute("CREATE TABLE deals (id text, at timestamptz, price numeric, n numeric)")
        database.execute(
            "INSERT INTO deals VALUES ('x1', '2026-11-23 15:00Z', 0.10000000000000000001, 2)"
        )
        database.execute("GRANT SELECT ON bars, nav, deals TO reader")


async def asked(address: str, password: str = PASSWORD, **settings: Any) -> tuple[Any, OwnSource]:
    """The newest bars of A and B."""
    given = {"password_env": "READER", **settings}
    bench = OwnSource(type="sql", url=address, **given)
    async with bench.open(environ={"READER": password}) as source:
        return await source.latest(["A", "B"], "1m"), bench


@pytest.mark.parametrize(
    "settings",
    [
        {"table": "public.bars"},
        {"query": "SELECT * FROM bars WHERE symbol = :symbol AND time >= to_timestamp(:start)"},
        {"query": "SELECT DISTINCT ON (symbol) symbol, time, close, 7 % 4 AS x FROM bars "
                  "WHERE symbol NOT LIKE ':symbol%' ORDER BY symbol, time DESC",
         "fields": {"symbol": "symbol", "time": "time", "close": "close"}},
    ],
)  # fmt: skip
async def test_the_newest_rows_of_a_table_or_a_query(
    address: str, settings: dict[str, Any]
) -> None:
    """With one connection a request."""
    answer, bench = await asked(address, **settings)
    assert answer.bad == {}
    for symbol in ("A", "B"):
        assert answer.good[symbol][-1].start == MINUTE - 60
        assert answer.good[symbol][-1].close == 2
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 1


async def test_odd_columns_are_read_or_said(address: str) -> None:
    """A padded symbol, rows without a time, a table that the user may not read."""
    with psycopg.connect(address.replace("reader", "owner"), password="owner") as database:
        database.execute("CREATE TABLE odd AS SELECT symbol::char(8), time, close FROM bars")
        database.execute("INSERT INTO odd SELECT symbol, NULL, close FROM bars")
        database.execute("GRANT SELECT ON odd TO reader")
        database.execute("CREATE TABLE hidden AS SELECT * FROM bars")
    fields = {"symbol": "symbol", "time": "time", "close": "close"}
    for settings in ({"table": "odd"}, {"query": "SELECT * FROM odd WHERE time IS NOT NULL"}):
        answer, _ = await asked(address, fields=fields, **settings)
        assert answer.good["A"][-1].start == MINUTE - 60
    answer, _ = await asked(address, table="hidden")
    assert answer.bad["A"].reason == "auth"
    assert "permission denied for table hidden: GRANT SELECT" in answer.bad["A"].message


async def test_a_locked_table_and_a_slow_query_end_in_time(address: str) -> None:
    """By the server's own limit, so that nothing goes on there."""
    owner = address.replace("reader", "owner")
    bench = OwnSource(type="sql", url=address, password_env="READER", table="bars", timeout=2.5)
    reading = bench.open(environ={"READER": PASSWORD})
    async with reading as source:
        with psycopg.connect(owner, password="owner") as other:
            await source.latest(["A"], "1m")  # the process has started by then
            other.execute("LOCK TABLE bars IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            answer = await source.latest(["A"], "1m")
            assert time.monotonic() - began < 10
            assert answer.bad["A"].reason == "timeout"
            assert "is there an index on symbol and time?" in answer.bad["A"].message
    with psycopg.connect(owner, password="owner") as other:
        busy = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'"
        ).fetchone()
        assert busy == (0,)


@pytest.mark.parametrize(
    ("settings", "reason", "text"),
    [
        ({"table": "nothing"}, "error", 'relation "nothing" does not exist'),
        ({"query": "DELETE FROM bars"}, "error", "read-only transaction"),
        ({"query": "SELECT 1"}, "error", ""),
        ({"table": "bars", "password": "wrong-password"}, "auth", "password authentication failed"),
    ],
)
async def test_what_goes_wrong_has_its_reason(
    address: str, settings: dict[str, Any], reason: str, text: str
) -> None:
    """And the password is in none of it."""
    answer, _ = await asked(address, **settings)
    if "SELECT 1" in settings.get("query", ""):
        reason = "malformed"
    assert answer.bad["A"].reason == reason
    assert text in answer.bad["A"].message
    assert PASSWORD not in answer.bad["A"].message


async def test_a_server_that_is_away_is_an_outage(tmp_path: Path) -> None:
    """No socket there."""
    answer, bench = await asked(f"postgresql://reader@/postgres?host={tmp_path}", table="bars")
    assert answer.bad["A"].reason == "connect"
    assert bench.failures() == {"connect": 1}


class Account:
    """A strategy whose account is the database."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address, self.clock, self.folder = address, ManualClock(1_795_600_000.0), folder
        self.state = State.open(folder / "state.db", self.clock)
        self.metrics = Metrics(CollectorRegistry())
        self.strategies = Strategies(self.state, self.clock, self.metrics)

    async def look(self, password: str = PASSWORD, **keys: Any) -> str | None:
        """What is wrong, if anything is."""
        settings = AccountSettings.model_validate({
            "from": "sql", "database": self.address, "secret_env": "READER", "retries": 0,
            "query": "SELECT at AS timestamp, total AS equity, paid AS flow FROM nav ORDER BY at",
            "fills": "SELECT id, at AS timestamp, 'A.US' AS symbol, 'buy' AS side, price, "
                     "n AS quantity FROM deals",
            "positions": "SELECT 'A.US' AS symbol, -0.5 AS quantity",
        } | keys)  # fmt: skip
        config = Config(timezone="UTC", strategies={"m": Strategy(equity=settings)})
        self.strategies.apply(config)
        account = open_account(
            "m", config, self.metrics, self.clock, {**os.environ, "READER": password}
        )
        poller = AccountPoller(
            self.state, self.clock, self.metrics, self.strategies, lambda *_: account
        )
        poller.use(config)
        self.clock.advance(60)
        await poller.look("m")
        await account.close()
        return self.strategies.problems.get("m")


@pytest.fixture
async def account(tmp_path: Path, address: str) -> AsyncIterator[Account]:
    made = Account(tmp_path, address)
    yield made
    await made.state.close()


async def test_an_account_is_read_from_the_database_each_row_once(account: Account) -> None:
    """Numbers keep all their digits, a deposit is no profit, and what is wrong has no password."""
    for _ in range(2):
        assert await account.look() is None
    curve = account.strategies.curves["m"]
    # 1000.10 became 1100.10 before 500 came in; then 1600.10 became 1440.09.
    assert (curve.equity, curve.drawdown) == (1440.09, pytest.approx(1 - 1440.09 / 1600.10))
    points = ledger.equity(account.folder / "state.db", "m", 0.0)
    assert [(str(one.equity), str(one.flow)) for one in points] == [
        ("1000.10", "0"), ("1600.10", "500"), ("1440.09", "0"),
    ]  # fmt: skip
    (row,) = ledger.fills(account.folder / "state.db")
    assert str(row.fill.price) == "0.10000000000000000001"
    held = account.strategies.holdings.positions("m", "sql")
    assert held is not None
    assert {symbol: str(number) for symbol, number in held.quantities().items()} == {"A.US": "-0.5"}
    assert "read-only transaction" in str(await account.look(query="DELETE FROM deals"))
    owners = account.address.replace("reader", "owner")
    slow = await account.look(query="SELECT pg_sleep(60)", timeout="1s")
    assert "no answer within 1 s" in str(slow)
    with psycopg.connect(owners, password="owner", autocommit=True) as owner:
        asking = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'"
        end = time.monotonic() + 10
        while owner.execute(asking).fetchone() != (0,):
            assert time.monotonic() < end, "the query goes on at the server"
            await asyncio.sleep(0.1)
    problem = str(await account.look(password="wrong-password"))
    assert "password authentication failed" in problem
    assert "wrong-password" not in problem
    assert await account.look() is None
