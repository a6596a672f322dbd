"""What a replay sums up: nights that were disturbed, and how long it stays quiet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.alerts.replay.engine import Fired
from exporter.util.local_time import local_time

NIGHT = (22, 7)


def nights(fired: Iterable[Fired], zone: ZoneInfo) -> tuple[int, int]:
    """Nights (22 to 7 in `zone`) in which a critical alert began, and how many of them were false:
    everything that woke you was over by itself before the morning."""
    by_morning: dict[date, bool] = {}
    for one in fired:
        at = datetime.fromtimestamp(one.start, zone)
        if one.severity == "critical" and (at.hour >= NIGHT[0] or at.hour < NIGHT[1]):
            night = (at - timedelta(hours=12)).date()
            morning = local_time(night + timedelta(days=1), NIGHT[1] * 60, zone)
            by_morning[night] = by_morning.get(night, True) and one.end < morning
    return len(by_morning), sum(by_morning.values())


def longest_gap(fired: Sequence[Fired], start: float, end: float) -> float:
    """The longest time without a new alert, in seconds."""
    moments = [start, *(one.start for one in fired), end]
    return max(b - a for a, b in itertools.pairwise(moments))
