"""What limits that act would have done on Prometheus' history: a backtest of actions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.alerts.api_clients import PrometheusClient
from exporter.config import Config, LimitSettings
from exporter.config.limit_keys import NEED_EXCHANGE
from exporter.limits.breach import Bounds, Watch
from exporter.limits.readings import Reading

MOST_POINTS = 5_000
_TIME = "quant_strategy_last_update_timestamp_seconds"
_SOURCES: Mapping[str, tuple[str, str]] = {
    "drawdown": ("quant_strategy_drawdown_ratio", _TIME),
    "daily_loss": (
        "clamp_min(-quant_strategy_pnl_today / (quant_strategy_equity - quant_strategy_pnl_today),"
        " 0)",
        _TIME,
    ),
}
"""Where history has the value also from before the limit was configured, and its time."""


@dataclass(frozen=True)
class WouldAct:
    """One action that would have been done."""

    at: float
    limit: str
    strategy: str
    value: float
    pause: tuple[str, ...]
    run: str | None


Points = list[tuple[float, float]]


async def dry_run(
    prometheus: PrometheusClient, config: Config, start: float, end: float, step: float
) -> list[WouldAct]:
    """Oldest first. After each action the limit counts as resumed once its value is back. Raises
    ServerError."""
    found: list[WouldAct] = []
    for name, limit in config.limits.items():
        if limit.on_critical is None:
            continue
        measure = limit.measure(name)
        value, time = (
            f'quant_limit_value{{limit="{name}"}}',
            f'quant_limit_value_timestamp_seconds{{limit="{name}"}}',
        )
        if measure in _SOURCES:  # from before it was configured, as near as history has it
            older_value, time = _SOURCES[measure]
            value = f"{value} or on (job, instance, strategy) {older_value}"
        values = await _history(prometheus, value, start, end, step)
        times = await _history(prometheus, time, start, end, step)
        by_strategy: dict[str, dict[tuple[str, str], tuple[Points, Points]]] = {}
        for key, points in values.items():
            if not limit.strategies or key[0] in limit.strategies:
                series = by_strategy.setdefault(key[0], {})
                series[key] = (points, times.get(key, []))
        for strategy, series in by_strategy.items():
            found += _play(name, limit, strategy, series)
    return sorted(found, key=lambda one: one.at)


def _play(
    name: str,
    limit: LimitSettings,
    strategy: str,
    series: Mapping[tuple[str, str], tuple[Points, Points]],
) -> Iterator[WouldAct]:
    """All series of one strategy, step by step, through the same decision as the exporter's."""
    bounds, acted = Bounds.critical(limit), False
    watches = {key: Watch() for key in series}
    moments: dict[float, list[tuple[tuple[str, str], float, float]]] = {}
    for key, (points, times) in series.items():
        known = dict(times)
        for at, value in points:
            moments.setdefault(at, []).append((key, value, known.get(at, math.nan)))
    action = limit.on_critical
    for at in sorted(moments):
        for key, value, time in moments[at]:
            reading = Reading(name, strategy, key[1], value, 0.0 if math.isnan(time) else time)
            watches[key].see(reading, bounds, at)
            counted = limit.measure(name) in NEED_EXCHANGE
            if not acted and action and watches[key].is_confirmed(limit, at, counted=counted):
                acted = True
                yield WouldAct(at, name, strategy, value, action.pause, action.run)
        if acted and all(bounds.is_back(value, limit.rearm) for _, value, _ in moments[at]):
            acted = False


async def _history(
    prometheus: PrometheusClient, query: str, start: float, end: float, step: float
) -> dict[tuple[str, str], Points]:
    """By strategy and subject."""
    found: dict[tuple[str, str], Points] = {}
    first = start
    while first <= end:
        last = min(end, first + step * (MOST_POINTS - 1))
        answer: list[dict[str, Any]] = await prometheus.query_range(query, first, last, step)
        for series in answer:
            labels = series["metric"]
            key = (labels.get("strategy", ""), labels.get("subject", ""))
            found.setdefault(key, []).extend((float(at), float(v)) for at, v in series["values"])
        first = last + step
    return found
