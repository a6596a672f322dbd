"""``quant-exporter backtest``. It computes by itself, whether an exporter runs or not."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from exporter.backtests.batch import backtest as run_backtests
from exporter.backtests.batch_end import BatchEnd, best_of, with_significance
from exporter.backtests.batch_progress import BatchProgress
from exporter.backtests.executors import open_executor
from exporter.backtests.local_executor import ExecutorError
from exporter.backtests.plan import replaced_params
from exporter.backtests.prepare import BatchOrder
from exporter.backtests.result_store import StoredResult
from exporter.calendars.bars import Calendar
from exporter.cli.text_table import print_table
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.config.paths import backtests_folder, reports_folder
from exporter.metrics import Metrics
from exporter.sources.base import Bar, DataSource
from exporter.sources.registry import Supply, SupplyError
from exporter.util.clock import SystemClock
from exporter.util.nan import NAN, json_safe
from exporter.util.units import format_duration

_T = TypeVar("_T")
_BAR_CHARS = 24


def backtest(
    path: Path,
    *,
    strategies: Sequence[str],
    days: int | None,
    params: Sequence[str],
    workers: int | None,
    everything: bool,
    dask: str | None,
    as_json: bool,
) -> int:
    """Compute what changed since the last run, and print the results. 0 when every unit has one."""

    def call(config: Config) -> int:
        problem = _wrong_use(config, strategies, days, workers)
        if problem:
            complain(problem)
            return 2
        try:
            grid = replaced_params(params) if params else None
            settings = config.backtests.on_cluster(dask) if dask else config.backtests
        except ValueError as error:
            complain(error)
            return 2
        order = BatchOrder(
            settings, backtests_folder(config), config.code, strategies, days, grid, everything,
            reports_folder(config),
        )  # fmt: skip
        try:
            executor = open_executor(
                settings, config.code, workers=workers, environment=_without_keys(config)
            )
            with _market(config, order) as market:
                end = run_backtests(
                    order, market, executor, SystemClock(), on_progress=_ProgressBar().show
                )
        except KeyboardInterrupt:
            complain("\nstopped; what is computed is kept: the same command goes on from there")
            return 130
        except (ExecutorError, SupplyError) as error:
            complain(error)
            return 1
        _print_json(end) if as_json else _print(end)
        return 1 if end.failures else 0

    return with_config(path, call)


def _wrong_use(
    config: Config, names: Sequence[str], days: int | None, workers: int | None
) -> str | None:
    known = config.backtests.strategies
    if not known:
        return "no strategy to test: add one to `backtests: {strategies: …}`; see docs/backtests.md"
    if unknown := [name for name in names if name not in known]:
        return f"unknown strategy {unknown[0]!r}: write one of {', '.join(known)}"
    if days is not None and not 1 <= days <= 20_000:
        return f"--days {days}: write a number from 1 to 20000"
    if workers is not None and not 1 <= workers <= 256:
        return f"--workers {workers}: write a number from 1 to 256"
    return None


def _without_keys(config: Config) -> dict[str, str]:
    keys = {key for source in config.sources.values() for key in source.secret_variables()}
    return {name: value for name, value in os.environ.items() if name not in keys}


class _SourceMarket:
    """Sources and calendars of the config, on an event loop in a thread of its own."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._supply = Supply(config, Metrics(CollectorRegistry()), SystemClock())
        self._config = config

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def open(self) -> None:
        """Raises :class:`SupplyError`."""
        self.call(self._supply.reconcile(self._config))

    def close(self) -> None:
        self.call(self._supply.close())

    def calendar(self, exchange: str) -> Calendar:
        return self._supply.calendars.get(exchange)

    def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        return list(self.call(self._source(source).history(symbol, interval, start, end)))

    def recent(
        self, symbol: str, interval: str, limit: int, *, source: str | None = None
    ) -> list[Bar]:
        return list(self.call(self._source(source).recent(symbol, interval, limit)))

    def _source(self, name: str | None) -> DataSource:
        return self._supply.sources[name or next(iter(self._supply.sources))]


