"""What a strategy holds, from a file that it replaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Strategy
from exporter.metrics import Metrics
from exporter.state import State
from exporter.strategies.holdings import Holdings
from exporter.strategies.positions_file import MOST_BYTES, PositionsFiles, first_problem
from tests.unit.clocks import ManualClock


class Desk:
    """A file, and who reads it."""

    def __init__(self, folder: Path) -> None:
        self.file, self.clock = folder / "held.csv", ManualClock()
        registry = CollectorRegistry()
        self.holdings = Holdings(
            State.open(folder / "state.db", self.clock), self.clock, Metrics(registry)
        )
        strategies = {"m": Strategy(positions_file=self.file)}
        self.holdings.apply(strategies)
        self.files = PositionsFiles(self.holdings)
        self.files.apply(strategies)

    async def write(self, text: str | bytes) -> None:
        self.clock.advance(10)
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(self.file, (self.clock.now(), self.clock.now()))
        await self.files.refresh()

    def held(self) -> dict[str, str] | None:
        found = self.holdings.positions("m")
        return found and {symbol: str(value) for symbol, value in found.quantities().items()}

    @property
    def problem(self) -> str | None:
        return self.holdings.unreadable.get("m")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "symbol,quantity\nAAPL.US,10.5\nTSLA.US,-2\nSPY.US,0\n",
        "Quantity;Symbol;Price\n10.5;AAPL.US;181\n-2;TSLA.US;\n",
        b"\xef\xbb\xbfsymbol\tquantity\r\nAAPL.US\t10.5\r\nTSLA.US\t-2\r\n",
        '{"positions": [{"symbol": "AAPL.US", "quantity": "10.5"},'
        ' {"symbol": "TSLA.US", "quantity": -2}]}',
        '[{"symbol": "AAPL.US", "quantity": 10.5}, {"symbol": "TSLA.US", "quantity": -2}]',
    ],
)
async def test_a_file_is_all_that_is_held_as_of_when_it_was_written(
    desk: Desk, text: str | bytes
) -> None:
    """Short is negative, 0 is not held, and digits stay."""
    await desk.write(text)
    assert desk.problem is None
    assert desk.held() == {"AAPL.US": "10.5", "TSLA.US": "-2"}
    found = desk.holdings.positions("m")
    assert found is not None
    assert found.at == desk.clock.now()
    await desk.write("symbol,quantity\n")
    assert desk.held() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,quantity\nAAPL.US,1", "the last line does not end with a newline"),
        ("symbol,quantity\nAAPL.US,many\n", "quantity must be a number, not 'many'"),
        ("symbol,quantity\nAAPL.US,nan\n", "quantity must be a number, not 'nan'"),
        ("symbol,quantity\nAAPL.US\n", "line 2 has 1 cells, the header has 2"),
        ("AAPL.US,1\n", "the first line must be a header with symbol and quantity"),
        ("symbol,quantity\nA,1\nA,2\n", "A is listed twice"),
        ("", "it is empty: also when nothing is held, write the header"),
        ('{"positions": [{"symbol": "A"', "Expecting"),
        ('{"held": []}', "positions is missing"),
        (b"symbol,quantity\n\xff\xfe,1\n", "it is not UTF-8; write it as UTF-8"),
        ("symbol,quantity\nA,1\n".encode("utf-16"), "it is UTF-16; write it as UTF-8"),
        ('{"positions": [{"symbol": "A", "quantity": 1}], "positions": []}', "is there twice"),
        (
            "symbol,quantity\n" + "A,1\n" * (MOST_BYTES // 4),
            "bytes: a list of positions is shorter",
        ),
    ],
)
async def test_a_file_that_is_not_understood_is_said_and_is_not_flat(
    desk: Desk, text: str | bytes, said: str
) -> None:
    """What was held before is known still, and that it may be wrong is known, too."""
    await desk.write("symbol,quantity\nAAPL.US,10\n")
    await desk.write(text)
    assert said in str(desk.problem)
    assert said in str(first_problem(desk.file))
    assert desk.held() == {"AAPL.US": "10"}
    await desk.write("symbol,quantity\nAAPL.US,9\n")
    assert desk.problem is None
    assert desk.held() == {"AAPL.US": "9"}


async def test_a_file_that_is_gone_is_said(desk: Desk) -> None:
    """And one that did not change is not read again."""
    await desk.write("symbol,quantity\nAAPL.US,10\n")
    desk.holdings._held["m"].clear()
    await desk.files.refresh()
    assert desk.held() is None
    desk.file.unlink()
    await desk.files.refresh()
    assert "No such file" in str(desk.problem)
    assert first_problem(desk.file) is None, "it may be written later"
    desk.files.apply({"m": Strategy()})
    assert desk.problem is None
