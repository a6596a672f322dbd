"""What a strategy's newest backtest expects of a day, to compare live days with."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from exporter.config.backtests import BacktestedStrategy
from exporter.util.local_time import date_of

if TYPE_CHECKING:
    from exporter.backtests.result_store import StoredResult

DAYS_OR_SHORTER = frozenset(("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d"))
FEWEST_DAYS = 30
"""Fewer say too little about mean and deviation."""


@dataclass(frozen=True)
class ExpectedDays:
    """Daily returns of a backtest, its symbols in equal parts."""

    mean: float
    deviation: float
    """Sample standard deviation."""
    count: int
    at: float
    """When the oldest of its results was computed, Unix seconds."""

    def to_json(self, settings: BacktestedStrategy) -> dict[str, Any]:
        """With what it is of, for :func:`from_json`."""
        return {**asdict(self), **_of(settings)}


def from_json(data: Mapping[str, Any], settings: BacktestedStrategy) -> ExpectedDays | None:
    """The reverse; None for days of other parameters or symbols than those of `settings`."""
    if any(data.get(key) != value for key, value in _of(settings).items()):
        return None
    try:
        mean, deviation, at = (float(data[key]) for key in ("mean", "deviation", "at"))
        return ExpectedDays(mean, deviation, int(data["count"]), at)
    except (KeyError, TypeError, ValueError):
        return None


def expected_days(
    results: Iterable[StoredResult], settings: BacktestedStrategy, zone: ZoneInfo
) -> ExpectedDays | None:
    """Of one strategy's results with the parameters of `settings`; None unless each of its symbols
    has one, and while there are too few days, or bars are longer than a day."""
    wanted = _of(settings)["params"]
    by_symbol = {one.symbol: one for one in results if plain_params(one.params) == wanted}
    if settings.interval not in DAYS_OR_SHORTER:
        return None
    by_day: dict[str, list[float]] = {}
    for symbol in settings.symbols:
        if symbol not in by_symbol or by_symbol[symbol].curve is None:
            return None
        for day, value in _daily_returns(by_symbol[symbol], zone):
            by_day.setdefault(day, []).append(value)
    returns = [statistics.fmean(values) for values in by_day.values()]
    if len(returns) < FEWEST_DAYS:
        return None
    oldest = min(by_symbol[symbol].made_at for symbol in settings.symbols)
    return ExpectedDays(statistics.fmean(returns), statistics.stdev(returns), len(returns), oldest)


def _daily_returns(result: StoredResult, zone: ZoneInfo) -> Iterator[tuple[str, float]]:
    """Between the values at the last bars of two days, while there was something to lose."""
    starts, equity = result.curve or ([], [])
    ends = {date_of(at, zone).isoformat(): value for at, value in zip(starts, equity, strict=True)}
    for (_, before), (day, now) in pairwise(ends.items()):
        if before > 0:
            yield day, now / before - 1


def _of(settings: BacktestedStrategy) -> dict[str, Any]:
    return {"params": plain_params(settings.params), "symbols": sorted(settings.symbols)}


def plain_params(params: Mapping[str, Any]) -> Any:
    """Parameters as JSON has them."""
    return json.loads(json.dumps(dict(params), default=repr))
