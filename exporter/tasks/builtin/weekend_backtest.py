"""The batch of backtests, as a task. It runs in a process of its own, as a user's function does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exporter.calendars.bars import Calendar
from exporter.sources.base import Bar
from exporter.tasks.blocking_context import BlockingContext
from exporter.tasks.errors import NoData, Permanent
from exporter.util.clock import SystemClock
from exporter.util.local_time import date_of

if TYPE_CHECKING:
    from exporter.config import Config


class _TaskMarket:
    """Calendars and bars through the exporter, so that the source's budget holds."""

    def __init__(self, context: BlockingContext) -> None:
        self._context = context

    def calendar(self, exchange: str) -> Calendar:
        return self._context.calendar(exchange)

    def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        return self._context.history(symbol, interval, start, end, source=source, forming=True)

    def recent(
        self, symbol: str, interval: str, limit: int, *, source: str | None = None
    ) -> list[Bar]:
        asked = {"symbol": symbol, "interval": interval, "limit": limit, "source": source}
        found: list[Bar] = self._context._fetch("recent", asked)
        return found


def _live(config: Config) -> dict[str, float]:
    """What strategies of the same name earned in the last month, by the days of their equity."""
    from exporter.state import State, StateError
    from exporter.strategies.equity import EquityCurve
    from exporter.strategies.live_numbers import live_numbers

    today = date_of(SystemClock().now(), ZoneInfo(config.timezone))
    try:
        kept = State.open(config.state, SystemClock(), writer=False).kept("strategy")
    except StateError:
        return {}
    found = {}
    for name in config.backtests.strategies:
        curve = EquityCurve.from_json((kept.get(name) or {}).get("curve") or {})
        value = live_numbers(curve, today, 365.0).windows["30d"].total_return
        if not math.isnan(value):
            found[name] = value
    return found


class BacktestFailedError(Exception):
    """Some units have no result; the message names the first of them."""


def weekend_backtest(context: BlockingContext) -> int:
    """Compute what changed since the last run, of the strategies in `backtests:`, or of those in
    ``params: {strategies: [...]}``. Returns the number of units that have a result.

    A run that is repeated goes on where the one before it ended. Raises
    :class:`BacktestFailedError` when a unit failed; the results of all others are kept.
    """
    from exporter.backtests.batch import backtest
    from exporter.backtests.executors import open_executor
    from exporter.backtests.prepare import BatchOrder
    from exporter.backtests.report_message import message
    from exporter.config.paths import backtests_folder, reports_folder

    config = context._fetch("config", {})
    settings = config.backtests
    names = [str(name) for name in context.params.get("strategies", ())]
    if not settings.strategies:
        raise NoData("no strategy to test: add one to `backtests: {strategies: …}`")
    if unknown := [name for name in names if name not in settings.strategies]:
        known = ", ".join(settings.strategies)
        raise Permanent(f"unknown strategy {unknown[0]!r} in `params`: write one of {known}")
    executor = open_executor(settings, config.code)
    order = BatchOrder(
        settings, backtests_folder(config), config.code, names, reports=reports_folder(config),
        live=_live(config),
    )  # fmt: skip
    end = backtest(order, _TaskMarket(context), executor, context.clock)
    context.log.info(
        "%d units, %d of them known before, %d failed",
        end.progress.total, end.progress.reused, end.progress.failed,
        extra={"event": "backtests_done", **vars(end.progress)},
    )  # fmt: skip
    # Of the attempts of a run, one that failed is reported, and one that did not.
    about = f"{context.run_id} {'incomplete' if end.failures else 'complete'}"
    context._fetch("report", {"message": message(end, config).to_json(), "about": about})
    if end.failures:
        count = len(end.failures)
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise BacktestFailedError(f"{end.failures[0]}{more}")
    return end.progress.done
