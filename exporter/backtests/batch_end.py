"""What a run of backtests found."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.backtests.batch_progress import BatchProgress
from exporter.backtests.prepare import BatchOrder
from exporter.backtests.result_store import StoredResult
from exporter.backtests.significance import WalkForward, deflate, walk_forward
from exporter.util.nan import NAN

log = logging.getLogger(__name__)


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
    """Strategy and symbol to what is suspicious about its history."""
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


def best_of(tried: Sequence[StoredResult]) -> StoredResult | None:
    """The set with the highest Sharpe ratio."""
    known = [one for one in tried if not math.isnan(one.numbers.get("sharpe", NAN))]
    return max(known, key=lambda one: one.numbers["sharpe"], default=None)


def walks(order: BatchOrder, end: BatchEnd) -> dict[tuple[str, str], WalkForward]:
    """Of strategies and symbols whose config asks for one."""
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


def log_end(end: BatchEnd) -> None:
    """A line for each configured result, and for each history that is missing or suspicious."""
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
