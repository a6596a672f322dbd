"""Prints the sessions of exchanges as compact JSON.

``python -m exporter.calendars.build_tables XNYS``

This runs in a process of its own, because exchange_calendars brings pandas: 50 MB and most of a
second that the daemon does not pay. One line per exchange on stdout; ``{"error": …}`` where the
table cannot be built.

A table holds one character per calendar day from ``first`` to ``last``: ``.`` for no session, else
the place in ``shapes``, counted from ``0`` on. A shape is ``[open, close, pause start, pause end,
regular open, regular close]`` in minutes of local wall time after the session day's midnight (the
open may be negative: the evening before); a pause may be null. ``regular`` has the shape of each
weekday (null where there is normally no session), for days outside the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

_YEARS_BACK, _YEARS_AHEAD = 6, 2
_WINDOW = 6  # same-weekday sessions on either side that say what is regular

_DAILY_BREAKS = {"CMES": 60, "us_futures": 60}
"""Minutes before the next session in which Globex is shut; the library's sessions have none."""

Shape = tuple[int, int, int | None, int | None, int, int]


def build(name: str, today: date) -> dict[str, Any]:
    """The table of one exchange around `today`. Raises what the library raises."""
    from exchange_calendars import get_calendar
    from pandas import isna

    start = f"{today.year - _YEARS_BACK}-01-01"
    end = f"{today.year + _YEARS_AHEAD}-12-31"
    # Holidays are recorded from some year on and up to some year only: use what there is.
    spans: tuple[dict[str, str], ...] = ({"start": start, "end": end}, {"end": end})
    for span in (*spans, {"start": start}):
        try:
            calendar, complete = get_calendar(name, **span), "end" not in span
            break
        except ValueError:
            continue
    else:
        calendar, complete = get_calendar(name), True
    zone = calendar.tz
    plain = []
    daily_break = _DAILY_BREAKS.get(calendar.name, 0)
    columns = calendar.schedule[["open", "close", "break_start", "break_end"]]
    for session, *moments in columns.itertuples():
        day = session.date()
        minutes = [None if isna(m) else _minutes(m.tz_convert(zone), day) for m in moments]
        if daily_break and minutes[1] == _general(calendar.close_times, calendar.close_offset, day):
            minutes[1] -= daily_break
        plain.append((day, minutes))
    shapes: dict[Shape, int] = {}
    kinds = {
        day: shapes.setdefault(shape, len(shapes))
        for day, shape in _with_regular(plain, calendar, daily_break)
    }
    first, last = date.fromisoformat(start), calendar.last_session.date()
    first = max(first, calendar.first_session.date().replace(day=1))
    if not complete:
        last = date.fromisoformat(end)
    elif calendar.bound_max() is not None:
        last = max(last, calendar.bound_max().date())
    days = "".join(
        chr(48 + kinds[day]) if day in kinds else "."
        for day in (first + timedelta(n) for n in range((last - first).days + 1))
    )
    return {
        "name": name,
        "zone": str(zone),
        "first": first.isoformat(),
        "last": last.isoformat(),
        "complete": complete,
        "shapes": list(shapes),
        "regular": _regular_week(kinds, list(shapes), last),
        "days": days,
    }


def _minutes(moment: Any, day: date) -> int:
    local = datetime(moment.year, moment.month, moment.day, moment.hour, moment.minute)  # noqa: DTZ001 - wall time on purpose
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    return round((local - midnight).total_seconds() / 60)


def _with_regular(
    plain: list[tuple[date, list[int | None]]], calendar: Any, daily_break: int
) -> list[tuple[date, Shape]]:
    """Each session with the hours that its weekday normally has at that time of the calendar.

    The library's general hours count as regular when the session keeps them; else what most
    neighbouring sessions of the same weekday do (an exchange may close earlier every Sunday).
    """
    by_weekday: dict[int, list[tuple[int, int]]] = {}
    places: list[int] = []
    for day, (opened, closed, *_) in plain:
        row = by_weekday.setdefault(day.weekday(), [])
        places.append(len(row))
        row.append((int(opened or 0), int(closed or 0)))
    out = []
    for (day, (opened, closed, pause, resume)), place in zip(plain, places, strict=True):
        near = by_weekday[day.weekday()][max(0, place - _WINDOW) : place + _WINDOW + 1]
        general = (
            _general(calendar.open_times, calendar.open_offset, day),
            _general(calendar.close_times, calendar.close_offset, day) - daily_break,
        )
        own = (int(opened or 0), int(closed or 0))
        regular = [
            own[side]
            if own[side] == general[side]
            else Counter(n[side] for n in near).most_common(1)[0][0]
            for side in (0, 1)
        ]
        out.append((day, (*own, pause, resume, regular[0], regular[1])))
    return out


def _general(times: Any, offset: int, day: date) -> int:
    newest = next(t for since, t in reversed(times) if since is None or since.date() <= day)
    return int(newest.hour * 60 + newest.minute + 1440 * offset)


def _regular_week(kinds: dict[date, int], shapes: list[Shape], last: date) -> list[int | None]:
    """For each weekday the shape most of the last half year's sessions have, null for a day off."""
    week: list[int | None] = []
    for weekday in range(7):
        newest = last - timedelta((last.weekday() - weekday) % 7)
        seen = Counter(kinds.get(newest - timedelta(7 * n)) for n in range(26))
        held = [(kind, count) for kind, count in seen.most_common() if kind is not None]
        traded = sum(count for _, count in held)
        week.append(held[0][0] if traded > 13 else None)
    return week


def main(arguments: list[str] | None = None) -> None:
    """Print one JSON line for each exchange named."""
    parser = argparse.ArgumentParser(prog="python -m exporter.calendars.build_tables")
    parser.add_argument("--today", type=date.fromisoformat, required=True)
    parser.add_argument("names", nargs="+")
    args = parser.parse_args(arguments)
    for name in args.names:
        try:
            table = build(name, args.today)
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            text = f"{type(error).__name__}: {error}"
            table = {"name": name, "error": text[:200]}
        sys.stdout.write(json.dumps(table, separators=(",", ":")) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
