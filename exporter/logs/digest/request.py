"""The words of a command line as a :class:`Request`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from exporter.config import Config
from exporter.config.paths import reports_folder
from exporter.logs.digest.facts import ALERT_BUDGET, DueSlots, Request
from exporter.logs.reader import FARTHEST_SECONDS
from exporter.util.local_time import date_of, day_bounds
from exporter.util.units import parse_duration

StrategiesOn = Callable[[float], Mapping[str, Mapping[str, Any]]]
"""The strategies' day as the state knows it, of the day in which a moment lies."""


class WrongUse(ValueError):  # noqa: N818 - the sentence is for the user
    """The words make no sense; the message says what to write."""


def asked(
    config: Config,
    *,
    day: str | None = None,
    since: str | None = None,
    due: Callable[[float, float], tuple[DueSlots, ...]] = lambda start, end: (),
    strategies: StrategiesOn = lambda at: {},
    now: float,
) -> Request:
    """Raises :class:`WrongUse`."""
    zone = ZoneInfo(config.timezone)
    today = date_of(now, zone)
    if since is not None:
        if day is not None:
            raise WrongUse("use --day or --since, not both")
        try:
            back = min(parse_duration(since), FARTHEST_SECONDS)
            start, end, title = now - back, now, f"last {since}"
        except ValueError as error:
            raise WrongUse(str(error)) from error
        ahead = today + timedelta(days=1)
    else:
        wanted = _day(day, today)
        start, end = day_bounds(wanted, zone)
        title, ahead = wanted.isoformat(), wanted + timedelta(days=1)
    tomorrow = day_bounds(ahead, zone)
    return Request(
        directory=config.logs.directory,
        zone=config.timezone,
        start=start,
        end=end,
        title=title,
        reports=reports_folder(config),
        due=due(*tomorrow) if tomorrow[1] > now else (),  # nothing is due after a day long ago
        budget=ALERT_BUDGET,
        now=now,
        strategies=strategies(min(now, end - 1.0)),
    )


def _day(text: str | None, today: date) -> date:
    if text in (None, "today"):
        return today
    if text == "yesterday":
        return today - timedelta(days=1)
    try:
        return date.fromisoformat(str(text))
    except ValueError as error:
        raise WrongUse(f"invalid day {text!r}: write 2026-11-24, today or yesterday") from error
