"""A run of backtests: plan, history, units, results. Blocking; in a process of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from exporter.backtests.batch_end import BatchEnd, log_end, walks
from exporter.backtests.batch_progress import BatchProgress, ProgressFile
from exporter.backtests.expected_days import expected_days
from exporter.backtests.history_store import HistoryStore, Market
from exporter.backtests.prepare import BatchOrder, History, prepare, unit_groups
from exporter.backtests.published import RUNNING, publish
from exporter.backtests.result_store import ResultStore, ResultWriter, StoredResult
from exporter.backtests.unit import UnitGroup, UnitResult
from exporter.calendars.bars import Calendar
from exporter.util.atomic import private_folder, write
from exporter.util.clock import Clock, utc

log = logging.getLogger(__name__)

RESULTS, HISTORY = "results.db", "history"


class Executor(Protocol):
    """Computes units, wherever that is."""

    workers: int

    def run(self, groups: Iterator[UnitGroup], on_result: Callable[[UnitResult], None]) -> None:
        """Compute all; each unit is reported once."""


def backtest(
    order: BatchOrder,
    market: Market,
    executor: Executor,
    clock: Clock,
    *,
    on_progress: Callable[[BatchProgress], None] = lambda progress: None,
) -> BatchEnd:
    """Compute what is not known yet, on kept history. Raises what the executor raises."""
    history = HistoryStore(order.folder / HISTORY, market)
    try:
        return run_batch(order, market.calendar, history, executor, clock, on_progress=on_progress)
    finally:
        history.close()


def run_batch(
    order: BatchOrder,
    calendar: Callable[[str], Calendar],
    history: History,
    executor: Executor,
    clock: Clock,
    *,
    on_progress: Callable[[BatchProgress], None] = lambda progress: None,
) -> BatchEnd:
    """The same on any history. Raises what the executor raises."""
    began = time.monotonic()
    store = ResultStore(order.folder / RESULTS)
    try:
        prepared = prepare(order, calendar, history, clock.now())
        known = set() if order.everything else store.known(one.key for one in prepared.units)
        run = store.begin(clock.now(), prepared.units, published=order.is_usual)
        progress = BatchProgress(len(prepared.units), reused=len(known))
        progress.done = sum(one.key in known for one in prepared.units)
        on_progress(progress)
        shown = ProgressFile(order.folder / RUNNING, clock, on_progress)
        writer = ResultWriter(
            store, run, prepared.units, clock=clock, progress=progress, on_progress=shown.show
        )
        groups = unit_groups(prepared, known, order.code, executor.workers)
        try:
            executor.run(groups, writer.on_result)
        finally:
            writer.flush()
            shown.end()
        took = time.monotonic() - began
        before = store.previous(clock.now())
        end = BatchEnd(
            run, store.results(run),
            [] if before is None else [one for one in store.results(before) if one.configured],
            prepared.problems, prepared.notes, progress, took,
        )  # fmt: skip
        end = replace(end, walks=walks(order, end))
        log_end(end)
        store.end(run, clock.now(), {"seconds": took, "failures": end.failures[:20]})
        if order.is_usual:
            _publish(order, store.published(), calendar)
        return replace(end, report=_write_report(order, end, clock.now()))
    finally:
        store.close()


def _publish(
    order: BatchOrder, results: Sequence[StoredResult], calendar: Callable[[str], Calendar]
) -> None:
    days = {}
    for name, settings in order.settings.strategies.items():
        own = [one for one in results if one.strategy == name]
        found = expected_days(own, settings, calendar(settings.exchange).zone)
        days[name] = found.to_json(settings) if found else None
    publish(order.folder, results, days)


def _write_report(order: BatchOrder, end: BatchEnd, now: float) -> Path | None:
    from exporter.backtests.report_page import report

    if order.reports is None:
        return None
    days = "" if order.days is None else f"-{order.days}d"
    file = order.reports / f"backtest-{utc(now):%Y-%m-%d}{days}.html"
    try:
        private_folder(order.reports)
        write(file, report(end, now, order.live))
    except OSError as error:
        log.error("the report cannot be written: %s", error, extra={"event": "backtest_report"})
        return None
    return file
