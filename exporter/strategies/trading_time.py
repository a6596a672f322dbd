"""When a strategy trades: its days, and how old its equity is by the clock of its exchange."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config import Config, Strategy
from exporter.strategies import performance
from exporter.strategies.live_numbers import TradesOn, every_day

_LONGEST_SECONDS = 400 * 86400.0
_DAY = 86400.0


class TradingTime:
    """Of the configured strategies; `calendar` gives the calendar of an exchange."""

    def __init__(self, calendar: Callable[[str], Calendar] | None) -> None:
        self._calendar = calendar
        self._configured: dict[str, Strategy] = {}
        self.zone = ZoneInfo("UTC")
        """The config's."""

    def apply(self, config: Config) -> None:
        """Use the exchanges of this config."""
        self._configured, self.zone = dict(config.strategies), ZoneInfo(config.timezone)

    def age(self, name: str, since: float, now: float) -> float:
        """Seconds between `since` and `now` by the strategy's exchange, or else the wall clock."""
        strategy = self._configured[name]
        if strategy.exchange is None or self._calendar is None:
            return max(0.0, now - since)
        in_sessions = strategy.max_age is not None and strategy.max_age >= _DAY
        calendar = self._calendar(strategy.exchange)
        return trading_age(calendar, since, now, in_sessions=in_sessions)

    def trading_days(self, name: str) -> tuple[TradesOn, float]:
        """On which days a strategy trades, and how many of them a year has."""
        exchange = self._configured[name].exchange
        if exchange in (None, "24/7") or self._calendar is None:
            return every_day, 365.0
        calendar = self._calendar(exchange)
        return lambda day: calendar.session_on(day) is not None, performance.TRADING_DAYS

    def days_of(self, name: str) -> ZoneInfo:
        """The zone of its days: its exchange's, or else the config's."""
        exchange = self._configured[name].exchange
        if exchange is None or self._calendar is None:
            return self.zone
        return self._calendar(exchange).zone


def trading_age(calendar: Calendar, since: float, now: float, *, in_sessions: bool) -> float:
    """Seconds of trading between `since` and `now`; what is closed does not count.

    With `in_sessions` each session counts as a day, whatever its length: what is written after
    every close is then one day old at the next close.
    """
    since = max(since, now - _LONGEST_SECONDS)
    total = 0.0
    for session in calendar.sessions(since, now):
        length = sum(closed - opened for opened, closed in session.segments)
        part = sum(
            max(0.0, min(closed, now) - max(opened, since)) for opened, closed in session.segments
        )
        total += part / length * _DAY if in_sessions else part
    return total
