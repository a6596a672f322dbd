"""What a look at an equity file makes of a curve, and what is said of its rows."""

from __future__ import annotations

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
