"""One strategy's equity curve: peak, drawdown and the day's profit, flows taken out.

A deposit or withdrawal is not performance. Each flow scales the peak by equity after it over equity
before it, as a fund's unit price does (time-weighted return), so that the drawdown just before a
flow and just after it is the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from exporter.strategies.equity_point import EquityPoint
from exporter.util.local_time import date_of
from exporter.util.nan import NAN, nan_to_none, none_to_nan

IMPLAUSIBLE_GAIN = 100.0
"""So many times the equity before, without a flow, is doubted: cents for dollars, say."""
MOST_DAYS = 100
"""Days of a curve that are remembered."""


@dataclass(frozen=True)
class EquityDay:
    """One day of a curve, at its end, and the deepest drawdown in it."""

    day: str
    equity: float
    pnl: float
    drawdown: float
    worst: float
    growth: float = NAN
    """What a unit of capital became on the day, flows taken out: 1.01 is a gain of one per cent.
    NaN where the day began without capital, as the first one of a curve does."""


@dataclass(frozen=True)
class EquityCurve:
    """What is remembered of a curve. A new one knows nothing (NaN)."""

    at: float = NAN
    equity: float = NAN
    peak: float = NAN
    day: str = ""
    day_base: float = NAN
    day_flows: float = 0.0
    before: EquityCurve | None = None
    """The curve without the points of the newest moment, which may be written again."""
    doubted: EquityPoint | None = None
    """A single 0, or a leap, after a good balance, until a second look; see :meth:`observe`."""
    day_worst: float = 0.0
    """The deepest drawdown of the day."""
    day_growth: float = NAN
    """What a unit of capital has become on the day; NaN while no return of it is known."""
    peak_at: float = NAN
    """When the curve was last as high as its peak."""
    past: tuple[EquityDay, ...] = ()
    """The newest days before that had a point, oldest first."""
    begun_after: float = -math.inf
    """Points up to here are in another currency: see :meth:`begin_again`."""

    def observe(self, point: EquityPoint, zone: ZoneInfo) -> EquityCurve:
        """As :meth:`add`; but one 0 among good balances is not a total loss, and one of a hundred
        times the one before is not a new peak.

        Brokers answer 0, or any number, while they are down. It counts once a second one like it
        follows, or when nothing contradicts it for a while (:meth:`confirm`); a good balance after
        it discards it.
        """
        if self.is_past(point):
            return self
        if self.doubted is not None and point.at > self.doubted.at:
            if self._bears_out(self.doubted, point):
                return self.confirm(zone).add(point, zone)
            return replace(self, doubted=None).observe(point, zone)
        odd = point.equity == 0 or point.equity >= IMPLAUSIBLE_GAIN * self.equity
        if odd and not point.flow and self.equity > 0 and point.at > self.at:
            return replace(self, doubted=point)
        if self.doubted is not None and point.at == self.doubted.at:
            return replace(self, doubted=None).add(point, zone)
        return self.add(point, zone)

    def _bears_out(self, doubted: EquityPoint, point: EquityPoint) -> bool:
        """Whether a point is like the doubted one, rather than like the balance before it."""
        if doubted.equity == 0:
            return point.equity == 0
        # In proportion nearer to it. The roots, since a product may be too large.
        return point.equity > math.sqrt(self.equity) * math.sqrt(doubted.equity)

    def confirm(self, zone: ZoneInfo) -> EquityCurve:
        """The curve with the doubted point in it, if there is one."""
        if self.doubted is None:
            return self
        return replace(self, doubted=None).add(self.doubted, zone)

    def rewind(self) -> EquityCurve:
        """The curve before its newest moment, to which a file may have other values now."""
        return self if self.before is None else replace(self.before, doubted=self.doubted)

    def is_past(self, point: EquityPoint) -> bool:
        """Whether a point is too old for this curve."""
        return point.at < self.at or point.at <= self.begun_after

    @property
    def has_begun_again(self) -> bool:
        """Whether it waits for the first point in another currency."""
        return math.isnan(self.at) and self.begun_after > -math.inf

    def begin_again(self) -> EquityCurve:
        """An empty curve for what is newer than this one, in another currency."""
        newest = self.begun_after if math.isnan(self.at) else self.at
        doubted = self.doubted.at if self.doubted else newest
        return EquityCurve(begun_after=max(newest, doubted))

    def add(self, point: EquityPoint, zone: ZoneInfo) -> EquityCurve:
        """The curve with one more point. A point that is older changes nothing; one of the same
        moment is a further observation."""
        if self.is_past(point):
            return self
        before = self.before if point.at == self.at else replace(self, before=None, doubted=None)
        day = date_of(point.at, zone).isoformat()
        known = not math.isnan(self.equity)
        before_flow = point.equity - point.flow
        if known and before_flow > 0 and self.peak > 0:
            # Profit first, on the old capital; then capital and peak change in one proportion.
            peak = max(self.peak, before_flow) * (point.equity / before_flow)
        elif known and not point.flow:
            peak = max(self.peak, point.equity)
        else:
            peak = point.equity
        same_day = day == self.day
        if known:
            base = self.day_base if same_day else self.equity
            flows = (self.day_flows if same_day else 0.0) + point.flow
        else:
            # The first point ever starts the day: its flow made its equity.
            base, flows = point.equity, 0.0
        past = self.past if same_day or not known else (*self.past, self.today)[-MOST_DAYS:]
        fall = _fall(point.equity, peak)
        # Time-weighted, see exporter.strategies.performance.period_returns.
        growth = before_flow / self.equity if known and self.equity > 0 else NAN
        if same_day and not math.isnan(self.day_growth):
            growth = self.day_growth if math.isnan(growth) else self.day_growth * growth
        return EquityCurve(
            point.at,
            point.equity,
            peak,
            day,
            base,
            flows,
            before,
            self.doubted,
            max(self.day_worst if same_day else 0.0, fall),
            growth,
            self.peak_at if fall > 0 else point.at,
            past,
            self.begun_after,
        )

    @property
    def today(self) -> EquityDay:
        """The newest day that has a point."""
        pnl = self.equity - self.day_base - self.day_flows
        return EquityDay(self.day, self.equity, pnl, self.drawdown, self.day_worst, self.day_growth)

    def on(self, day: str) -> EquityDay | None:
        """What is known of a day; None when it had no point, or is too long ago."""
        days = (*self.past, *((self.today,) if self.day else ()))
        return next((one for one in days if one.day == day), None)

    @property
    def drawdown(self) -> float:
        """(peak - equity) / peak, 0 to 1; NaN while nothing is known."""
        return NAN if math.isnan(self.equity) else _fall(self.equity, self.peak)

    def pnl_on(self, now: float, zone: ZoneInfo) -> float:
        """Equity change since midnight in `zone`, flows taken out; 0 while the day has no point."""
        if math.isnan(self.equity):
            return NAN
        if date_of(now, zone).isoformat() != self.day:
            return 0.0
        return self.equity - self.day_base - self.day_flows

    def reset_peak(self) -> EquityCurve:
        """The curve with its peak at today's equity."""
        return replace(self, peak=self.equity, before=None, day_worst=0.0, peak_at=self.at)

    def to_json(self) -> dict[str, Any]:
        """For the state file; NaN becomes null."""
        numbers = (
            "at", "equity", "peak", "day_base", "day_flows", "day_worst", "day_growth", "peak_at",
        )  # fmt: skip
        past = [[nan_to_none(v) if n else v for n, v in enumerate(astuple(d))] for d in self.past]
        return {
            **{name: nan_to_none(getattr(self, name)) for name in numbers},
            "day": self.day,
            # Its past is ours, or lacks the day that our first point ended.
            "before": self.before.to_json() | {"past": None} if self.before else None,
            "doubted": asdict(self.doubted) if self.doubted else None,
            "past": past,
            "begun_after": None if self.begun_after == -math.inf else self.begun_after,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EquityCurve:
        """The reverse of :meth:`to_json`; unknown keys are ignored."""

        def number(name: str) -> float:
            return none_to_nan(data.get(name))

        before, doubted = data.get("before"), data.get("doubted")
        past = tuple(
            EquityDay(str(day), *map(none_to_nan, numbers))
            for day, *numbers in data.get("past") or ()
        )
        earlier = cls.from_json(before) if before else None
        if earlier is not None:
            earlier = replace(earlier, past=tuple(one for one in past if one.day < earlier.day))
        return cls(
            number("at"),
            number("equity"),
            number("peak"),
            str(data.get("day") or ""),
            number("day_base"),
            float(data.get("day_flows") or 0.0),
            earlier,
            EquityPoint(**doubted) if doubted else None,
            float(data.get("day_worst") or 0.0),
            none_to_nan(data.get("day_growth")),
            number("peak_at"),
            past,
            -math.inf if data.get("begun_after") is None else float(data["begun_after"]),
        )


def _fall(equity: float, peak: float) -> float:
    """How far below the peak, 0 to 1."""
    if peak <= 0:
        return 0.0 if equity >= 0 else 1.0
    return min(max((peak - equity) / peak, 0.0), 1.0)
