"""The parts of a digest that are not in the logs: what is due, and what the strategies earned.

Apart from the task, because the command needs these alone, and starts in half of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.config import Config
from exporter.logs.digest.facts import DueSlots
from exporter.scheduling.slots import slots
from exporter.strategies.equity import EquityCurve
from exporter.util.local_time import date_of


def strategies_on(
    config: Config, kept: Mapping[str, Any], moment: float
) -> dict[str, dict[str, Any]]:
    """Each strategy's day, of the day of `moment`, from what the state keeps under ``strategy``;
    one whose equity is all of later days, or of none of the days that are kept, is left out."""
    zone = ZoneInfo(config.timezone)
    day = date_of(moment, zone).isoformat()
    found: dict[str, dict[str, Any]] = {}
    for name, strategy in config.strategies.items():
        curve = EquityCurve.from_json((kept.get(name) or {}).get("curve") or {})
        if curve.day and curve.day <= day:
            found[name] = {
                "currency": strategy.currency,
                "equity": curve.equity,
                "pnl_today": curve.pnl_on(moment, zone),
                "drawdown": curve.drawdown,
            }
        elif past := curve.on(day):
            found[name] = {
                "currency": strategy.currency,
                "equity": past.equity,
                "pnl_today": past.pnl,
                "drawdown": past.drawdown,
            }
    return found


def due_between(
    config: Config, calendar: Callable[[str], Calendar], start: float, end: float
) -> tuple[DueSlots, ...]:
    """The slots of every task in [start, end), Unix seconds; the earliest task first."""
    found = []
    for name, task in config.tasks.items():
        exchange = calendar(task.exchange) if task.exchange else None
        zone = ZoneInfo(config.timezone)
        ahead = [
            slot.at
            for slot in slots(task.timetable, zone, exchange, start - 0.001, end - 0.001)
            if slot.skip is None
        ]
        if ahead:
            found.append(DueSlots(name, len(ahead), ahead[0]))
    return tuple(sorted(found, key=lambda due: (due.first, due.task)))
