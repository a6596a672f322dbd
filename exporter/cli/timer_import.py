"""systemd's timers read for ``quant-exporter import timers``: each a task, or why it is not one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.config import schedule_syntax
from exporter.config.types import NAME

PROPERTIES = (
    "Id", "Unit", "TimersCalendar", "TimersMonotonic", "RandomizedDelayUSec", "AccuracyUSec",
)  # fmt: skip
_CALENDAR = re.compile(r"OnCalendar=(.*?) ; next_elapse=")
_WEEKS = {"1-7": "first", "8-14": "second", "15-21": "third", "22-28": "fourth"}
"""Days of the month that have each weekday once."""
_UNITS = {
    "y": 31557600.0, "month": 2629800.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "min": 60.0,
    "s": 1.0, "ms": 0.001, "us": 1e-6,
}  # fmt: skip
_FORM = re.compile(
    r"(?:(?P<week>[A-Z][\w.,]*) )?(?P<year>[^-\s]+)-(?P<month>[^-~\s]+)(?P<sign>[-~])(?P<day>\S+) "
    r"(?P<hour>[^:\s]+):(?P<minute>[^:\s]+):(?P<second>[^:\s]+)(?: (?P<zone>\S+))?"
)


@dataclass(frozen=True)
class Timer:
    """A timer and what becomes of it: `schedule` is empty where `why` says why it is not a task."""

    unit: str
    service: str
    name: str
    schedule: str = ""
    why: str = ""
    late: float = 0.0
    """How many seconds after its time systemd may start it."""


def read_timers(shown: str, zone: str | None) -> Iterator[Timer]:
    """From what ``systemctl show`` prints of their :data:`PROPERTIES`; `zone` is the machine's."""
    started: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", shown.strip()):
        values: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
        if values.get("Id"):
            timer = _timer(values, zone)
            first = started.setdefault(timer.service, timer.unit) if timer.schedule else timer.unit
            if first != timer.unit:
                why = f"it starts {timer.service} as {first} does: reports of both look alike"
                timer = replace(timer, schedule="", why=why)
            yield timer


def _timer(values: Mapping[str, list[str]], zone: str | None) -> Timer:
    unit = values["Id"][0]
    service = next(iter(values.get("Unit", ())), "") or unit.replace(".timer", ".service")
    name = re.sub(r"[^a-z0-9]+", "_", unit.removesuffix(".timer").lower()).strip("_")[:60]
    name = name if NAME.fullmatch(name) else f"job_{name}".rstrip("_")
    calendars = [
        text for each in values.get("TimersCalendar", ()) for text in _CALENDAR.findall(each)
    ]
    if any(values.get("TimersMonotonic", ())):
        return Timer(
            unit, service, name,
            why="it counts from a start or an earlier run, not by the clock; with a time, such as "
            "OnCalendar=*:0/30, it can be watched",
        )  # fmt: skip
    if not calendars:
        return Timer(unit, service, name, why="it names no time")
    try:
        return Timer(unit, service, name, _merged(calendars, zone), late=_late(values))
    except ValueError as error:
        return Timer(unit, service, name, why=str(error))


def _late(values: Mapping[str, list[str]]) -> float:
    """By RandomizedDelaySec and AccuracySec; the minute that systemd takes by default is nothing
    to a task's grace."""
    late = 0.0
    for name in ("RandomizedDelayUSec", "AccuracyUSec"):
        parts = re.findall(
            r"([\d.]+)(month|min|ms|us|[ywdhs])", next(iter(values.get(name, ())), "")
        )
        late += sum(float(number) * _UNITS[unit] for number, unit in parts)
    return late if late > _UNITS["min"] else 0.0


def _merged(calendars: list[str], zone: str | None) -> str:
    """One schedule for all: they may differ in their times. Raises :class:`ValueError`."""
    found = [crontab_of(each, zone) for each in calendars]
    if len(found) == 1:
        return found[0]
    split = [re.fullmatch(r"(\d+) ([\d,]+) \* \* (\S+)( \S+)?", each) for each in found]
    alike = {(each[3], each[4]) for each in split if each}
    if None in split or len(alike) != 1:
        raise ValueError(
            f"it has {len(found)} OnCalendar lines on different days; make a timer of each"
        )
    ((days, own_zone),) = alike
    times = sorted(
        f"{int(hour):02}:{int(each[1]):02}"
        for each in split if each for hour in each[2].split(",")
    )  # fmt: skip
    week = "" if days == "*" else f"{days} "
    return f"{week}{','.join(dict.fromkeys(times))}{own_zone or ''}"


