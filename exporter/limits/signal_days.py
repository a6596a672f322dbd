"""On which sessions a strategy had signals since its last fill; remembered over restarts."""

from __future__ import annotations

from exporter.calendars.loader import Calendar
from exporter.custom_metrics.custom_metrics import NewValue
from exporter.state import State

KIND = "signal_days"
_MOST = 60


class SignalDays:
    """By strategy, when the newest signals came: one moment for each day of its exchange."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._moments: dict[str, list[float]] = {
            name: [float(at) for at in moments] for name, moments in state.kept(KIND).items()
        }
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._changed: set[str] = set()

    def note(self, strategy: str, new: NewValue, calendar: Calendar, *, counts: bool) -> None:
        """A value of the metric that says that signals came: above 0, or a counter that rose."""
        key = (new.name, new.labels)
        before = self._values.get(key, 0.0 if counts else float("-inf"))
        self._values[key] = new.value
        if not new.value > (before if counts else 0.0):
            return
        moments = self._moments.setdefault(strategy, [])
        day = calendar.day_of(new.at)
        if not any(calendar.day_of(at) == day for at in moments[-2:]):
            moments.append(new.at)
            del moments[:-_MOST]
            self._changed.add(strategy)

    def unanswered(self, strategy: str, calendar: Calendar, filled: float, now: float) -> int:
        """Sessions that have closed, with signals in or before them and no fill since."""
        days = set()
        for at in self._moments.get(strategy, ()):
            if at <= filled:
                continue
            session = calendar.session_at(at) or calendar.next_session(at)
            if session.close <= now:
                days.add(session.day)
        return len(days)

    async def flush(self) -> None:
        """Keep what is new."""
        changed, self._changed = self._changed, set()
        rows = [(KIND, name, list(self._moments[name])) for name in changed]
        if rows:
            await self._state.keep_many(rows)
