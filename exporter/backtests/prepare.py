"""What a run of backtests computes, and on which bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from exporter.backtests.bar_table import BarTable
from exporter.backtests.history_store import gaps, jumps
from exporter.backtests.plan import PlannedUnit, account_of, code_fingerprint, plan_units
from exporter.backtests.unit import ParameterTrial, UnitGroup
from exporter.calendars.bars import Calendar
from exporter.config import INTERVAL_SECONDS
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.sources.base import SourceError
from exporter.util.clock import utc
from exporter.util.local_time import date_of, midnight

_YEAR_SECONDS = 365.25 * 86400.0
_MOST_IN_GROUP = 50


class History(Protocol):
    """Where bars come from. Raises :class:`~exporter.sources.base.SourceError`."""

    def bars(
        self, source: str | None, symbol: str, interval: str, start: float, end: float
    ) -> tuple[BarTable, list[str]]:
        """Bars that start in [start, end), and what was noticed about them."""


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
class Prepared:
    """Units and their bars, by strategy and symbol; and what is wrong or suspicious, in words."""

    units: list[PlannedUnit] = field(default_factory=list)
    groups: dict[tuple[str, str], tuple[BacktestedStrategy, BarTable, float]] = field(
        default_factory=dict
    )
    problems: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def prepare(
    order: BatchOrder, calendar_of: Callable[[str], Calendar], history: History, now: float
) -> Prepared:
    """Plan the units of an order, and read their history."""
    made = Prepared()
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


def unit_groups(
    prepared: Prepared, known: set[str], code: Sequence[Path], workers: int
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


def window(calendar: Calendar, now: float, days: int) -> tuple[float, float]:
    """The last so many whole days of the exchange: within a day, every run has the same bars."""
    end = midnight(date_of(now, calendar.zone), calendar.zone)
    return midnight(date_of(end - (days - 0.5) * 86400.0, calendar.zone), calendar.zone), end
