"""The ledger is bounded, survives a restart, and takes each row once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.config import Config, LedgerSettings, Strategy
from exporter.metrics import Metrics
from exporter.state import State, ledger
from exporter.state.ledger import EquityEntry, Fill
from exporter.strategies.tracker import Strategies
from tests.unit.clocks import ManualClock

DAY = 86400.0


async def test_old_rows_and_the_oldest_of_too_many_are_deleted(tmp_path: Path) -> None:
    """By time, whatever the order in which they came; the newest stay."""
    clock = ManualClock()
    now = clock.now()
    state = State.open(tmp_path / "state.db", clock)
    rows = [
        ledger.put_fill("m", Fill("A", "buy", now - n * 60, Decimal(n), id=str(n)))
        for n in range(2500)
    ]
    rows += [
        ledger.put_equity("m", EquityEntry(now - n * DAY, Decimal(n), Decimal(0), str(n)))
        for n in range(30)
    ]
    assert await state.write(rows) == 2530
    assert await state.write(rows) == 0
    strategies = Strategies(state, clock, Metrics(CollectorRegistry()))
    bounds = LedgerSettings(keep_equity=10.5 * DAY, max_rows=1200)
    strategies.apply(Config(strategies={"m": Strategy()}, ledger=bounds))
    await strategies.purge()
    await state.close()
    kept = [row.fill.id for row in ledger.fills(tmp_path / "state.db")]
    assert kept == [str(n) for n in reversed(range(1200))]
    points = ledger.equity(tmp_path / "state.db", "m", 0.0)
    assert [entry.id for entry in points] == [str(n) for n in reversed(range(11))]
    assert len(ledger.equity(tmp_path / "state.db", "m", 0.0, 3)) == 3


async def test_a_bad_row_undoes_nothing_else(tmp_path: Path) -> None:
    """A fill is kept together with the values that belong to it, or not at all."""
    state = State.open(tmp_path / "state.db", ManualClock())
    good = ledger.put_fill("m", Fill("A", "buy", 1.0, Decimal(1), id="a"))
    assert await state.write([good], [("fill", "m|A|buy", {"at": 1.0, "price": 1.0})]) == 1
    assert state.kept("fill") == {"m|A|buy": {"at": 1.0, "price": 1.0}}
    await state.close()
