"""type: sql on a real PostgreSQL, which runs as a user of its own on a socket in a temp folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

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
        database.execute("GRANT SELECT ON bars TO reader")


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
