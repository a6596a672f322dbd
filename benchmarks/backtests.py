"""Backtests of 50 symbols and 20 sets of parameters on 500 hourly bars, against a plain loop,
joblib and Dask with the same two processes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.backtests_beside import beside_an_exporter
from benchmarks.figures import OURS, Row, compared
from exporter.backtests.bar_table import BarTable
from exporter.backtests.batch import run_batch
from exporter.backtests.local_executor import LocalExecutor
from exporter.backtests.prepare import BatchOrder
from exporter.backtests.trading import Account
from exporter.backtests.unit import ParameterTrial, UnitGroup, compute
from exporter.calendars.loader import Calendars
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.util.clock import SystemClock

WORKERS, BARS = 2, 500
AIM_OVERHEAD_MS, AIM_RESUME_SECONDS = 2.0, 1.0
_CODE = "def f(bars, n=1):\n    return (bars.close > bars.close.shift(n)).astype(float)\n"
_ACCOUNT = Account(10_000.0, 0.0005, 0.0002)


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Each takes the same units; rounds alternate."""
    symbols, sets, rounds = (10, 10, 1) if quick else (50, 20, 3)
    logging.getLogger("exporter").addHandler(logging.NullHandler())  # made-up bars have gaps
    (folder / "bench_strategy.py").write_text(_CODE)
    tables = [_table(f"S{n}") for n in range(symbols)]
    groups = [_group(folder, table, sets) for table in tables]
    units = symbols * sets
    rivals: dict[str, Callable[[], None]] = {
        OURS: lambda: _ours(groups),
        "a plain loop, one process": lambda: _loop(groups),
        "joblib, 2 processes": lambda: _joblib(groups),
        "Dask, 2 processes": lambda: _dask(groups),
    }
    for name, module in (("joblib, 2 processes", "joblib"), ("Dask, 2 processes", "distributed")):
        if importlib.util.find_spec(module) is None:
            del rivals[name]
    found: dict[str, list[float]] = {name: [] for name in rivals}
    overhead = []
    for _ in range(rounds):
        for name, work in rivals.items():
            began = time.perf_counter()
            work()
            found[name].append(units / (time.perf_counter() - began))
        overhead.append(_overhead_ms(groups, units))
    resume = _resume_seconds(folder, tables, sets, rounds)
    figure = f"backtests of {symbols} symbols, {sets} sets, {BARS} bars"
    return [
        *compared(figure, "units a second, start included", found, "1/s", better="more"),
        *compared(figure, "overhead of a unit", {OURS: overhead}, "ms", aim=AIM_OVERHEAD_MS),
        *compared(figure, "a finished batch again", {OURS: resume}, "s", aim=AIM_RESUME_SECONDS),
        *beside_an_exporter(folder / "beside", quick),
    ]


def _table(symbol: str) -> BarTable:
    rng = np.random.default_rng(len(symbol) + hash(symbol) % 1000)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, BARS)))
    opened = np.concatenate([close[:1], close[:-1]])
    start = 1_780_000_000.0 // 3600 * 3600 + 3600.0 * np.arange(BARS)
    columns = {"start": start, "open": opened, "close": close, "high": np.maximum(opened, close),
               "low": np.minimum(opened, close), "volume": np.ones(BARS)}  # fmt: skip
    return BarTable.of(symbol, columns)


def _group(folder: Path, table: BarTable, sets: int) -> UnitGroup:
    trials = [ParameterTrial(n, {"n": n + 1}, n == 0) for n in range(sets)]
    return UnitGroup("bench_strategy:f", [str(folder)], table, _ACCOUNT, 1764.0, 1, trials)


def _ours(groups: Sequence[UnitGroup]) -> None:
    LocalExecutor(WORKERS, timeout=60, memory=10**9).run(iter(groups), lambda result: None)


def _loop(groups: Sequence[UnitGroup]) -> None:
    for group in groups:
        list(compute(group))


def _one(group: UnitGroup, trial: ParameterTrial) -> Any:
    return list(compute(replace(group, trials=[trial])))


def _joblib(groups: Sequence[UnitGroup]) -> None:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    work = (delayed(_one)(group, trial) for group in groups for trial in group.trials)
    Parallel(n_jobs=WORKERS)(work)
    get_reusable_executor().shutdown(wait=True)


def _dask(groups: Sequence[UnitGroup]) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None,
                     host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        futures = []
        for group in groups:
            scattered = client.scatter(group)
            futures += [client.submit(_one, scattered, trial, pure=False) for trial in group.trials]
        client.gather(futures)


def _overhead_ms(groups: Sequence[UnitGroup], units: int) -> float:
    """Of one process: what a unit takes beyond its own time, without the start of the server."""
    spent = 0.0
    began = 0.0

    def count(result: Any) -> None:
        nonlocal spent, began
        began = began or time.perf_counter() - result.seconds
        spent += result.seconds

    LocalExecutor(1, timeout=60, memory=10**9).run(iter(groups), count)
    return (time.perf_counter() - began - spent) / units * 1000


def _resume_seconds(
    folder: Path, tables: Sequence[BarTable], sets: int, rounds: int
) -> list[float]:
    """A run in which everything is known."""
    by_symbol = {table.symbol: table for table in tables}

    class Given:
        def bars(self, source: Any, symbol: str, *_: Any) -> tuple[BarTable, list[str]]:
            return by_symbol[symbol], []

    strategy = BacktestedStrategy(
        run="bench_strategy:f", symbols=tuple(by_symbol), interval="1h", exchange="24/7",
        params={"n": 1}, grid={"n": list(range(1, sets + 1))},
    )  # fmt: skip
    order = BatchOrder(
        Backtests(strategies={"s": strategy}), folder / "kept", [folder],
    )  # fmt: skip
    calendars = Calendars(folder / "cache", {}, SystemClock())
    asyncio.run(calendars.load(["24/7"]))
    times = []
    for number in range(rounds + 1):
        executor = LocalExecutor(WORKERS, timeout=60, memory=10**9)
        began = time.perf_counter()
        run_batch(order, calendars.get, Given(), executor, SystemClock())
        if number:
            times.append(time.perf_counter() - began)
    return times
