"""The schedules of ``exporter.yml``: text to one of four frozen forms.

====================================  ============================================================
``mon-fri 07:00,12:00 Europe/…``       :class:`WallClock`: days (all, when none are named) and times
``last trading day of month 16:30``    in the task's zone or the named one
``*/15 9-16 * * mon-fri``              the same, as a crontab has it
``every 4h + 5m``,                     :class:`Every`: anchored at local midnight, or at the open
``every 5m while open``
``close + 30m``, ``fri open - 2h30m``  :class:`AroundSession`: relative to the day's real open/close
``last close of quarter - 15m``
``always``                             :class:`Always`: no slots; a service must be up all the time
====================================  ============================================================
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Literal, cast

from exporter.config.cron_syntax import looks_like_cron, parse_cron
from exporter.config.schedule_forms import (
    ALWAYS,
    Always,
    AroundSession,
    DayRule,
    Every,
    NthDay,
    Period,
    Timetable,
    WallClock,
    Weekdays,
)
from exporter.util.units import parse_duration

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 86400.0
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST: Mapping[Period, int] = {"week": 7, "month": 31, "quarter": 92, "year": 366}
_NTH = rf"(?:({'|'.join(_ORDINALS)}|[1-9]\d{{0,2}}(?:st|nd|rd|th))(?: (last))?|(last))"
_OF = r"(?: of (week|month|quarter|year))?"

_ZONE_HELP = "write an IANA name such as America/New_York or UTC"
_HELP = (
    "write `mon-fri 07:00`, `09:30,16:00 Europe/Berlin`, `every 30m`, `every 4h + 5m`, "
    "`every 5m while open`, `open - 2h30m`, `close + 30m`, `last trading day of month 16:30`, "
    "`third fri 12:00`, `last close - 15m`, or a crontab's five fields, `*/15 9-16 * * mon-fri`"
)


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The IANA zone of that name; :class:`ValueError` says what a zone looks like."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"invalid time zone {name!r}: {_meant_zone(name)}") from error


def _meant_zone(name: str) -> str:
    # Those without a region, such as EST, keep to one offset all year.
    known = {each for each in zoneinfo.available_timezones() if "/" in each}
    cities = [each for each in known if each.rpartition("/")[2] == name]
    found = cities or difflib.get_close_matches(name, sorted(known), 1, cutoff=0.8)
    return f"did you mean {min(found)}?" if found else _ZONE_HELP


def parse(text: str, only: Iterable[date] = ()) -> Timetable:
    """Read a schedule, which runs on the days `only` if there are any. Raises :class:`ValueError`
    saying what is wrong and what to write."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"invalid schedule {text!r}: {_HELP}")
    parsed = _parse(re.sub(r" ?, ?", ",", " ".join(text.split())))
    if isinstance(parsed, WallClock | Every) and parsed.zone:
        zone(parsed.zone)
    return replace(parsed, only=frozenset(only))


def _parse(words: str) -> Timetable:
    if words.lower() == ALWAYS:
        return Always()
    if looks_like_cron(words):
        return parse_cron(words)
    if words.lower().startswith("every "):
        return _every(words)
    around = re.fullmatch(
        rf"(?:(.+?) )?(open|close){_OF}(?:\s*([+-])\s*(.+))?", words, re.IGNORECASE
    )
    return _around_session(around) if around else _wall_clock(words)


def _around_session(found: re.Match[str]) -> AroundSession:
    anchor = cast(Literal["open", "close"], found[2].lower())
    offset = parse_duration(found[5]) if found[5] else 0.0
    if offset >= _DAY:
        raise ValueError(f"{found[5]} is too far from the {anchor}: stay under one day")
    return AroundSession(anchor, -offset if found[4] == "-" else offset, _session_days(found))


def _session_days(found: re.Match[str]) -> DayRule | None:
    days, period = (found[1] or "").lower(), (found[3] or "").lower()
    if re.fullmatch(_NTH, days):
        return _days(f"{days} trading day of {period or 'month'}")
    if period:
        raise ValueError(
            f"`{found[2]} of {period}` says which of them before it: `last close of {period}`"
        )
    return _days(days) if days else None


