"""systemd's timers read for ``quant-exporter import timers``: each a task, or why it is not one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.config import schedule_syntax
from exporter.config.types import NAME

PROPERTIES = ("Id", "Unit", "TimersCalendar", "TimersMonotonic")
_CALENDAR = re.compile(r"OnCalendar=(.*?) ; next_elapse=")
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


def read_timers(shown: str, zone: str | None) -> Iterator[Timer]:
    """From what ``systemctl show`` prints of their :data:`PROPERTIES`; `zone` is the machine's."""
    for block in re.split(r"\n\s*\n", shown.strip()):
        values: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
        if values.get("Id"):
            yield _timer(values, zone)


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
            unit, service, name, why="it counts from a start or an earlier run, not by the clock"
        )
    if len(calendars) != 1:
        many = f"it has {len(calendars)} OnCalendar lines; make a task of each by hand"
        return Timer(unit, service, name, why=many if calendars else "it names no time")
    try:
        return Timer(unit, service, name, crontab_of(calendars[0], zone))
    except ValueError as error:
        return Timer(unit, service, name, why=str(error))


def crontab_of(calendar: str, zone: str | None) -> str:
    """A calendar expression as systemd normalises it, as a schedule. Raises :class:`ValueError`."""
    found = _FORM.fullmatch(calendar.strip())
    if not found:
        raise ValueError(f"OnCalendar={calendar} is not understood: write its schedule by hand")
    if found["year"] != "*" or found["second"] not in ("00", "0"):
        raise ValueError(f"OnCalendar={calendar} names a year or seconds, which a crontab cannot")
    day = _field(found["day"])
    if found["sign"] == "~":
        if day != "1":
            raise ValueError(f"OnCalendar={calendar} counts days from the month's end")
        day = "L"
    week = (found["week"] or "*").replace("..", "-").lower()
    if week != "*" and day != "*":
        raise ValueError(
            f"OnCalendar={calendar} needs weekday and day of month together; a crontab means either"
        )
    fields = [_field(found["minute"]), _field(found["hour"]), day, _field(found["month"]), week]
    own_zone = found["zone"] or zone
    schedule = " ".join(fields) + (f" {own_zone}" if own_zone else "")
    schedule_syntax.parse(schedule)
    return schedule


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
