"""One row of the table of faults: what breaks, when, and who has to hear of it how soon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from exporter.alerts.replay.engine import Fired
from tests.integration.alert_rig.hearing import Heard
from tests.integration.alert_rig.life import Event, Life

ZONE = ZoneInfo("America/New_York")
THINGS = ("task", "feed", "source", "strategy", "file", "exchange", "integration")


def at(hour: int, minute: int = 0, day: int = 26, month: int = 11, year: int = 2025) -> float:
    """A moment in New York, Unix seconds; by default of a Wednesday without a holiday."""
    return datetime(year, month, day, hour, minute, tzinfo=ZONE).timestamp()


BEGIN, STRIKE, END = at(9), at(10, 33), at(12, 20)
"""The morning on which things break: New York opens at 9:30."""
NOTHING_IS_SCRAPED = "nothing_is_scraped"
"""The row whose alert has no instance."""


@dataclass(frozen=True)
class Told:
    """What is heard: the alert, its tier, and within how many minutes of the fault. `over_after`
    says within how many it has ended."""

    alert: str
    tier: str
    within: float
    over_after: float | None = None

    def is_told_by(self, heard: Heard, struck: float) -> bool:
        """Whether it is this, in time."""
        ends = self.over_after is None or heard.end <= struck + self.over_after * 60
        return (
            (heard.alert, heard.tier) == (self.alert, self.tier)
            and 0 <= heard.at - struck <= self.within * 60
            and ends
        )


@dataclass(frozen=True)
class Fault:
    """A row. Everything that it configures has its name, or one that begins with it and `__`."""

    name: str
    tells: tuple[Told, ...]
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    struck: float = STRIKE

    def owns(self, alert: Fired) -> bool:
        """Whether the alert is about one of its things, or its own exporter."""
        names = [alert.labels.get(thing, "") for thing in THINGS]
        instance = alert.labels.get("instance", NOTHING_IS_SCRAPED)
        return instance == self.name or any(
            name == self.name or name.startswith(f"{self.name}__") for name in names
        )

    def wrong(self, heard: Sequence[Heard]) -> list[str]:
        """How what was heard differs from what has to be."""
        loud = [one for one in heard if one.tier != "nobody"]
        missing = [
            told
            for told in self.tells
            if not any(told.is_told_by(one, self.struck) for one in loud)
        ]
        extra = [
            one for one in loud if not any(told.is_told_by(one, self.struck) for told in self.tells)
        ]
        wrong = [f"not heard: {told}" for told in missing]
        wrong += [f"heard: {text(one, self.struck)}" for one in extra]
        if len(loud) - len(extra) > len(self.tells) - len(missing):
            wrong += [f"heard again: {text(one, self.struck)}" for one in loud]
        return wrong


def text(heard: Heard, struck: float) -> str:
    """For a failing test."""
    thing = {n: v for n, v in heard.labels.items() if n in (*THINGS, "severity") and v}
    begin, end = ((moment - struck) / 60 for moment in (heard.at, heard.end))
    return f"{heard.alert} on {heard.tier} after {begin:.0f} min, over after {end:.0f}, {thing}"


def merged(faults: Sequence[Fault], base: Mapping[str, Any]) -> dict[str, Any]:
    """One config with the things of all of them."""
    config: dict[str, Any] = dict(base)
    for fault in faults:
        for section, things in fault.config.items():
            config[section] = {**config.get(section, {}), **things}
    return config


def after(minutes: float, action: Callable[[Life], Any], struck: float = STRIKE) -> Event:
    """That long after the fault struck."""
    return struck + minutes * 60, action
