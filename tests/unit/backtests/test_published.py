"""From the file that a run writes to metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.backtests.published import LATEST, RUNNING, BacktestResults
from exporter.config import Config
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.metrics import Metrics
from tests.unit.clocks import ManualClock

CLOCK = ManualClock()


class Kept:
    """State that remembers what it was given."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def kept(self, kind: str) -> dict[str, Any]:
        assert kind == "backtest"
        return dict(self.values)

    async def keep_many(self, values: Any) -> None:
        self.values |= {name: value for _, name, value in values}


def config(folder: Path) -> Config:
    one = BacktestedStrategy(run="m:f", symbols=("A", "B"), interval="1h", exchange="24/7")
    return Config(backtests=Backtests(strategies={"s": one}, folder=folder))


async def test_the_newest_results_are_metrics(tmp_path: Path) -> None:
    """NaN before the first; after a restart what state kept, though the file is gone."""
    registry, state = CollectorRegistry(), Kept()
    results = BacktestResults(state, Metrics(registry), CLOCK)  # type: ignore[arg-type]
    results.apply(config(tmp_path))

    def value(name: str, symbol: str) -> float:
        found = registry.get_sample_value(
            f"quant_backtest_{name}", {"strategy": "s", "symbol": symbol}
        )
        assert found is not None
        return found

    await results.refresh()
    assert math.isnan(value("return_ratio", "A"))
    file = tmp_path / LATEST
    file.write_text(json.dumps({"s|A": {"at": 5.0, "return": 0.1, "sharpe": None}, "gone|A": {}}))
    await results.refresh()
    assert value("return_ratio", "A") == 0.1
    assert value("last_success_timestamp_seconds", "A") == 5.0
    assert math.isnan(value("sharpe_ratio", "A"))
    assert math.isnan(value("return_ratio", "B"))
    file.unlink()
    again = BacktestResults(state, Metrics(CollectorRegistry()), CLOCK)  # type: ignore[arg-type]
    again.apply(config(tmp_path))
    await again.refresh()
    assert again.newest["s|A"]["return"] == 0.1


async def test_a_file_that_is_not_ours_changes_nothing(tmp_path: Path) -> None:
    """It is logged, and read again once it is another."""
    results = BacktestResults(Kept(), Metrics(CollectorRegistry()), CLOCK)  # type: ignore[arg-type]
    results.apply(config(tmp_path))
    for text in ("{", "[1]", '{"s|A": 3}'):
        (tmp_path / LATEST).write_text(text)
        await results.refresh()
        assert results.newest == {}


async def test_the_progress_of_a_run_is_shown_while_it_runs(tmp_path: Path) -> None:
    """In words and as metrics; a run that was killed is over after half a minute."""
    registry, clock = CollectorRegistry(), ManualClock()
    results = BacktestResults(Kept(), Metrics(registry), clock)  # type: ignore[arg-type]
    results.apply(config(tmp_path))
    await results.refresh()
    assert results.progress() is None
    running = {"at": clock.now(), "total": 400, "done": 120, "failed": 2, "seconds_left": 180}
    (tmp_path / RUNNING).write_text(json.dumps(running))
    await results.refresh()
    assert results.progress() == "120 of 400, 2 failed, about 3m left"
    assert registry.get_sample_value("quant_backtest_units") == 400
    assert registry.get_sample_value("quant_backtest_units_done") == 120
    clock.advance(31)
    assert results.progress() is None
    assert registry.get_sample_value("quant_backtest_units") == 0
