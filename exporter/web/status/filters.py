"""Numbers and moments as a person reads them, in one zone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context

from exporter.util.clock import iso
from exporter.util.printable import CONTROL
from exporter.util.units import format_duration

NEVER = "never"
NOTHING = "–"
_GRAINS = ((2 * 86400, 86400), (36000, 3600), (600, 60), (0, 1))


class LocalTimes:
    """Moments as seen at one moment, in one zone. A page's context has it under ``times``."""

    def __init__(self, now: float, zone: str) -> None:
        self._now, self._zone = now, ZoneInfo(zone)

    def moment(self, at: float) -> str:
        """``09:30`` today, ``Mon 09:30`` within six days, else ``2026-11-02 09:30``."""
        if math.isnan(at):
            return NEVER
        local = datetime.fromtimestamp(at, self._zone)
        days = (local.date() - datetime.fromtimestamp(self._now, self._zone).date()).days
        if days == 0:
            return local.strftime("%H:%M")
        return local.strftime("%a %H:%M" if abs(days) < 7 else "%Y-%m-%d %H:%M")

    def away(self, at: float) -> str:
        """``3m ago`` or ``in 2h 5m``, the coarser the further; empty for a time that never was."""
        if math.isnan(at):
            return ""
        seconds = at - self._now
        if abs(seconds) < 1:
            return "now"
        away = abs(seconds)
        # Nobody wants the minutes of yesterday.
        grain = next(g for least, g in _GRAINS if away >= least)
        text = format_duration(float(away // grain * grain) if grain > 1 else float(round(away)))
        return f"in {text}" if seconds > 0 else f"{text} ago"


@pass_context
def _moment(context: Context, at: float) -> str:
    return str(context["times"].moment(at))


@pass_context
def _away(context: Context, at: float) -> str:
    return str(context["times"].away(at))


def span(seconds: float) -> str:
    """``1h 30m``."""
    return NOTHING if math.isnan(seconds) else format_duration(seconds)


def share(ratio: float) -> str:
    """``4.2%``."""
    return NOTHING if math.isnan(ratio) else f"{ratio:.1%}"


def amount(value: float, *, signed: bool = False) -> str:
    """``1,234.50``, with a sign when asked; a true minus sign."""
    if math.isnan(value):
        return NOTHING
    return f"{value:{'+' if signed else ''},.2f}".replace("-", "−")


def count(value: float) -> str:
    """A whole number, or a dash when there is none."""
    return NOTHING if math.isnan(value) else f"{value:,.0f}"


def clean(text: str) -> str:
    """Without control characters and without those that turn the direction of writing."""
    return CONTROL.sub("�", text)


FILTERS: Mapping[str, Callable[..., str]] = {
    "moment": _moment, "away": _away, "machine": iso, "span": span, "share": share,
    "amount": amount, "count": count, "clean": clean,
}  # fmt: skip
