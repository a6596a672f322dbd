"""What tasks say of a strategy goes to the ledger and the log, once each."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Strategy, Task
from exporter.metrics import Metrics
from exporter.state import State
from exporter.strategies.tracker import Strategies
from exporter.tasks.errors import Permanent
from exporter.tasks.trade_log import TradeLog
from tests.unit.clocks import ManualClock


@dataclass
class Parts:
    config: Config
    strategies: Strategies
    zone: ZoneInfo


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    clock = ManualClock()
    state = State.open(tmp_path / "state.db", clock)
    tasks = {"rebalance": Task(run="m:f", schedule="every 1h", strategy="m"),
             "other": Task(run="m:f", schedule="every 1h")}  # fmt: skip
    config = Config(tasks=tasks, strategies={"m": Strategy(), "n": Strategy()})
    strategies = Strategies(state, clock, Metrics(CollectorRegistry()))
    strategies.apply(config)
    yield Parts(config, strategies, ZoneInfo("UTC"))
    await state.close()


async def test_a_fill_is_one_line_of_the_log_however_often_it_is_said(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """With the fields of a trade log."""
    caplog.set_level(logging.INFO)
    said = {"symbol": "NVDA.US", "side": "BUY", "price": "875.50", "quantity": 100, "id": "T-1"}
    assert await TradeLog(parts).fill("rebalance", None, said)
    assert not await TradeLog(parts).fill("rebalance", None, said)
    (record,) = [r for r in caplog.records if getattr(r, "event", "") == "trade_execution"]
    assert {
        name: getattr(record, name)
        for name in ("trade_id", "strategy", "symbol", "side", "quantity", "price", "value")
    } == {
        "trade_id": "T-1", "strategy": "m", "symbol": "NVDA.US", "side": "buy", "quantity": 100.0,
        "price": 875.5, "value": 87550.0,
    }  # fmt: skip
    (row,) = await parts.strategies.holdings.history()
    assert (row.strategy, str(row.fill.price)) == ("m", "875.50")


async def test_equity_of_a_task_moves_its_strategy(parts: Parts) -> None:
    """Of a strategy that it names, too; what makes no sense is not retried."""
    log = TradeLog(parts)
    await log.equity("rebalance", None, {"equity": 100})
    later = {"equity": 90, "timestamp": parts.strategies.now() + 1}
    assert await log.equity("other", "m", later) == pytest.approx(0.1)
    with pytest.raises(Permanent, match="give the task its `strategy`, or name one: m, n"):
        await log.equity("other", None, {"equity": 90})
    with pytest.raises(Permanent, match="unknown strategy 'x'"):
        await log.fill("other", "x", {})
    with pytest.raises(Permanent, match="not newer than"):
        await log.equity("rebalance", None, {"equity": 95, "timestamp": 1e9})
