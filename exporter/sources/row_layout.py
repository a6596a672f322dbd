"""Rows as sources of any kind write them, to the one form that :mod:`.parse` checks.

A row is an object with names or a list with places; ``fields`` of the source says which is what. A
time without a zone is an error unless ``timezone`` says which zone it is in; a date alone, or a
midnight without a zone, stands for the bar of that day where bars last a day or longer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from exporter.config import INTERVAL_SECONDS
from exporter.config.source_settings import RowsSettings
from exporter.sources.parse import PRICES

PLACES = ("time", "open", "high", "low", "close", "volume")
"""Of a row that is a list, unless `fields` says otherwise."""
_MISSING = object()
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class RowLayout:
    """How the rows of one source are read."""

    fields: Mapping[str, str | int]
    zone: ZoneInfo | None
    time_format: str | None

    @classmethod
    def of(cls, settings: RowsSettings) -> RowLayout:
        """As the settings have it."""
        zone = ZoneInfo(settings.timezone) if settings.timezone else None
        return cls({str(k): v for k, v in settings.fields.items()}, zone, settings.time_format)

    @property
    def prices(self) -> tuple[str, ...]:
        """The prices that each row must have; what `fields` leaves out is unknown (NaN)."""
        return tuple(name for name in PRICES if not self.fields or name in self.fields)

    def kline(self, row: Any, interval: str) -> Any:
        """The row with the names that :mod:`.parse` knows; what is not there stays away."""
        if not isinstance(row, dict | list):
            return row
        found = {}
        for place, name in enumerate(PLACES):
            wanted = self.fields.get(name, place if isinstance(row, list) else name)
            if self.fields and name not in self.fields:
                continue
            value = pick(row, wanted)
            if value is not _MISSING:
                found[name] = value
        volume = found.get("volume")
        if isinstance(volume, float) and math.isnan(volume):  # a data frame's way to have none
            found["volume"] = None
        if "time" in found:
            is_long = INTERVAL_SECONDS[interval] >= INTERVAL_SECONDS["1d"]
            found["time"] = self.moment(found["time"], is_long)
        return found

    def symbol(self, row: Any) -> Any:
        """What the row calls its symbol; None when it does not say."""
        value = pick(row, self.fields.get("symbol", "symbol"))
        return None if value is _MISSING else value

    def moment(self, value: Any, is_long: bool) -> Any:
        """Unix seconds where the value is a text whose moment is clear, else the value itself,
        which is checked where all others are."""
        if isinstance(value, int | float) and not self.time_format:
            return value
        text = str(value).strip()
        if self.time_format:
            try:
                at = datetime.strptime(text, self.time_format)  # noqa: DTZ007  the zone follows
            except ValueError:
                return f"not of the form {self.time_format}"
        elif _NUMBER.fullmatch(text):
            return text
        else:
            try:
                at = datetime.fromisoformat(text)
            except ValueError:
                return value
        zone = at.tzinfo or self.zone
        if zone is None and is_long and at.time() == datetime.min.time():
            zone = UTC  # the day itself; see calendars/bars.py
        if zone is None:
            return text
        return at.replace(tzinfo=zone).timestamp()


def pick(row: Any, name: str | int) -> Any:
    """What a row has at a place, under a name, or along a path such as ``ohlc.open``; `_MISSING`
    when there is none. A name in other letters counts where only one fits: ``Close`` for close."""
    if isinstance(row, list):
        place = name if isinstance(name, int) else int(name) if name.isdigit() else -1
        return row[place] if 0 <= place < len(row) else _MISSING
    if not isinstance(row, dict):
        return _MISSING
    if name in row:
        return row[name]
    alike = [key for key in row if isinstance(key, str) and key.lower() == str(name).lower()]
    if len(alike) == 1:
        return row[alike[0]]
    first, dot, rest = str(name).partition(".")
    return pick(row[first], rest) if dot and first in row else _MISSING


def along(data: Any, path: str, symbol: str = "") -> Any:
    """The part of a JSON value at a path: names and places, joined by dots; ``{symbol}`` is
    `symbol`. Raises :class:`LookupError` that names the part which is not there."""
    done: list[str] = []
    for part in path.split(".") if path else ():
        data = pick(data, part.replace("{symbol}", symbol))
        done.append(part)
        if data is _MISSING:
            raise LookupError(".".join(done))
    return data