def _every(words: str) -> Every:
    found = re.fullmatch(
        r"every (\S+?)(?:\s*\+\s*(\S+))?( while open)?(?: (\S+))?", words, re.IGNORECASE
    )
    if not found or (found[3] and found[4]):
        raise ValueError(f"invalid schedule {words!r}: {_HELP}")
    seconds = parse_duration(found[1].lower())
    offset = parse_duration(found[2].lower()) if found[2] else 0.0
    if not 1 <= seconds <= _DAY:
        raise ValueError(
            f"`every {found[1]}` is out of range: the interval restarts at midnight, so it must be "
            "1s to 1d. For once a week write `sun 09:00`"
        )
    if offset >= seconds:
        raise ValueError(
            f"`+ {found[2]}` is not shorter than the interval: write less than {found[1]}"
        )
    return Every(seconds, bool(found[3]), found[4], offset)


def _wall_clock(words: str) -> WallClock:
    found = re.fullmatch(r"(?:(.+?) )?(\d{1,2}:\d{2}(?:,\d{1,2}:\d{2})*)(?: (\S+))?", words)
    if not found:
        raise ValueError(f"invalid schedule {words!r}: {_HELP}")
    minutes = {_minutes(time) for time in found[2].split(",")}
    return WallClock(_days((found[1] or "mon-sun").lower()), tuple(sorted(minutes)), found[3])


def _minutes(time: str) -> int:
    hour, minute = map(int, time.split(":"))
    if hour > 23 or minute > 59:
        raise ValueError(f"invalid time of day {time}: write 00:00 to 23:59")
    return hour * 60 + minute


def _days(text: str) -> DayRule:
    end = re.fullmatch(r"(month|quarter|year) end", text)
    if end:
        text = f"last day of {end[1]}"
    found = re.fullmatch(rf"{_NTH} (trading day|day|{'|'.join(WEEKDAYS)}){_OF}", text)
    if found:
        return _nth_day(found)
    if re.match(_NTH, text) or "day of" in text or re.search(r"\bend\b", text):
        raise ValueError(
            f"invalid days {text!r}: write `last trading day`, `first day of quarter`, "
            "`second last trading day of month`, `third fri`, `last fri` or `month end`"
        )
    return Weekdays(parse_weekdays(text))


def _nth_day(found: re.Match[str]) -> NthDay:
    number, last, kind, period = found[1], found[2] or found[3], found[4], found[5] or "month"
    nth = 1 if number is None else _number(number)
    per = cast(Period, period)
    is_weekday = kind in WEEKDAYS
    if is_weekday and per == "week":
        raise ValueError(f"a week has one {kind}: write `{kind}` alone")
    most = -(-_MOST[per] // 7) if is_weekday else _MOST[per]
    if nth > most:
        raise ValueError(f"`{number} {kind}`: a {period} has {most} at most")
    if is_weekday:
        return NthDay(-nth if last else nth, WEEKDAYS.index(kind), per)
    return NthDay(-nth if last else nth, cast(Literal["day", "trading day"], kind), per)


def _number(ordinal: str) -> int:
    return _ORDINALS.index(ordinal) + 1 if ordinal in _ORDINALS else int(ordinal[:-2])


def parse_weekdays(text: str) -> frozenset[int]:
    """``mon-fri``, ``sun,wed``: days of the week, 0 is Monday. Raises :class:`ValueError`."""
    days: set[int] = set()
    for part in re.split(r"[,\s]+", text.lower().strip()):
        first, dash, last = part.partition("-")
        unknown = [d for d in (first, *((last,) if dash else ())) if d not in WEEKDAYS]
        if unknown:
            raise ValueError(
                f"invalid weekday {unknown[0]!r}: write {', '.join(WEEKDAYS)}, or a span: mon-fri"
            )
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)


def written(rule: DayRule) -> str:
    """A rule as a schedule has it; empty where it leaves out no trading day, and for a crontab's
    days, which cannot stand before an open or close."""
    match rule:
        case Weekdays() if not rule.days >= frozenset(range(5)):
            return ",".join(WEEKDAYS[day] for day in sorted(rule.days))
        case NthDay():
            kind = WEEKDAYS[rule.kind] if isinstance(rule.kind, int) else rule.kind
            return f"{nth_word(rule.nth)} {kind} of {rule.period}"
        case _:
            return ""


def nth_word(nth: int) -> str:
    """``first``, ``third``, ``21st``, ``last``, ``second last``."""
    number = abs(nth)
    if number <= len(_ORDINALS):
        word = _ORDINALS[number - 1]
    else:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 // 10 != 1 else 0)
        word = f"{number}{ending or 'th'}"
    if nth > 0:
        return word
    return "last" if number == 1 else f"{word} last"
