"""The message when a run is done: its results, and a picture of equity."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.backtests.batch_end import BatchEnd, with_significance
from exporter.backtests.report_charts import Line, gains
from exporter.config import Config
from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.util.clock import utc


def message(end: BatchEnd, config: Config) -> ChannelMessage:
    """Of a run: a row for each strategy and symbol, and the mean equity of each strategy."""
    tried = end.by_symbol
    rows = []
    for one in end.configured:
        if one.error:
            continue
        numbers = with_significance(one, tried[one.strategy, one.symbol])
        rows.append(
            (f"{one.strategy} {one.symbol}", _percent(numbers["return"]),
             _number(numbers["sharpe"]), f"{numbers['sets_tried']:.0f}",
             _percent(numbers["deflated_sharpe"]).lstrip("+"))
        )  # fmt: skip
    progress = end.progress
    failed = f"{progress.failed + len(end.problems)} failed" if end.failures else "none failed"
    parts: list[str | MessageTable] = [f"{progress.total} units, {failed}."]
    if rows:
        head = ("Strategy", "Return", "Sharpe", "Sets", "Deflated")
        parts.append(MessageTable("", head, rows))
    if end.failures:
        parts.append("\n".join(end.failures[:8]))
    if end.report:
        parts.append(f"Report: {config.public_url}/backtests")
    series = {}
    for strategy in dict.fromkeys(one.strategy for one in end.configured):
        curves = [one.curve for one in end.configured if one.strategy == strategy and one.curve]
        if curves:
            series[strategy] = _mean_by_day(curves)
    return ChannelMessage("Backtests", parts, [Chart("Equity of the backtests", series)])


def _mean_by_day(curves: Sequence[Line]) -> list[float | None]:
    """The mean of the symbols' gains at the end of each day, in percent of the start."""
    days: dict[str, dict[int, float]] = {}
    for number, curve in enumerate(curves):
        for at, value in zip(*gains(curve), strict=True):
            days.setdefault(f"{utc(at):%Y-%m-%d}", {})[number] = value
    return [sum(days[day].values()) / len(days[day]) for day in sorted(days)]


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.1%}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
