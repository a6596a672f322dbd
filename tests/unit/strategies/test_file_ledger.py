"""Rows of equity files in the ledger: each once, what changed in place replaced, and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Strategy
from exporter.metrics import Metrics
from exporter.state import State, StateError, ledger
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.read_curve import MOST_NEW
from exporter.strategies.tracker import Strategies
from tests.unit.clocks import ManualClock

START = 1_790_000_000.0


class Desk:
    """A strategy with a file, over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock(START + 1e6)
        self.file = folder / "equity.csv"
        self.open()

    def open(self) -> None:
        self.state = State.open(self.folder / "state.db", self.clock)
        self.strategies = Strategies(self.state, self.clock, Metrics(CollectorRegistry()))
        one = Strategy(equity_file=self.file)
        self.strategies.apply(Config(timezone="UTC", strategies={"m": one}))

    async def restart(self) -> None:
        await self.state.close()
        self.open()

    def write(self, *rows: str) -> None:
        self.file.write_text("timestamp,equity,flow\n" + "".join(f"{row}\n" for row in rows))

    def append(self, *rows: str) -> None:
        with self.file.open("a") as file:
            file.write("".join(f"{row}\n" for row in rows))

    async def kept(self) -> list[tuple[float, str, str]]:
        await self.strategies.refresh(patience=60)
        found = ledger.equity(self.folder / "state.db", "m", 0.0)
        assert {one.origin for one in found} <= {"file", ""}
        return [(one.at - START, str(one.equity), str(one.flow)) for one in found]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.state.close()


async def test_each_row_of_a_file_is_kept_once(desk: Desk) -> None:
    """Over restarts and rotations; appended rows alone are added."""
    desk.write(f"{START},1000.5,", f"{START + 60},1100,50")
    first = [(0.0, "1000.5", "0.0"), (60.0, "1100.0", "50.0")]
    assert await desk.kept() == first
    assert await desk.kept() == first
    desk.append(f"{START + 120},1200,")
    await desk.restart()
    second = [*first, (120.0, "1200.0", "0.0")]
    assert await desk.kept() == second
    desk.file.rename(desk.folder / "equity.csv.1")
    desk.write(f"{START + 120},1200,", f"{START + 180},1300,")
    assert await desk.kept() == [*second, (180.0, "1300.0", "0.0")]


async def test_a_row_that_the_file_changes_in_place_is_replaced(desk: Desk) -> None:
    """As today's is by programs that write once a day."""
    desk.write(f"{START},1000,", f"{START + 60},1100,")
    await desk.kept()
    desk.write(f"{START},1000,", f"{START + 60},1150,")
    assert await desk.kept() == [(0.0, "1000.0", "0.0"), (60.0, "1150.0", "0.0")]


async def test_a_file_that_is_not_in_order_is_kept_in_order(desk: Desk) -> None:
    """Newest first, as brokers export."""
    desk.write(f"{START + 60},1100,", f"{START},1000,")
    assert [at for at, *_ in await desk.kept()] == [0.0, 60.0]


async def test_a_large_file_leaves_its_newest_rows(desk: Desk) -> None:
    """The rest is in the curve and in the file."""
    desk.write(*(f"{START + n},{1000 + n}," for n in range(MOST_NEW + 5)))
    kept = await desk.kept()
    assert (len(kept), kept[0][0], kept[-1][0]) == (MOST_NEW, 5.0, MOST_NEW + 4.0)


async def test_a_point_that_is_posted_and_in_the_file_is_one(desk: Desk) -> None:
    desk.write(f"{START},1000,")
    await desk.kept()
    await desk.strategies.post_equity("m", EquityPoint(START + 60, 1100.0))
    desk.append(f"{START + 60},1100,", f"{START + 90},1101,")
    assert [at for at, *_ in await desk.kept()] == [0.0, 60.0, 90.0]


async def test_rows_wait_for_a_disk_that_is_full(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve goes on meanwhile; then each row is written once."""
    desk.write(f"{START},1000,")
    await desk.kept()

    async def full(*_: Any) -> int:
        raise StateError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(desk.state, "write", full)
        desk.append(f"{START + 60},1100,")
        await desk.strategies.refresh()
        desk.append(f"{START + 120},1200,")
        await desk.strategies.refresh()
        assert desk.strategies.curves["m"].equity == 1200
    assert [at for at, *_ in await desk.kept()] == [0.0, 60.0, 120.0]
