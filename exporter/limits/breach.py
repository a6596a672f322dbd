"""When the breach of a limit is confirmed: not by a single value, and not after a moment.

Pure: values and moments come in, a decision goes out. Used by the running exporter and by the dry
run over history alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.config import LimitSettings
from exporter.limits.readings import Reading


@dataclass(frozen=True)
class Bounds:
    """What a value must not be above or below."""

    most: float = math.inf
    least: float = -math.inf

    @classmethod
    def critical(cls, limit: LimitSettings) -> Bounds:
        """The limits of this severity."""
        return cls(limit.max.get("critical", math.inf), limit.min.get("critical", -math.inf))

    def broken_by(self, value: float) -> bool:
        """NaN breaks nothing."""
        return value > self.most or value < self.least

    def is_back(self, value: float, rearm: float | None) -> bool:
        """Within the limits, and where `rearm` is given, back at it; NaN is not."""
        if not self.least <= value <= self.most:
            return False
        if rearm is None:
            return True
        return value <= rearm if math.isfinite(self.most) else value >= rearm


@dataclass
class Watch:
    """One series and how long it has been beyond its limit."""

    since: float | None = None
    """On the clock that is passed in."""
    values: int = 0
    """How many values in a row."""
    was_back: bool = False
    """Whether a value has been good again since this was last set to False."""
    _at: float = math.nan
    _value: float = math.nan

    @property
    def value(self) -> float:
        """The newest one that is a number."""
        return self._value

    def see(self, reading: Reading, bounds: Bounds, now: float) -> None:
        """Look at what the value is. The same value of the same moment counts once, and NaN neither
        confirms nor contradicts."""
        if math.isnan(reading.value):
            return
        if not bounds.broken_by(reading.value):
            self.since, self.values = None, 0
        elif self.since is None:
            self.since, self.values = now, 1
        elif (reading.at, reading.value) != (self._at, self._value):
            self.values += 1
        self._at, self._value = reading.at, reading.value

    def is_confirmed(self, limit: LimitSettings, now: float, *, counted: bool) -> bool:
        """Whether so many values in a row, and so much time, say so."""
        if self.since is None or now - self.since < limit.confirm_for:
            return False
        return counted or self.values >= limit.confirmations
