"""What a weekend's backtests do to an exporter on the same machine: its slots, its /metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import building
from benchmarks.figures import OURS, Row, percentile
from benchmarks.processes import BenchmarkError, Process, free_port
from benchmarks.slots import AIM_MS, scraped, stretch

WORKERS = 2
_UNIT_SECONDS = 0.05
_CODE = f"""\
import time


def positions(bars, window=40):
    end = time.process_time() + {_UNIT_SECONDS}
    while time.process_time() < end:
        found = (bars["close"] > bars["close"].shift(window)).astype(float)
    return found
"""
_SETTLE_SECONDS = 1.5


def beside_an_exporter(folder: Path, quick: bool) -> Sequence[Row]:
    """200 tasks and 500 symbols without backtests, then with them on every core."""
    symbols, sets, seconds = (10, 20, 2.0) if quick else (50, 40, 30.0)
    folder.mkdir()
    port = free_port()
    every = {
        f"task_{number:03d}": {"run": "bench:look", "schedule": f"every {10 + number}s"}
        for number in range(building.TASKS)
    }
    strategy = {
        "run": "slow_strategy:positions", "symbols": building.symbols(symbols), "interval": "1h",
        "exchange": "24/7", "source": "market", "params": {"window": 40},
        "grid": {"window": list(range(1, sets + 1))},
    }  # fmt: skip
    backtests = {"workers": WORKERS, "days": 20, "strategies": {"slow": strategy}}
    rows: list[Row] = []
    with building.market(folder) as market:
        path = building.config(
            folder, port, market, tasks=every, feeds={"coins": building.feed()}, backtests=backtests
        )
        (folder / "code/slow_strategy.py").write_text(_CODE)
        with building.exporter(path, port):
            rows += _measured("without backtests", folder, port, seconds)
            arguments = ["-m", "exporter", "backtest", "--config", str(path), "--all"]
            with Process(arguments, folder / "backtest.out") as batch:
                memory = _memory_at_work(batch)
                rows += _measured("while backtests run", folder, port, seconds)
                if not batch.running and not quick:
                    raise BenchmarkError(f"the backtests ended too soon: {batch.wait()}")
    rows.append(Row(_figure("while backtests run"), "PSS of the backtests", OURS, memory, "MB"))
    return rows


def _figure(when: str) -> str:
    return f"{building.TASKS} tasks and {building.SYMBOLS} symbols {when}"


def _memory_at_work(batch: Process) -> float:
    """In MB, once bars are read and both workers compute; a short batch may end before."""
    end, memory = time.monotonic() + 60, 0.0
    while batch.running and time.monotonic() < end:
        memory = batch.family_pss_mb() or memory
        if batch.family_cpu_seconds() >= 4.0:
            break
        time.sleep(0.1)
    return memory


def _measured(when: str, folder: Path, port: int, seconds: float) -> list[Row]:
    with scraped(f"http://127.0.0.1:{port}/metrics") as scrapes:
        late = stretch(folder / "starts", seconds, _SETTLE_SECONDS)
    figure = _figure(when)
    return [
        Row(figure, "slots late by, p50", OURS, percentile(late, 0.5), "ms"),
        Row(figure, "slots late by, p99", OURS, percentile(late, 0.99), "ms", aim=AIM_MS),
        Row(figure, "/metrics, p50", OURS, percentile(scrapes, 0.5), "ms"),
        Row(figure, "/metrics, p95", OURS, percentile(scrapes, 0.95), "ms"),
    ]
