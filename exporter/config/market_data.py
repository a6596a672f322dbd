"""The section on feeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from exporter.config.types import (
    INTERVAL_SECONDS,
    Exchange,
    Interval,
    Limits,
    Model,
    Severity,
)
from exporter.util.units import Duration, DurationOrZero, Ratio

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-^=/]{0,31}")


_SPREAD_SECONDS = 300.0


def checked_symbols(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """The same. Raises :class:`ValueError` for what is not a symbol, or is listed twice."""
    wrong = [repr(symbol) for symbol in symbols if not _SYMBOL.fullmatch(symbol)]
    if wrong:
        raise ValueError(
            f"invalid symbol{'' if len(wrong) == 1 else 's'} {', '.join(wrong)}: "
            "write it as the source does: AAPL.US, 700.HK, EURUSD"
        )
    twice = sorted({s for s in symbols if symbols.count(s) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed twice: keep one")
    return symbols


class Ignored(Model):
    """A symbol that alerts nobody for a while."""

    until: date | None = None
    reason: str = ""


class Feed(Model):
    """The symbols of one source at one interval that must stay fresh."""

    source: str
    fallback: str | None = None
    """A second source, which takes over while the first fails."""
    symbols: tuple[str, ...] = Field(min_length=1)
    interval: Interval
    exchange: Exchange
    poll: Duration | None = None
    delay: DurationOrZero = 90.0
    severity: Severity = "critical"
    max_overdue: Limits[Duration] = Field(default_factory=dict)
    max_spread: Limits[Ratio] = Field(default_factory=dict)
    max_unchanged: int | None = Field(None, ge=2, le=10_000)
    ignore: Mapping[str, Ignored] = {}
    stream: tuple[Literal["ticker", "trade"], ...] = ()
    """Channels of the source's WebSocket that bring last prices."""
    max_silence: Limits[Duration] = Field(default_factory=dict)

    @field_validator("symbols")
    @classmethod
    def _symbols_are_symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return checked_symbols(symbols)

    @field_validator("stream", mode="before")
    @classmethod
    def _stream_is_a_switch_too(cls, stream: Any) -> Any:
        return (
            {True: ("ticker",), False: ()}.get(stream, stream)
            if isinstance(stream, bool)
            else stream
        )

    @model_validator(mode="after")
    def _silence_needs_a_stream(self) -> Feed:
        if self.max_silence and not self.stream:
            raise ValueError("`max_silence` limits a stream: add `stream: true`, or remove it")
        return self

    @model_validator(mode="after")
    def _fallback_is_another(self) -> Feed:
        if self.fallback == self.source:
            raise ValueError(f"`fallback` is the source itself, {self.source}: name another one")
        return self

    @model_validator(mode="after")
    def _ignored_symbols_are_here(self) -> Feed:
        unknown = sorted(set(self.ignore) - set(self.symbols))
        if unknown:
            raise ValueError(f"`ignore` names {', '.join(unknown)}, which is not in `symbols`")
        return self

    def ignored_on(self, day: date) -> set[str]:
        """The symbols that are ignored on a day of the exchange."""
        return {s for s, one in self.ignore.items() if one.until is None or day < one.until}

    @property
    def poll_seconds(self) -> float:
        """How often the source is asked, in seconds; by default the interval.

        With `max_spread` at least every five minutes: one sample at the open, where spreads are
        wide, must not stand for the day.
        """
        if self.poll:
            return self.poll
        interval = INTERVAL_SECONDS[self.interval]
        return min(interval, _SPREAD_SECONDS) if self.max_spread else interval