@contextmanager
def _market(config: Config, order: BatchOrder) -> Iterator[_SourceMarket]:
    """With the sources that are needed; a key of another one need not be there."""
    chosen = [
        config.backtests.strategies[n] for n in order.strategies or config.backtests.strategies
    ]
    needed = {one.source or next(iter(config.sources)) for one in chosen}
    sources = {name: one for name, one in config.sources.items() if name in needed}
    with asyncio.Runner() as runner:  # in the end it cancels what an interrupted call left
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        market = _SourceMarket(config.model_copy(update={"sources": sources}), loop)
        try:
            market.open()
            yield market
        finally:
            market.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


class _ProgressBar:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = 0

    def show(self, progress: BatchProgress) -> None:
        stream = sys.__stderr__
        if stream is None or not stream.isatty():
            return
        computed, left = progress.done - progress.reused, progress.total - progress.done
        share = progress.done / progress.total if progress.total else 1.0
        text = "#" * round(share * _BAR_CHARS)
        line = f"[{text.ljust(_BAR_CHARS, '.')}] {progress.done} of {progress.total}"
        if progress.failed:
            line += f", {progress.failed} failed"
        if computed > 0 and left:
            needed = (time.monotonic() - self._began) / computed * left
            line += f", about {format_duration(needed)} left"
        end = "" if left else "\n"
        with suppress(OSError, ValueError):  # nobody reads it now
            print(f"\r{line.ljust(self._shown)}", end=end, file=stream, flush=True)
        self._shown = len(line)


def _print_json(end: BatchEnd) -> None:
    tried = end.by_symbol
    made = {
        "run": end.run,
        "seconds": end.seconds,
        **vars(end.progress),
        "report": str(end.report) if end.report else None,
        "problems": dict(end.problems),
        "notes": dict(end.notes),
        "results": [
            {
                "strategy": one.strategy, "symbol": one.symbol, "params": one.params,
                "configured": one.configured, "error": one.error,
                **({} if one.error else with_significance(one, tried[one.strategy, one.symbol])),
            }
            for one in end.results
        ],
        "walk_forward": [
            {
                "strategy": strategy, "symbol": symbol, "return": found.total,
                "returns": found.returns, "chosen": list(found.chosen),
            }
            for (strategy, symbol), found in end.walks.items()
        ],
    }  # fmt: skip
    print(json.dumps(json_safe(made), indent=2, default=str))


def _print(end: BatchEnd) -> None:
    tried = end.by_symbol
    before = {(one.strategy, one.symbol): one for one in end.previous}
    rows = [_row(one, tried, before) for one in end.configured if not one.error]
    if rows:
        head = (
            "strategy", "symbol", "return", "before", "Sharpe", "sets", "deflated",
            "worst drawdown", "trades", "best set",
        )  # fmt: skip
        print_table([head, *rows])
        print("deflated: the chance that the Sharpe ratio is more than luck, after so many sets")
    for (strategy, symbol), walk in end.walks.items():
        print(f"walk forward, {strategy} {symbol}: {_percent(walk.total)}")
    for name, text in end.notes.items():
        complain(f"{name}: {text}")
    for text in end.failures[:20]:
        complain(text)
    progress = end.progress
    computed = progress.done - progress.reused
    print(
        f"{progress.total} units: {computed} computed in {format_duration(end.seconds)}, "
        f"{progress.reused} known, {progress.failed} failed"
    )
    if end.report:
        print(f"report: {end.report}")


def _row(
    one: StoredResult,
    tried: Mapping[tuple[str, str], Sequence[StoredResult]],
    before: Mapping[tuple[str, str], StoredResult],
) -> tuple[str, ...]:
    where = one.strategy, one.symbol
    numbers = with_significance(one, tried[where])
    past = before[where].numbers.get("return", NAN) if where in before else NAN
    trades = numbers.get("trades", NAN)
    best = best_of(tried[where])
    params = ", ".join(f"{name}={value}" for name, value in best.params.items()) if best else ""
    return (
        one.strategy, one.symbol, _percent(numbers["return"]), _percent(past),
        _number(numbers["sharpe"]), f"{numbers['sets_tried']:.0f}",
        _percent(numbers["deflated_sharpe"]).lstrip("+"),
        _percent(numbers["worst_drawdown"]).lstrip("+"),
        "–" if math.isnan(trades) else f"{trades:.0f}",
        f"{params}: {_number(best.numbers['sharpe'])}" if best and best is not one else "this one",
    )  # fmt: skip


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2%}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
