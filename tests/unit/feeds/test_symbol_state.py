"""What one answer adds to what is known of a symbol."""

from __future__ import annotations

import math

import pytest

from exporter.feeds import SymbolState
from exporter.feeds.symbol_state import after_answer
from exporter.sources import Bar
from tests.unit.feeds.test_feed_sessions import NEW_YORK, at
from tests.unit.tables import calendar


def day(time: str) -> float:
    return at(f"2026-11-24 {time}", NEW_YORK)


def bar(start: str, close: float = 100.0) -> Bar:
    return Bar("A", day(start), 100, 120, 90, close, 10)


def learn(known: SymbolState, now: str, *bars: Bar, interval: str = "1m") -> SymbolState:
    return after_answer(known, bars, calendar("XNYS"), interval, day(now))[0]


NEW = SymbolState(day("09:00"))


def test_a_forming_bar_alone_shows_that_its_predecessors_are_there() -> None:
    """The newest closed bar's end is known then, its close is not."""
    known = learn(NEW, "10:03:05", bar("10:03", 117))
    assert (known.end, known.from_when) == (day("10:03"), day("10:03"))
    assert math.isnan(known.close)
    assert known.close_is_missing(day("10:03"))
    known = learn(known, "10:03:06", bar("10:01"), bar("10:02", 111), bar("10:03", 117))
    assert (known.end, known.close) == (day("10:03"), 111)
    assert not known.close_is_missing(day("10:03"))
    later = learn(known, "10:05:05", bar("10:05", 90))
    assert (later.end, later.close, later.priced) == (day("10:05"), 111, day("10:03"))


def test_a_bar_is_closed_from_the_moment_at_which_it_ends() -> None:
    """Not a poll later."""
    assert (learn(NEW, "10:04:00", bar("10:03", 117))).close == 117
    assert math.isnan(learn(NEW, "10:03:59", bar("10:03", 117)).close)


def test_a_minute_without_trades_is_not_missing_once_a_later_bar_is_there() -> None:
    """The newest closed bar is old and says so; but nothing more will come before 10:07."""
    known = learn(NEW, "10:07:10", bar("10:02", 101), bar("10:07", 102))
    assert (known.end, known.close, known.from_when) == (day("10:03"), 101, day("10:07"))
    again = learn(known, "10:07:40", bar("10:02", 101), bar("10:07", 102))
    assert again == known


def test_a_halted_symbol_learns_nothing() -> None:
    """No bar, or the old one again: what is known stays."""
    known = learn(NEW, "10:03:05", bar("10:02"))
    assert learn(known, "10:20:05") == known
    assert learn(known, "10:20:05", bar("10:02")) == known
    assert learn(NEW, "10:20:05") == NEW


def test_the_close_of_the_day_may_be_corrected() -> None:
    """After the bell the closing auction comes in; an older bar changes nothing any more."""
    known = learn(NEW, "16:00:02", bar("09:30", 105), interval="1d")
    known = learn(known, "16:01:30", bar("09:30", 106), interval="1d")
    assert (known.end, known.close) == (day("16:00"), 106)
    older = Bar("A", day("09:30") - 86400, 100, 120, 90, 99, 10)
    assert learn(known, "16:01:40", older, interval="1d") == known


def test_today_s_forming_bar_shows_that_yesterday_s_is_there() -> None:
    """However the day is stamped."""
    for start in ("00:00", "09:30"):
        known = learn(NEW, "11:00", bar(start), interval="1d")
        assert known.end == day("16:00") - 86400


@pytest.mark.parametrize("start", ["10:05", "10:06"])
def test_a_server_whose_clock_is_ahead_shows_nothing_of_our_future(start: str) -> None:
    """Only what has ended by our own clock is taken to be there."""
    known = learn(NEW, "10:04:50", bar("10:03"), bar("10:04"), bar(start))
    assert known.from_when == day("10:04")


def test_what_is_unknown_on_both_sides_is_no_difference() -> None:
    """NaN never equals itself, and a dataclass compares field by field from Python 3.13 on."""
    unknown = SymbolState(1.0, float("nan"))
    assert unknown == SymbolState(1.0, float("nan"))
    assert unknown != SymbolState(1.0, 2.0)
    assert unknown != SymbolState(2.0)
    assert len({unknown, SymbolState(1.0)}) == 1


def test_what_is_known_survives_being_kept() -> None:
    """Also in the form of older versions, which knew no `priced`."""
    known = learn(NEW, "10:03:05", bar("10:02", 101))
    saved = known.to_json(["s", "1m"])
    assert SymbolState.from_json(saved) == known
    del saved["priced"]
    assert SymbolState.from_json(saved) == known
    assert SymbolState.from_json(NEW.to_json(["s", "1m"])) == NEW