def crontab_of(calendar: str, zone: str | None) -> str:
    """A calendar expression as systemd normalises it, as a schedule. Raises :class:`ValueError`."""
    found = _FORM.fullmatch(calendar.strip())
    if not found:
        raise ValueError(f"OnCalendar={calendar} is not understood: write its schedule by hand")
    if found["year"] != "*" or not re.fullmatch("[0-5]?[0-9]", found["second"]):
        raise ValueError(f"OnCalendar={calendar} names a year or seconds, which a crontab cannot")
    minute, hour, month = (_field(found[name]) for name in ("minute", "hour", "month"))
    week = re.sub(r"(\w+)\.\.(\w+)", _span, (found["week"] or "*").lower())
    day = _field(found["day"])
    own_zone = found["zone"] or zone
    tail = f" {own_zone}" if own_zone else ""
    rule = _days(found["sign"], day, week)
    if rule:
        if month != "*" or not (minute.isdecimal() and re.fullmatch("[0-9,]+", hour)):
            raise ValueError(
                f"OnCalendar={calendar} counts days in a way that goes with set times in every "
                "month only: write its schedule by hand"
            )
        times = ",".join(f"{int(each):02}:{int(minute):02}" for each in hour.split(","))
        schedule = f"{rule} {times}{tail}"
    elif found["sign"] == "~" and (day != "1" or week != "*"):
        raise ValueError(f"OnCalendar={calendar} counts days from the month's end")
    elif week != "*" and day != "*":
        raise ValueError(
            f"OnCalendar={calendar} needs weekday and day of month together; a crontab means either"
        )
    else:
        day = "L" if found["sign"] == "~" else day
        schedule = f"{minute} {hour} {day} {month} {week}{tail}"
    schedule_syntax.parse(schedule)
    return schedule


def _span(found: re.Match[str]) -> str:
    """Sunday begins a week in a crontab, and ends one for systemd."""
    first, last = (schedule_syntax.WEEKDAYS.index(found[n]) for n in (1, 2))
    span = schedule_syntax.WEEKDAYS[first : last + 1]
    return ",".join(span) if last == 6 else f"{span[0]}-{span[-1]}"


def _days(sign: str, day: str, week: str) -> str:
    """The nth weekday or the nth last day, in our words; empty for what a crontab can say or
    neither can."""
    one = week in schedule_syntax.WEEKDAYS
    if one and sign == "-" and day in _WEEKS:
        return f"{_WEEKS[day]} {week}"
    if one and sign == "~" and day == "7/1":
        return f"last {week}"
    if week == "*" and sign == "~" and day.isdecimal() and day != "1":
        return f"{schedule_syntax.nth_word(-int(day))} day of month"
    return ""


def _field(text: str) -> str:
    """``00/2`` and ``1..5`` as a crontab writes them."""
    text = re.sub(r"\b0+(\d)", r"\1", text.replace("..", "-"))
    return re.sub(r"^0/", "*/", text)


def drop_in(timer: Timer, unit_file: str, wrapper: str) -> str:
    """What `systemctl edit` gets to wrap the service. Raises :class:`ValueError`."""
    lines = re.sub(r"\\\n\s*", " ", unit_file).splitlines()
    commands: list[str] = []
    for line in lines:
        found = re.match(r"ExecStart\s*=\s*(.*)", line)
        if found:
            commands = [*commands, found[1].strip()] if found[1].strip() else []
    if len(commands) != 1:
        raise ValueError(f"{timer.service} starts {len(commands)} commands; wrap each by hand")
    prefix = re.match(r"[-@:+!|]*", commands[0])
    given = prefix[0] if prefix else ""
    if "@" in given:
        raise ValueError(f"{timer.service} gives its command another name; wrap it by hand")
    return (
        f"# systemctl edit {timer.service}\n[Service]\nExecStart=\n"
        f"ExecStart={given}{wrapper} {timer.name} -- {commands[0][len(given) :]}\n"
    )
