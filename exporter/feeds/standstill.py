"""What stands still although its source answers: one symbol of a feed, or a whole exchange."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from exporter.feeds.feed import FeedState
from exporter.util.nan import NAN


def halted_symbols(state: FeedState, now: float) -> frozenset[str]:
    """Symbols that lack a bar which most other symbols of the feed have.

    The source answers for them; it just has nothing new. So the symbol itself has stopped.
    """
    known = {s: k.from_when for s, k in state.watched(now).items()}
    moments = sorted(known.values())
    stopped: dict[float, bool] = {}
    for moment in set(moments):
        first_missing = state.calendar.first_bar_end_after(state.feed.interval, moment)
        have_it = len(moments) - bisect_left(moments, first_missing)
        stopped[moment] = have_it > 0 and 2 * have_it >= len(moments) - 1
    return frozenset(s for s, at in known.items() if stopped[at] and s not in state.unanswered)


def silent_since(states: Iterable[FeedState], now: float) -> tuple[float, str]:
    """Since when all symbols of one exchange have been silent, and its day there.

    That is the open of the session in which the oldest missing bar fell due, when no symbol has had
    a bar of that session and every feed's source answers: as on a holiday that the calendar does
    not know. NaN otherwise. Unix seconds.
    """
    states = list(states)
    moments = [k.from_when for state in states for k in state.watched(now).values()]
    if not moments or not all(state.answers for state in states):
        return NAN, ""
    newest = max(moments)
    missing = [s.calendar.first_bar_end_after(s.feed.interval, newest) for s in states]
    due = [end for end, s in zip(missing, states, strict=True) if end + s.feed.delay < now]
    session = states[0].calendar.session_at(min(due) - 1.0) if due else None
    if session is None or newest > session.open:
        return NAN, ""
    return session.open, session.day.isoformat()
