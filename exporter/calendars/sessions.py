"""When an exchange trades: its sessions, from a table and overrides.

Moments are Unix seconds UTC; a session belongs to a date of the exchange's own zone, also when it
opens on the evening before. Outside the table, the weekdays that normally trade have a session with
regular hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from exporter.calendars.overrides import Overrides, Shape, Unused, days_named, overridden
from exporter.util.local_time import DAY, date_of, local_time, midnight

_CLOSED = "."
_FAR_DAYS = 800  # no exchange is closed for two years; a search past this finds nothing
_CACHED_DAYS = 4000


@dataclass(frozen=True, slots=True)
class Session:
    """One day's trading. ``regular_*`` is what that weekday normally has."""

    day: date
    open: float
    close: float
    pause: tuple[float, float] | None
    regular_open: float
    regular_close: float

    @property
    def segments(self) -> tuple[tuple[float, float], ...]:
        """The spans of trading, without the lunch break."""
        if self.pause is None:
            return ((self.open, self.close),)
        return ((self.open, self.pause[0]), (self.pause[1], self.close))


@dataclass(frozen=True)
class Table:
    """What is known of one exchange; see :mod:`exporter.calendars.build_tables` for the form."""

    zone: str
    first: date
    last: date | None
    """Newest day that the table knows; None for a rule without an end."""
    shapes: Sequence[Shape]
    regular: Sequence[int | None]
    days: str
    continuous: bool = False
    holidays: frozenset[tuple[int, int]] = frozenset()
    """Month and day of those that come every year, where `days` does not say."""


_BEGINNING = date(1970, 1, 1)
FX = Table(
    "America/New_York", _BEGINNING, None, [(-420, 1020, None, None, -420, 1020)],
    (0, 0, 0, 0, 0, None, None), "", continuous=True, holidays=frozenset({(1, 1), (12, 25)}),
)  # fmt: skip
"""Sunday 17:00 to Friday 17:00 New York, a session per trade day; brokers quote nothing on
Christmas and New Year's Day."""
ALWAYS = Table(
    "UTC", _BEGINNING, None, [(0, 1440, None, None, 0, 1440)], (0,) * 7, "", continuous=True
)
"""24/7: a session per UTC day."""


class Sessions:
    """Session look-ups of one exchange. Pure: it has no clock."""

    def __init__(self, name: str, table: Table, overrides: Overrides | None = None) -> None:
        self.name = name
        self.zone = ZoneInfo(table.zone)
        self.continuous = table.continuous
        self.end = math.inf if table.last is None else midnight(table.last + DAY, self.zone)
        self.table = table
        self.overrides = overrides
        self._first = table.first.toordinal()
        self._cache: dict[date, Session | None] = {}

    def session_on(self, day: date) -> Session | None:
        """The session of that date, or None when there is no trading."""
        try:
            return self._cache[day]
        except KeyError:
            if len(self._cache) >= _CACHED_DAYS:
                self._cache.clear()
            found = self._cache[day] = self._make(day)
            return found

    def day_of(self, t: float) -> date:
        """The exchange's date at `t`."""
        return date_of(t, self.zone)

    def sessions(self, start: float, end: float) -> list[Session]:
        """Every session that overlaps [start, end), in order."""
        if end <= start:
            return []
        # A session may open on the evening before its day, or close after midnight.
        day, last = self.day_of(start) - DAY, self.day_of(end) + DAY
        found = []
        while day <= last:
            session = self.session_on(day)
            if session and session.close > start and session.open < end:
                found.append(session)
            day += DAY
        return found

    def session_at(self, t: float) -> Session | None:
        """The session with open <= t < close (lunch included)."""
        day = self.day_of(t)
        for near in (day, day + DAY, day - DAY):
            session = self.session_on(near)
            if session and session.open <= t < session.close:
                return session
        return None

    def is_open(self, t: float) -> bool:
        """Whether there is trading at `t`; not in a lunch break."""
        session = self.session_at(t)
        if session is None:
            return False
        return session.pause is None or not session.pause[0] <= t < session.pause[1]

    def next_change(self, t: float) -> float:
        """When :meth:`is_open` may next change after `t`; inf if it never does."""
        session = self.session_at(t)
        if session is None:
            return self.next_open(t)
        edges = (session.close,) if session.pause is None else (*session.pause, session.close)
        return min(edge for edge in edges if edge > t)

    def next_open(self, t: float) -> float:
        """When trading begins next, after a lunch break too; inf when it never stops."""
        session = self.session_at(t)
        if session and session.pause and session.pause[0] <= t < session.pause[1]:
            return session.pause[1]
        closed = session.close if session else None
        for following in self.after(t):
            if following.open != closed:
                return following.open
            closed = following.close
        return math.inf

    def next_close(self, t: float) -> float:
        """When the present session closes, or else the next one; inf when it never does."""
        session = self.session_at(t)
        closed = session.close if session else None
        for following in self.after(t):
            if closed is not None and following.open != closed:
                break
            closed = following.close
        else:
            return math.inf
        return closed

    def previous_session(self, t: float) -> Session:
        """The newest session whose close <= t. Raises :class:`LookupError` when there is none."""
        day = self.day_of(t) + DAY
        for n in range(_FAR_DAYS):
            session = self.session_on(day - timedelta(n))
            if session and session.close <= t:
                return session
        raise LookupError(f"{self.name} has no session before {t}")

    def next_session(self, t: float) -> Session:
        """The first session whose open > t. Raises :class:`LookupError` when there is none."""
        for session in self.after(t):
            return session
        raise LookupError(f"{self.name} has no session after {t}")

    def after(self, t: float) -> Iterator[Session]:
        """Sessions whose open > t, in order, for about two years."""
        day = self.day_of(t)
        for n in range(_FAR_DAYS):
            session = self.session_on(day + timedelta(n))
            if session and session.open > t:
                yield session

    def unused_overrides(self) -> list[Unused]:
        """The overrides that change nothing, by day."""
        if self.overrides is None:
            return []
        return [each for day in days_named(self.overrides) for each in self._shape(day)[1]]

    def _make(self, day: date) -> Session | None:
        shape, _ = self._shape(day)
        if shape is None:
            return None
        opened, closed, pause, resume, regular_open, regular_close = shape
        at = self._at
        return Session(
            day,
            at(day, opened),
            at(day, closed),
            None if pause is None or resume is None else (at(day, pause), at(day, resume)),
            at(day, regular_open),
            at(day, regular_close),
        )

    def _shape(self, day: date) -> tuple[Shape | None, list[Unused]]:
        kind = self._kind(day)
        shape = None if kind is None else self.table.shapes[kind]
        if self.overrides is None:
            return shape, []
        return overridden(shape, self._regular(day), day, self.overrides)

    def _regular(self, day: date) -> Shape:
        """The weekday's hours, or the first ones of the week for a weekday that has none."""
        week = self.table.regular
        known = [week[day.weekday()], *week]
        return self.table.shapes[next((kind for kind in known if kind is not None), 0)]

    def _kind(self, day: date) -> int | None:
        place = day.toordinal() - self._first
        if 0 <= place < len(self.table.days):
            letter = self.table.days[place]
            return None if letter == _CLOSED else ord(letter) - 48
        if (day.month, day.day) in self.table.holidays:
            return None
        return self.table.regular[day.weekday()]

    def _at(self, day: date, minutes: int) -> float:
        return local_time(day, minutes, self.zone)
