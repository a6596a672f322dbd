"""`trades` prints what the ledger has, with all digits, whether or not an exporter runs."""

from __future__ import annotations

import asyncio
import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.cli.trades import COLUMNS, EQUITY_COLUMNS, trades
from exporter.state import State, ledger
from exporter.state.ledger import EquityEntry, Fill
from tests.unit.clocks import ManualClock

NOW = 1_790_000_000.0
LONG = Decimal("99999999999999999.000000000001")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "exporter.yml"
    path.write_text("timezone: UTC\nstate: state.db\nstrategies: {m: {}, n: {}}\n")

    async def fill() -> None:
        state = State.open(tmp_path / "state.db", ManualClock(NOW))
        await state.write([
            ledger.put_fill("m", Fill("A, Inc", "buy", NOW - 90 * 86400.0, Decimal("0.10"),
                                      Decimal(3), Decimal("0.350"), "USD", "o1", "e1")),
            ledger.put_fill("n", Fill("B.US", "sell", NOW - 60.25, Decimal("1E+2"), id="e2")),
            ledger.put_fill("n", Fill("B.US", "sell", NOW, LONG,
                                      Decimal("0.000000000001"), id="e3")),
        ])  # fmt: skip
        await state.close()

    asyncio.run(fill())
    return path


def show(config: Path, **more: object) -> int:
    given = {"strategy": None, "since": None, "as_csv": False, "as_json": False} | more
    return trades(config, clock=ManualClock(NOW), **given)  # type: ignore[arg-type]


def test_csv_keeps_every_digit_and_json_says_the_same(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(config, as_csv=True) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["price"] for row in rows] == ["0.10", "100", "99999999999999999.000000000001"]
    assert (rows[0]["symbol"], rows[0]["value"], rows[0]["fee"]) == ("A, Inc", "0.30", "0.350")
    assert rows[2]["value"] == "99999.999999999999000000000001"
    assert rows[1]["time"] == "2026-09-21T14:12:19.750000+00:00"
    assert show(config, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert tuple(rows[0]) == COLUMNS


@pytest.mark.parametrize(
    ("asked", "ids"),
    [({"strategy": "m"}, ["e1"]), ({"since": "1d"}, ["e2", "e3"]),
     ({"since": "2026-09-01"}, ["e2", "e3"]), ({"strategy": "m", "since": "1d"}, [])],
)  # fmt: skip
def test_a_strategy_and_a_time_leave_out_the_rest(
    config: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, str], ids: list[str]
) -> None:
    assert show(config, as_json=True, **asked) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ids


def test_points_of_equity_are_printed_with_all_their_digits(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of all strategies in the order of time."""

    async def fill() -> None:
        state = State.open(config.parent / "state.db", ManualClock(NOW))
        await state.write([
            ledger.put_equity("n", EquityEntry(NOW - 10, LONG, Decimal(0), "p2", "file")),
            ledger.put_equity(
                "m", EquityEntry(NOW - 20, Decimal("100.10"), Decimal("-5.00"), "p1")
            ),
        ])  # fmt: skip
        await state.close()

    asyncio.run(fill())
    assert show(config, equity=True, as_csv=True) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert tuple(rows[0]) == EQUITY_COLUMNS
    assert [(r["strategy"], r["equity"], r["flow"], r["origin"]) for r in rows] == [
        ("m", "100.10", "-5.00", ""), ("n", f"{LONG:f}", "0", "file"),
    ]  # fmt: skip
    assert show(config, equity=True, strategy="m", as_json=True) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["p1"]
    assert show(config, equity=True, since="5s") == 0
    assert "no point is kept" in capsys.readouterr().out


def test_people_get_a_table_and_wrong_use_a_sentence(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(config) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1:3] == ["m", "A,"]
    assert show(config, since="soon") == 2
    assert "--since: invalid duration 'soon'" in capsys.readouterr().err
    assert show(config, strategy="nobody") == 0
    assert "no fill is kept" in capsys.readouterr().out
    config.write_text("state: nothing/here.db\n")
    assert show(config) == 1
    assert "cannot be read" in capsys.readouterr().err
