"""A run of backtests: plan, history, units, results. Blocking; in a process of its own."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from exporter.backtests.bar_table import BarTable
from exporter.backtests.expected_days import expected_days
from exporter.backtests.history_store import HistoryStore, Market, gaps, jumps
from exporter.backtests.plan import PlannedUnit, account_of, code_fingerprint, plan_units
from exporter.backtests.published import RUNNING, publish
from exporter.backtests.result_store import ResultStore, StoredResult
from exporter.backtests.significance import WalkForward, deflate, walk_forward
from exporter.backtests.unit import ParameterTrial, UnitGroup, UnitResult
from exporter.calendars.bars import Calendar
from exporter.config import INTERVAL_SECONDS
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.sources.base import SourceError
from exporter.util.atomic import private_folder, write
from exporter.util.clock import Clock, utc
from exporter.util.local_time import date_of, midnight
from exporter.util.nan import NAN

log = logging.getLogger(__name__)

RESULTS, HISTORY = "results.db", "history"
_YEAR_SECONDS = 365.25 * 86400.0
_WRITE_SECONDS = 0.5
"""How often results are written; a kill loses so much work at most."""
_MOST_IN_GROUP = 50
_TELL_SECONDS = 2.0


class History(Protocol):
    """Where bars come from. Raises :class:`~exporter.sources.base.SourceError`."""

    def bars(
        self, source: str | None, symbol: str, interval: str, start: float, end: float
    ) -> tuple[BarTable, list[str]]:
        """Bars that start in [start, end), and what was noticed about them."""


class Executor(Protocol):
    """Computes units, wherever that is."""

    workers: int

    def run(self, groups: Iterator[UnitGroup], on_result: Callable[[UnitResult], None]) -> None:
        """Compute all; each unit is reported once."""


@dataclass(frozen=True)
class BatchOrder:
    """What is to be computed."""

    settings: Backtests
    folder: Path
    code: Sequence[Path] = ()
    strategies: Sequence[str] = ()
    """Empty: all."""
    days: int | None = None
    grid: Mapping[str, Sequence[Any]] | None = None
    """Instead of each strategy's own."""
    everything: bool = False
    """Also what has a result already."""
    reports: Path | None = None
    """Where the report is written; None: there is none."""
    live: Mapping[str, float] = field(default_factory=dict)
    """What strategies really earned in the last month."""

    @property
    def is_usual(self) -> bool:
        """Whether its results are those that the metrics show."""
        return self.days is None


@dataclass
class BatchProgress:
    """How far a run is."""

    total: int = 0
    reused: int = 0
    done: int = 0
    failed: int = 0


@dataclass(frozen=True)
class BatchEnd:
    """What a run found."""

    run: int
    results: list[StoredResult]
    previous: list[StoredResult]
    """Of the run before, with configured parameters."""
    problems: Mapping[str, str]
    """Strategy and symbol to why there is no history."""
    notes: Mapping[str, str]
    """Strategy and symbol to what is odd about its history."""
    progress: BatchProgress
    seconds: float
    walks: Mapping[tuple[str, str], WalkForward] = field(default_factory=dict)
    """Of strategies and symbols that have one."""
    report: Path | None = None
    """The file for people, where there is one."""

    @property
    def configured(self) -> list[StoredResult]:
        """One for each strategy and symbol."""
        return [one for one in self.results if one.configured]

    @property
    def by_symbol(self) -> dict[tuple[str, str], list[StoredResult]]:
        """All sets of each strategy and symbol that have a result, the configured one first where
        it has one."""
        found: dict[tuple[str, str], list[StoredResult]] = {}
        for one in self.results:
            if not one.error:
                found.setdefault((one.strategy, one.symbol), []).append(one)
        return found

    @property
    def failures(self) -> list[str]:
        """In words."""
        failed = [f"{one.strategy} {one.symbol}: {one.error}" for one in self.results if one.error]
        return failed + [f"{name}: {text}" for name, text in self.problems.items()]


