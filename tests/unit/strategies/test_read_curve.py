"""What a look at an equity file makes of a curve, and what is said of its rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.state.ledger import Fill
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.file import EquityFilePosition
from exporter.util.clock import iso
from tests.unit.strategies.test_file import take
from tests.unit.strategies.test_tracker import DAY, START, Desk


@pytest.mark.parametrize("above", ["sep=;", "SEP=;", "# exported at noon"])
def test_what_spreadsheets_write_above_the_header_is_no_bad_line(
    tmp_path: Path, above: str
) -> None:
    """Also where it is the only line above it."""
    file = tmp_path / "e.csv"
    file.write_text(f"{above}\ntimestamp;equity\n1790000000;100\n")
    assert take(file, EquityFilePosition()) == [EquityPoint(1790000000, 100)]


def test_a_position_of_an_older_version_knows_its_header(tmp_path: Path) -> None:
    """After an upgrade the next row is read by the columns of the file's first line."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("equity,note,timestamp\n100,x,1790000000\n")
    take(file, position)
    old = position.to_json()
    del old["layout"]
    old["header"] = ["equity", "note", "timestamp"]
    with file.open("a") as more:
        more.write("101,y,1790000060\n")
    assert take(file, EquityFilePosition.from_json(old)) == [EquityPoint(1790000060, 101)]


async def test_older_rows_of_a_file_that_is_written_again_change_no_peak(tmp_path: Path) -> None:
    """They were seen before, or are corrections of a past that was reported already."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START + DAY},100\n{START + 2 * DAY},90\n")
    await desk.read()
    desk.file.unlink()
    desk.append(
        f"timestamp,equity\n{START},500\n{START + DAY},100\n{START + 2 * DAY},90\n"
        f"{START + 3 * DAY},95\n"
    )
    await desk.read()
    assert (desk.value("equity"), desk.value("equity_peak")) == (95, 100)


async def test_a_row_from_the_future_is_said_with_its_time(tmp_path: Path) -> None:
    """A clock or a unit is wrong; the row does not count."""
    desk = Desk(tmp_path)
    future = desk.clock.now() + 2 * DAY
    desk.append(f"timestamp,equity\n{START},100\n{future},50\n")
    await desk.read()
    assert desk.problem == f"line 3 of equity.csv: timestamp {iso(future)} lies in the future"
    assert (desk.value("equity"), desk.value("equity_unreadable")) == (100, 1)
    with pytest.raises(ValueError, match=f"timestamp {iso(future)} lies in the future"):
        await desk.strategies.post_equity("s", EquityPoint(future, 50))


async def test_fills_survive_a_restart(tmp_path: Path) -> None:
    """With their time and price; an older one that comes later changes nothing."""
    desk = Desk(tmp_path)
    await desk.strategies.holdings.add_fill("s", Fill("A.US", "buy", START, Decimal("12.5")))
    desk.restart()
    labels = {"strategy": "s", "symbol": "A.US", "side": "buy"}

    def value(name: str) -> float | None:
        return desk.registry.get_sample_value(f"quant_strategy_last_fill_{name}", labels)

    assert (value("timestamp_seconds"), value("price")) == (START, 12.5)
    await desk.strategies.holdings.add_fill("s", Fill("A.US", "buy", START - 60, Decimal("11.0")))
    assert value("price") == 12.5


async def test_one_leap_among_good_balances_is_no_peak(tmp_path: Path) -> None:
    """It would be a drawdown of nearly all for ever; a second balance like it is believed."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 1},1e29\n")
    await desk.read()
    assert "equity 1e+29 at" in str(desk.problem)
    assert (desk.value("equity"), desk.value("equity_peak")) == (100, 100)
    desk.append(f"{START + 2},99\n{START + 3},50000\n{START + 4},0\n{START + 5},98\n")
    await desk.read()
    assert (desk.value("equity"), desk.value("equity_peak")) == (98, 100)
    desk.append(f"{START + 6},50000\n")
    await desk.read()
    assert "equity 50000 at" in str(desk.problem)
    desk.append(f"{START + 7},40000\n")
    await desk.read()
    assert desk.problem is None
    assert (desk.value("equity_peak"), desk.value("drawdown_ratio")) == (50000, pytest.approx(0.2))


async def test_a_leap_that_nothing_contradicts_counts_after_a_while(tmp_path: Path) -> None:
    """It may be a deposit that nobody called one; one that is called so is no leap."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity,flow\n{START},100,\n{START + 1},5100,5000\n")
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (5100, None)
    desk.append(f"{START + 2},510000,\n")
    await desk.read()
    assert desk.value("equity") == 5100
    desk.clock.advance(1000)
    await desk.read()
    assert desk.value("equity") == 510000


async def test_a_small_account_that_is_funded_is_no_leap(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 1},9900\n")
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (9900, None)


async def test_the_largest_number_is_a_placeholder_and_no_equity(tmp_path: Path) -> None:
    """Interactive Brokers' API has it for what it does not know."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 1},1.7976931348623157e+308\n")
    await desk.read()
    assert "equity is 1.79769e+308, which no account has" in str(desk.problem)
    assert (desk.value("equity_peak"), desk.value("equity_unreadable")) == (100, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("timestamp,Account,equity\n{0},U1,100\n", "{0},U2,5\n"),
        ("timestamp,strategy,equity\n{0},trend,100\n", "{0},carry,5\n"),
        ('{{"timestamp": {0}, "account_id": 7, "equity": 100}}\n',
         '{{"timestamp": {0}, "account_id": 8, "equity": 5}}\n'),
    ],
)  # fmt: skip
async def test_rows_of_a_second_account_are_no_loss(
    tmp_path: Path, first: str, second: str
) -> None:
    """A file that two bots write to; also after a restart."""
    desk = Desk(tmp_path)
    desk.append(first.format(START))
    await desk.read()
    desk.restart()
    desk.append(second.format(START + 1))
    await desk.read()
    assert (desk.value("equity"), desk.value("equity_unreadable")) == (100, 1)
    assert "write a file for each" in str(desk.problem)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("timestamp,portfolio,equity\n{0},10023.5,100\n", "{0},10024,99\n"),
        ("timestamp;account;equity\n{0};$ 1.000,50;100\n", "{0};-3;99\n"),
        ("timestamp,account,strategy,equity\n{0},,,100\n", "{0},9000,,99\n"),
        ('{{"timestamp": {0}, "account": 7.5, "equity": 100}}\n',
         '{{"timestamp": {0}, "account": 8, "equity": 99}}\n'),
    ],
)  # fmt: skip
async def test_a_column_of_values_names_no_account(tmp_path: Path, first: str, second: str) -> None:
    """`portfolio` may be what it is worth."""
    desk = Desk(tmp_path)
    desk.append(first.format(START) + second.format(START + 1))
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (99, None)


async def test_zeros_that_a_power_failure_leaves_cost_no_row(tmp_path: Path) -> None:
    """A file system may fill what was not written with NULs; that is not UTF-16."""
    desk = Desk(tmp_path)
    nothing = "\0" * 600
    desk.append(f"timestamp,equity\n{START},100\n{nothing}{START + 1},90\n{nothing}\n")
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (90, None)


async def test_digits_of_date_and_time_are_no_far_future(tmp_path: Path) -> None:
    """20261128160000 is not a number of milliseconds."""
    desk = Desk(tmp_path)
    text = datetime.fromtimestamp(START, UTC).strftime("%Y%m%d%H%M%S")
    desk.append(f"timestamp,equity\n{text},100\n")
    await desk.read()
    assert (desk.strategies.curves["s"].at, desk.problem) == (START, None)
