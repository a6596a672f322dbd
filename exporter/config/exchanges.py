"""The sections on trading hours: what calendars do not know, and exchanges without a calendar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import field_validator, model_validator

from exporter.calendars.loader import Calendars, Progress
from exporter.calendars.overrides import REGULAR, span
from exporter.calendars.own_hours import table_of
from exporter.calendars.sessions import Table
from exporter.config.paths import users_cache
from exporter.config.schedule_syntax import parse_weekdays
from exporter.config.types import Model, Zone
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.config.model import Config

_TIME = r"([01]\d|2[0-3]):[0-5]\d"


class CalendarOverrides(Model):
    """What the calendar of one exchange does not know. Times are the exchange's own."""

    closed: tuple[date, ...] = ()
    open: Mapping[date, str] = {}
    early_close: Mapping[date, str] = {}
    late_open: Mapping[date, str] = {}

    @field_validator("early_close", "late_open")
    @classmethod
    def _times(cls, times: Mapping[date, str]) -> Mapping[date, str]:
        for text in times.values():
            if not re.fullmatch(_TIME, text):
                raise ValueError(f'invalid time of day {text!r}: write "13:00"')
        return times

    @field_validator("open")
    @classmethod
    def _spans(cls, spans: Mapping[date, str]) -> Mapping[date, str]:
        for text in spans.values():
            if text != REGULAR:
                _check_span(text, ' or "regular"')
        return spans

    @model_validator(mode="after")
    def _a_day_is_open_or_closed(self) -> CalendarOverrides:
        both = sorted(set(self.closed) & set(self.open))
        if both:
            raise ValueError(f"{both[0]} is both closed and open: keep one")
        return self


class OwnExchange(Model):
    """Regular hours of an exchange that no calendar knows. Times are its own."""

    timezone: Zone
    days: str = "mon-fri"
    hours: str
    lunch: str | None = None

    @field_validator("days")
    @classmethod
    def _days_are_weekdays(cls, days: str) -> str:
        parse_weekdays(days)
        return days

    @field_validator("hours", "lunch")
    @classmethod
    def _hours_are_spans(cls, text: str | None) -> str | None:
        if text is not None:
            _check_span(text)
        return text

    @model_validator(mode="after")
    def _lunch_is_within(self) -> OwnExchange:
        if self.lunch:
            opened, closed = span(self.hours)
            pause, resume = span(self.lunch)
            if not opened < pause < resume < closed:
                raise ValueError(f"lunch {self.lunch} is not within the hours {self.hours}")
        return self

    @property
    def weekdays(self) -> frozenset[int]:
        """Days with a session; 0 is Monday."""
        return parse_weekdays(self.days)


def make_calendars(
    config: Config, clock: Clock, cache: Path, progress: Progress | None = None
) -> Calendars:
    """The calendars that a config means, to be loaded; built ones are kept in that folder, and
    found where `check` keeps them."""
    overrides, own = config.calendar_overrides, own_tables(config)
    return Calendars(cache, overrides, clock, own, also=users_cache(), progress=progress)


def apply_to_calendars(config: Config, calendars: Calendars) -> None:
    """Apply a new config to the calendars."""
    calendars.apply(config.calendar_overrides, own_tables(config))


def own_tables(config: Config) -> dict[str, Table]:
    """The exchanges that a config adds."""
    return {name: table_of(hours) for name, hours in config.exchanges.items()}


def _check_span(text: str, more: str = "") -> None:
    if not re.fullmatch(f"{_TIME}-{_TIME}", text):
        raise ValueError(f'invalid hours {text!r}: write "09:30-16:00"{more}')