@dataclass
class _Prepared:
    units: list[PlannedUnit] = field(default_factory=list)
    groups: dict[tuple[str, str], tuple[BacktestedStrategy, BarTable, float]] = field(
        default_factory=dict
    )
    problems: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


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
        prepared = _prepare(order, calendar, history, clock.now())
        known = set() if order.everything else store.known(one.key for one in prepared.units)
        run = store.begin(clock.now(), prepared.units, published=order.is_usual)
        progress = BatchProgress(len(prepared.units), reused=len(known))
        progress.done = sum(one.key in known for one in prepared.units)
        on_progress(progress)
        told = _Told(order.folder / RUNNING, clock, on_progress)
        writer = _Writer(
            store, run, prepared.units, clock=clock, progress=progress, on_progress=told.show
        )
        groups = _groups(prepared, known, order.code, executor.workers)
        try:
            executor.run(groups, writer.on_result)
        finally:
            writer.flush()
            told.end()
        took = time.monotonic() - began
        before = store.previous(clock.now())
        end = BatchEnd(
            run, store.results(run),
            [] if before is None else [one for one in store.results(before) if one.configured],
            prepared.problems, prepared.notes, progress, took,
        )  # fmt: skip
        end = replace(end, walks=_walks(order, end))
        _log(end)
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


def window(calendar: Calendar, now: float, days: int) -> tuple[float, float]:
    """The last so many whole days of the exchange: within a day, every run has the same bars."""
    end = midnight(date_of(now, calendar.zone), calendar.zone)
    return midnight(date_of(end - (days - 0.5) * 86400.0, calendar.zone), calendar.zone), end


def _prepare(
    order: BatchOrder, calendar_of: Callable[[str], Calendar], history: History, now: float
) -> _Prepared:
    made = _Prepared()
    for name in order.strategies or order.settings.strategies:
        settings = order.settings.strategies[name]
        calendar = calendar_of(settings.exchange)
        start, end = window(calendar, now, order.days or settings.days or order.settings.days)
        sets = list(settings.parameter_sets(order.grid))
        code = code_fingerprint(settings.run, order.code)
        periods = calendar.expected_bars(settings.interval, end - _YEAR_SECONDS, end)
        per_year = float(periods or _YEAR_SECONDS / INTERVAL_SECONDS[settings.interval])
        for symbol in settings.symbols:
            try:
                bars, notes = history.bars(settings.source, symbol, settings.interval, start, end)
            except SourceError as error:
                made.problems[f"{name} {symbol}"] = error.about(symbol)
                continue
            closed = _closed(bars, calendar, settings.interval, end)
            bars = closed.usable()
            if len(bars) < len(closed):
                notes.append(f"{len(closed) - len(bars)} bars have no price above 0")
            if missing := gaps(bars, calendar, settings.interval, start, end):
                notes.append(missing)
            if jumped := jumps(bars):
                notes.append(jumped)
            if notes:
                made.notes[f"{name} {symbol}"] = "; ".join(notes)
            if len(bars) < 2:
                since = f"{utc(start):%Y-%m-%d}"
                made.problems[f"{name} {symbol}"] = f"no {settings.interval} bars since {since}"
                continue
            made.units += plan_units(
                name, settings, sets, bars, code=code, periods_per_year=per_year
            )
            made.groups[name, symbol] = settings, bars, per_year
    return made


def _closed(bars: BarTable, calendar: Calendar, interval: str, end: float) -> BarTable:
    """Without those that end later, as the newest week or month may."""
    count = len(bars)
    while count and calendar.bar_end(float(bars.start[count - 1]), interval) > end:
        count -= 1
    return bars.where(slice(0, count))


