"""The newest result of each strategy and symbol, from whatever process computed it to the exporter.

A run writes them to one small file; the exporter reads it when it changed, keeps them in state
under the kind ``backtest``, and exposes them. The days of each strategy are in it, too, under its
name and no symbol.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.backtests.expected_days import ExpectedDays, from_json
from exporter.config import Config
from exporter.config.backtests import BacktestedStrategy
from exporter.config.paths import backtests_folder
from exporter.metrics import Metrics, Sample
from exporter.state import State
from exporter.util.atomic import write
from exporter.util.clock import Clock
from exporter.util.nan import NAN, json_safe, none_to_nan
from exporter.util.units import format_duration

if TYPE_CHECKING:
    from exporter.backtests.result_store import StoredResult

log = logging.getLogger(__name__)

LATEST, RUNNING = "latest.json", "running.json"
STALE_SECONDS = 30.0
"""A run that has written nothing for so long has ended, however that was."""
KIND = "backtest"
_METRICS = {
    "quant_backtest_return_ratio": "return",
    "quant_backtest_sharpe_ratio": "sharpe",
    "quant_backtest_worst_drawdown_ratio": "worst_drawdown",
    "quant_backtest_last_success_timestamp_seconds": "at",
}


def publish(
    folder: Path,
    results: Iterable[StoredResult],
    days: Mapping[str, Mapping[str, Any] | None],
) -> None:
    """Write the file; `days` is by strategy. Raises :class:`OSError`."""
    latest = {
        f"{one.strategy}|{one.symbol}": {"at": one.made_at, "params": one.params, **one.numbers}
        for one in results
    }
    latest |= {f"{name}|": dict(one or {}) for name, one in days.items()}
    text = json.dumps(json_safe(latest), default=str)
    write(folder / LATEST, text)


class BacktestResults:
    """What the exporter knows of backtests."""

    def __init__(self, state: State, metrics: Metrics, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._running: Mapping[str, float] = {}
        self._file: Path | None = None
        self._seen: tuple[int, int] | None = None
        self._configured: list[tuple[str, str]] = []
        self._strategies: Mapping[str, BacktestedStrategy] = {}
        self.newest: Mapping[str, Mapping[str, Any]] = {}
        """``strategy|symbol`` to its numbers, its ``params``, and ``at``, Unix seconds."""
        metrics.add_reader(self.samples)

    def apply(self, config: Config) -> None:
        """Apply the config."""
        self._file = backtests_folder(config) / LATEST
        self._seen = None
        self._strategies = config.backtests.strategies
        self._configured = [
            (name, symbol)
            for name, one in config.backtests.strategies.items()
            for symbol in one.symbols
        ]
        self.newest = self._state.kept(KIND)

    async def refresh(self) -> None:
        """Read the file when it changed; to be called every few seconds."""
        if self._file is None or not self._configured:
            return
        self._running = await asyncio.to_thread(_read_running, self._file.with_name(RUNNING))
        found = await asyncio.to_thread(_read, self._file, self._seen)
        if found is None:
            return
        self._seen, latest = found
        if latest:
            self.newest = {**self.newest, **latest}
            await self._state.keep_many((KIND, name, one) for name, one in latest.items())

    def expected_days(self, strategy: str) -> ExpectedDays | None:
        """By the newest results with the parameters and symbols of the running config; None where
        there are none."""
        settings, known = self._strategies.get(strategy), self.newest.get(f"{strategy}|")
        return from_json(known, settings) if settings and known else None

    def _is_running(self) -> bool:
        return self._clock.now() - self._running.get("at", -math.inf) < STALE_SECONDS

    def progress(self) -> str | None:
        """How far the run of now is, in words; None while there is none."""
        if not self._is_running():
            return None
        return progress_words(self._running)

    def samples(self) -> Iterator[Sample]:
        """Each configured strategy and symbol at a scrape; NaN before its first result."""
        if self._configured:
            running = self._running if self._is_running() else {}
            for name in ("total", "done", "failed"):
                suffix = "" if name == "total" else f"_{name}"
                yield f"quant_backtest_units{suffix}", (), running.get(name, 0.0)
        for labels in self._configured:
            known = self.newest.get("|".join(labels), {})
            for metric, name in _METRICS.items():
                value = known.get(name)
                yield metric, labels, none_to_nan(value) if name in known else NAN


def progress_words(running: Mapping[str, float]) -> str:
    """120 of 400, 2 failed, about 3m left."""
    total, done, failed = (int(running.get(name, 0)) for name in ("total", "done", "failed"))
    text = f"{done:,} of {total:,}" + (f", {failed} failed" if failed else "")
    left = running.get("seconds_left", 0.0)
    return f"{text}, about {format_duration(left)} left" if left > 0 else text


def _read_running(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _read(
    file: Path, seen: tuple[int, int] | None
) -> tuple[tuple[int, int], dict[str, Any]] | None:
    """The file's mark and content; None when it is missing or as before."""
    try:
        stat = file.stat()
        mark = (stat.st_mtime_ns, stat.st_ino)
        if mark == seen:
            return None
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", file, error, extra={"event": "backtests_unreadable"})
        return None
    if not isinstance(found, dict):
        return mark, {}
    return mark, {name: one for name, one in found.items() if isinstance(one, dict)}
