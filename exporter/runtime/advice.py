"""What ``check`` points out in a config that works: skipped slots, limits that are missing, and who
hears of what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.alerts.alert_metrics import learning_until
from exporter.alerts.first_notice import first_notice
from exporter.calendars.loader import Calendars
from exporter.config import Config, Mistake
from exporter.config.limit_keys import STRATEGY_MEASURES
from exporter.config.schedule_forms import WallClock
from exporter.runtime.moved_keys import moved_keys
from exporter.runtime.order_advice import order_advice
from exporter.scheduling.slots import around_session, cut_off_slots, next_slot
from exporter.util.nan import none_to_nan

_YEAR_SECONDS = 365 * 86400.0
_LONG_SECONDS = 31 * 86400.0
_INFO = "it is only in the journal and notifies nobody; name a limit for warning or critical"
_NO_KEY_CHECK = (
    "nothing alerts before its key expires; add a task with "
    'run: "exporter.tasks:key_check" and schedule: "06:00"'
)


def advice(config: Config, folder: Path, calendars: Calendars, now: float) -> list[Mistake]:
    """Each with its place. The calendars are loaded already; `folder` is that of the config."""
    return [
        *_cut_off(config, calendars, now),
        *_every_minute(config),
        *order_advice(config, calendars, now),
        *_without_limits(config),
        *_never_acting(config),
        *_heard_by_nobody(config, now),
        *_counted_only(config),
        *_without_rules(config, folder / "prometheus/rules"),
        *moved_keys(config),
    ]


def first_notices(config: Config, folder: Path, calendars: Calendars, now: float) -> dict[str, str]:
    """By task, who is notified when its next run fails or never comes, and by when."""
    zone, found = ZoneInfo(config.timezone), {}
    for name, task in config.tasks.items():
        calendar = calendars.get(task.exchange) if task.exchange else None
        slot = none_to_nan(next_slot(task.timetable, zone, calendar, now))
        found[name] = first_notice(config, folder, task, slot, now)
    return found


def _cut_off(config: Config, calendars: Calendars, now: float) -> Iterator[Mistake]:
    """Wall-clock slots that early closes (and late opens) of the coming year leave out."""
    zone = ZoneInfo(config.timezone)
    for name, task in config.tasks.items():
        if not task.exchange:
            continue
        calendar = calendars.get(task.exchange)
        cut = list(cut_off_slots(task.timetable, zone, calendar, now, now + _YEAR_SECONDS))
        if cut:
            dates = list(dict.fromkeys(calendar.day_of(at) for at in cut))
            others = len(dates) - 1
            days = "day" if others == 1 else "days"
            more = f" and on {others} more {days} within a year" if others else ""
            instead = around_session(calendar, cut[0], task.timetable)
            several = isinstance(task.timetable, WallClock) and len(task.timetable.minutes) > 1
            what = "make a task of that time," if several else "write it as"
            yield Mistake(
                f"tasks.{name}.schedule",
                f"`{task.schedule}` is skipped on {dates[0]}{more}, outside the "
                f"shortened session of {task.exchange}; to run on such days too, {what} "
                f"`{instead}`",
            )


def _every_minute(config: Config) -> Iterator[Mistake]:
    """``* 7 * * *``: mostly written for once a day at seven."""
    for name, task in config.tasks.items():
        minute, hour, *rest = [*task.schedule.split(), "", ""]
        if minute == "*" and re.fullmatch(r"[\d,]+|\*/\d+", hour):
            once = " ".join(("0", hour, *rest)).strip()
            yield Mistake(
                f"tasks.{name}.schedule",
                f"`{task.schedule}` means every minute of those hours, 60 runs in each; for one "
                f"run an hour write `{once}`",
            )


def _without_limits(config: Config) -> Iterator[Mistake]:
    """What nothing alerts about."""
    for name, feed in config.feeds.items():
        if not feed.max_overdue:
            text = "nothing alerts when its bars are overdue; set it, for example {critical: 2h}"
            yield Mistake(f"feeds.{name}.max_overdue", text)
    for name, strategy in config.strategies.items():
        if not strategy.max_drawdown:
            text = "nothing alerts on a drawdown; set it, for example {warning: 5%}"
            yield Mistake(f"strategies.{name}.max_drawdown", text)
        if not strategy.max_age:
            text = "nothing alerts when the equity is not updated; set it, for example 1d"
            yield Mistake(f"strategies.{name}.max_age", text)


def _never_acting(config: Config) -> Iterator[Mistake]:
    """Limits that act on a value that may stop without anybody hearing of it."""
    for name, limit in config.limits.items():
        if limit.on_critical is None:
            continue
        measure = limit.measure(name)
        if measure in STRATEGY_MEASURES:
            of = limit.strategies or config.strategies
            silent = [one for one in of if config.strategies[one].max_age is None]
            what = f"the equity of {', '.join(silent)}"
            cure = f"set strategies.{silent[0]}.max_age" if silent else ""
        else:
            metric = config.metrics.get(measure) or config.metrics.get(f"{measure}_total")
            silent = [measure] if metric is not None and metric.max_age is None else []
            what, cure = measure, f"set metrics.{measure}.max_age"
        if silent:
            yield Mistake(
                f"limits.{name}.on_critical",
                f"it never acts once {what} stops coming, and nobody hears of that: {cure}",
            )


def _heard_by_nobody(config: Config, now: float) -> Iterator[Mistake]:
    """Limits that only reach the journal, symbols that nothing watches, a key that nothing
    watches, and a quiet first week that goes on."""
    for name, feed in config.feeds.items():
        if set(feed.max_overdue) == {"info"}:
            yield Mistake(f"feeds.{name}.max_overdue", _INFO)
        if {s for s, one in feed.ignore.items() if one.until is None} == set(feed.symbols):
            text = "every symbol is ignored for good: nothing alerts on this feed; set `until`"
            yield Mistake(f"feeds.{name}.ignore", text)
    for name, strategy in config.strategies.items():
        if set(strategy.max_drawdown) == {"info"}:
            yield Mistake(f"strategies.{name}.max_drawdown", _INFO)
    if not any("key_check" in str(task.run) for task in config.tasks.values()):
        for name, source in config.sources.items():
            if source.type == "tickdb":
                yield Mistake(f"sources.{name}", _NO_KEY_CHECK)
    if learning_until(config) - now > _LONG_SECONDS:
        day = config.alerts.learning_until
        text = (
            f"until {day} nobody is paged: every alert is one tier lower; name a day within weeks"
        )
        yield Mistake("alerts.learning_until", text)


def long_pauses(paused: Mapping[str, float], now: float, zone: ZoneInfo) -> Iterator[Mistake]:
    """Tasks, or all of them, that are paused for longer than anybody remembers, with their ends."""
    for name, until in paused.items():
        if until - now > _LONG_SECONDS:
            place, resume = (f"tasks.{name}", f" {name}") if name else ("tasks", "")
            day = datetime.fromtimestamp(until, zone).date()
            text = (
                f"paused until {day}: it runs nothing and alerts nobody; end that with "
                f"`quant-exporter resume{resume}`"
            )
            yield Mistake(place, text)


def _counted_only(config: Config) -> Iterator[Mistake]:
    """Patterns whose matches are metrics and nothing more."""
    for name, followed in config.logs.follow.items():
        if not followed.patterns or followed.max_failure_ratio:
            continue
        place = f"logs.follow.{name}.max_failure_ratio"
        if {"fetch_failed", "fetch_ok"} <= set(followed.patterns):
            text = "nothing alerts when fetches fail; set it, for example {warning: 20%}"
            yield Mistake(place, text)
        else:
            yield Mistake(
                f"logs.follow.{name}.patterns",
                "what is found is counted, nothing alerts on it; a rule of your own on "
                "quant_log_matches_total can, see docs/logs.md",
            )


def _without_rules(config: Config, rules: Path) -> Iterator[Mistake]:
    """Limits that only a pack of rules reads, where Prometheus' rules lie next to the config."""
    if not rules.is_dir():
        return
    used = any("quant_log_failure_limit_ratio" in file.read_text() for file in rules.glob("*.yml"))
    for name, followed in config.logs.follow.items():
        if followed.max_failure_ratio and not used:
            yield Mistake(
                f"logs.follow.{name}.max_failure_ratio",
                "nothing alerts on it: its rules are in a pack that is off; copy "
                f"prometheus/packs/logs.yml to {rules}",
            )