def _groups(
    prepared: _Prepared, known: set[str], code: Sequence[Path], workers: int
) -> Iterator[UnitGroup]:
    """Units to compute, those of a strategy and symbol together."""
    trials = defaultdict[tuple[str, str], list[ParameterTrial]](list)
    for number, unit in enumerate(prepared.units):
        if unit.key not in known:
            trial = ParameterTrial(number, unit.params, unit.configured)
            trials[unit.strategy, unit.symbol].append(trial)
    count = sum(map(len, trials.values()))
    size = max(1, min(_MOST_IN_GROUP, -(-count // (4 * workers))))
    for where, wanted in trials.items():
        settings, bars, per_year = prepared.groups[where]
        for first in range(0, len(wanted), size):
            yield UnitGroup(
                settings.run, [str(folder) for folder in code], bars, account_of(settings),
                per_year, settings.walk_forward, wanted[first : first + size],
            )  # fmt: skip


def best_of(tried: Sequence[StoredResult]) -> StoredResult | None:
    """The set with the highest Sharpe ratio."""
    known = [one for one in tried if not math.isnan(one.numbers.get("sharpe", NAN))]
    return max(known, key=lambda one: one.numbers["sharpe"], default=None)


def _walks(order: BatchOrder, end: BatchEnd) -> dict[tuple[str, str], WalkForward]:
    found = {}
    for (strategy, symbol), tried in end.by_symbol.items():
        parts = order.settings.strategies[strategy].walk_forward
        if parts > 1:
            sets = [(one.params, one.numbers) for one in tried]
            found[strategy, symbol] = walk_forward(sets, parts)
    return found


def with_significance(one: StoredResult, tried: Sequence[StoredResult]) -> dict[str, float]:
    """The numbers of a result with how many sets were tried, and its deflated Sharpe ratio."""
    place = next(n for n, other in enumerate(tried) if other is one)
    deflated = deflate([other.numbers for other in tried], place)
    shown = {name: value for name, value in one.numbers.items() if not name.startswith("part_")}
    return {**shown, "sets_tried": float(len(tried)), "deflated_sharpe": deflated}


class _Told:
    """Says how far a run is, to the exporter by a small file."""

    def __init__(
        self, file: Path, clock: Clock, on_progress: Callable[[BatchProgress], None]
    ) -> None:
        self._file, self._clock, self._on_progress = file, clock, on_progress
        self._began = time.monotonic()
        self._next = 0.0

    def show(self, progress: BatchProgress) -> None:
        """To both."""
        self._on_progress(progress)
        if time.monotonic() < self._next or progress.done >= progress.total:
            return
        self._next = time.monotonic() + _TELL_SECONDS
        computed, left = progress.done - progress.reused, progress.total - progress.done
        seconds = (time.monotonic() - self._began) / computed * left if computed > 0 else 0.0
        told = {
            "at": self._clock.now(), "total": progress.total, "done": progress.done,
            "failed": progress.failed, "seconds_left": seconds,
        }  # fmt: skip
        with suppress(OSError):  # nobody misses it
            write(self._file, json.dumps(told))

    def end(self) -> None:
        """Nothing runs any more."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


class _Writer:
    """Keeps results as they come, some at a time."""

    def __init__(
        self,
        store: ResultStore,
        run: int,
        units: Sequence[PlannedUnit],
        *,
        clock: Clock,
        progress: BatchProgress,
        on_progress: Callable[[BatchProgress], None],
    ) -> None:
        self._store, self._run, self._units, self._clock = store, run, units, clock
        self._progress, self._on_progress = progress, on_progress
        self._waiting: list[tuple[PlannedUnit, UnitResult]] = []
        self._next = 0.0

    def on_result(self, result: UnitResult) -> None:
        """Count it, and write it soon."""
        self._waiting.append((self._units[result.number], result))
        self._progress.done += 1
        self._progress.failed += result.error is not None
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises what the store raises."""
        if self._waiting:
            self._store.add(self._run, self._waiting, self._clock.now())
            self._waiting.clear()
        self._next = time.monotonic() + _WRITE_SECONDS
        self._on_progress(self._progress)


def _log(end: BatchEnd) -> None:
    tried = end.by_symbol
    for one in end.configured:
        fields = {"strategy": one.strategy, "symbol": one.symbol, "params": one.params}
        if one.error:
            log.error(
                "Backtest failed: %s %s: %s", one.strategy, one.symbol, one.error,
                extra={"event": "backtest_failed", **fields, "trace": one.trace},
            )  # fmt: skip
        else:
            log.info(
                "Backtest completed: %s %s", one.strategy, one.symbol,
                extra={
                    "event": "backtest_result", **fields,
                    **with_significance(one, tried[one.strategy, one.symbol]),
                },
            )  # fmt: skip
    for name, text in end.notes.items():
        log.warning("History of %s: %s", name, text, extra={"event": "backtest_history"})
    for name, text in end.problems.items():
        log.error("No backtest of %s: %s", name, text, extra={"event": "backtest_no_history"})
