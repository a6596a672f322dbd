"""Who hears of a task that fails or is late, and when: what the shipped rules and routes mean.

This is the one place that says it in words; `check`, `init`, the API and the task's page show them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from exporter.alerts.alert_metrics import learning_until
from exporter.config import Config, Task
from exporter.metrics import LOWER
from exporter.util.local_time import DAY, date_of, local_time
from exporter.util.shipped import shipped

NOTICED_AFTER_SECONDS = 110.0
"""From the moment at which QuantTaskFailing is true to the message: scrape 15 s, evaluation 15 s,
`for` 1 m, evaluation 15 s, `group_wait` 5 s."""
_WHO = {"critical": "phone and chat", "warning": "chat"}
_WAKING_HOURS = "waking-hours"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class WakingHours:
    """When warnings may be sent: minutes of the day, on these weekdays (Monday is 0)."""

    spans: tuple[tuple[int, int], ...]
    weekdays: frozenset[int]
    zone: ZoneInfo

    def next_moment(self, at: float) -> float:
        """The first moment from `at` on at which a warning may be sent; NaN for never."""
        first = date_of(at, self.zone)
        ends = ((begin, end) for n in range(8) for begin, end in self._on(first + n * DAY))
        return min((max(begin, at) for begin, end in ends if end > at), default=math.nan)

    def _on(self, day: date) -> Iterator[tuple[float, float]]:
        if day.weekday() in self.weekdays:
            for start, end in self.spans:
                yield local_time(day, start, self.zone), local_time(day, end, self.zone)


def first_notice(config: Config, folder: Path, task: Task, next_slot: float, now: float) -> str:
    """``critical: phone and chat after 2 failed runs in a row, at the latest Tue 09:35``: the tier
    of the task, who is notified, and by when if its run at `next_slot` fails or never comes.

    `folder` is that of the config, where Alertmanager's file may lie; NaN: no run is planned.
    """
    severity: str = task.severity
    note = ""
    ends = learning_until(config)
    if now < ends:
        severity, note = LOWER[severity], f" ({task.severity} from {config.alerts.learning_until})"
    who = _WHO.get(severity)
    if who is None:
        return f"{severity}{note}: the journal only, nobody is notified"
    if task.service:
        return f"{severity}{note}: {who} within 2 minutes after {task.service} is down"
    runs = "1 failed run" if task.alert_after == 1 else f"{task.alert_after} failed runs in a row"
    text = f"{severity}{note}: {who} after {runs}"
    if math.isnan(next_slot):
        return f"{text}; no run is planned"
    known = next_slot + task.latest_start + task.max_runtime_seconds + NOTICED_AFTER_SECONDS
    hours = _waking_hours(folder) if severity == "warning" else None
    told = hours.next_moment(known) if hours else known
    if math.isnan(told):
        return f"{text}, in its hours"
    latest = datetime.fromtimestamp(_next_minute(told), ZoneInfo(config.timezone))
    waited = ", when quiet hours end" if told > known else ""
    return f"{text}, at the latest {latest:%a %H:%M}{waited}"


def _next_minute(at: float) -> float:
    return math.ceil(at / 60) * 60


def _waking_hours(folder: Path) -> WakingHours | None:
    """Those of the Alertmanager file next to the config, else of the shipped one; None when it
    sends warnings at any time, or at times that are not days of the week and hours."""
    own = folder / "alerting/alertmanager.yml"
    for file in (own, shipped("alerting/alertmanager.yml")):
        try:
            return _read(file, file.stat().st_mtime_ns)
        except OSError:
            continue
    return None


@functools.lru_cache(maxsize=4)
def _read(file: Path, _changed: int) -> WakingHours | None:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        if _WAKING_HOURS not in str(data["route"]):
            return None
        found = next(each for each in data["time_intervals"] if each["name"] == _WAKING_HOURS)
        (hours,) = found["time_intervals"]
        return _hours(hours)
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None  # amtool says what is wrong with it


def _hours(found: Mapping[str, Any]) -> WakingHours | None:
    if set(found) - {"times", "weekdays", "location"}:
        return None
    spans = [
        (_minutes(each["start_time"]), _minutes(each["end_time"]))
        for each in found.get("times", ())
    ]
    days: set[int] = set()
    for text in found.get("weekdays", ["monday:sunday"]):
        first, _, last = text.lower().partition(":")
        days.update(range(_WEEKDAYS.index(first), _WEEKDAYS.index(last or first) + 1))
    zone = ZoneInfo(found.get("location", "UTC"))
    return WakingHours(tuple(spans) or ((0, 24 * 60),), frozenset(days), zone)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
