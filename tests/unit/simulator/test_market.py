"""Made-up prices: the same for everybody, and bars that agree with each other and the calendar."""

from __future__ import annotations

import itertools
import math

import pytest

from exporter.simulator.clocks import MovedClock
from exporter.simulator.market import SimulatedMarket, spans
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

DAY = 86400.0
FALL_2026 = 1_793_318_400.0
"""2026-10-30 00:00 UTC: both continents' clocks differ, New York's fall back two days later."""
THANKSGIVING_2026 = 1_795_564_800.0
"""2026-11-25 00:00 UTC: a day, a holiday, a half day."""


def test_prices_follow_from_symbol_moment_and_seed() -> None:
    """Two markets of one seed agree for any moment, others differ."""
    one, two, other = SimulatedMarket(7), SimulatedMarket(7), SimulatedMarket(8)
    moments = [FALL_2026 + n * 7919.5 for n in range(50)]
    assert [one.price("A.US", t) for t in moments] == [two.price("A.US", t) for t in moments]
    assert one.price("A.US", FALL_2026) != other.price("A.US", FALL_2026)
    assert one.price("A.US", FALL_2026) != one.price("B.US", FALL_2026)


@pytest.mark.parametrize("symbol", ["AAPL.US", "700.HK", "EURUSD", "USDJPY", "BTCUSDT"])
def test_prices_move_like_prices(symbol: str) -> None:
    """Always positive; a minute moves them little, a year not out of the world."""
    market = SimulatedMarket()
    days = [market.price(symbol, FALL_2026 + n * DAY) for n in range(365)]
    minutes = [market.price(symbol, FALL_2026 + n * 60) for n in range(600)]
    assert min(days) > 0
    assert max(days) / min(days) < 5
    assert len(set(minutes)) > 100
    steps = [abs(math.log(b / a)) for a, b in itertools.pairwise(minutes)]
    assert max(steps) < 0.01


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "XSHG", "XLON", "FX", "24/7"])
@pytest.mark.parametrize("interval", ["1m", "5m", "30m", "1h", "2h", "4h", "1d"])
@pytest.mark.parametrize("start", [FALL_2026, THANKSGIVING_2026])
def test_bars_end_where_the_calendar_says(name: str, interval: str, start: float) -> None:
    """The calendar that judges freshness and the simulator agree on every bar of five days."""
    known = calendar(name)
    found = list(spans(known, interval, start, start + 5 * DAY))
    stamps = [stamp for stamp, _, _ in found]
    assert stamps == sorted(set(stamps))
    assert all(stamp <= opened < closed or interval == "1d" for stamp, opened, closed in found)
    assert [closed for _, _, closed in found] == [known.bar_end(s, interval) for s in stamps]
    if interval != "1d" and found:
        first, last = found[0][2], found[-1][2]
        assert known.expected_bars(interval, first - 1, last) == len(found)


@pytest.mark.parametrize("interval", ["1w", "1M"])
def test_long_bars_lie_on_their_period(interval: str) -> None:
    """A week is stamped on its Monday, a month on its first, one bar each."""
    found = list(spans(calendar("XNYS"), interval, FALL_2026 - 100 * DAY, FALL_2026))
    assert len(found) == (14 if interval == "1w" else 3)
    assert all(stamp % DAY == 0 for stamp, _, _ in found)


def test_bars_agree_with_each_other() -> None:
    """Within a session a bar opens where the last one closed; the day ends where its minutes do."""
    market, known = SimulatedMarket(), calendar("XNYS")
    start, now = FALL_2026, FALL_2026 + 4 * DAY
    minutes = list(market.bars("A.US", known, "1m", start, start + DAY, now=now))
    (day,) = market.bars("A.US", known, "1d", start, start + DAY, now=now)
    assert len(minutes) == 390
    assert all(a.close == b.open for a, b in itertools.pairwise(minutes))
    assert (day.open, day.close) == (minutes[0].open, minutes[-1].close)
    for bar in [*minutes, day]:
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume > 0


def test_a_bar_is_final_once_it_is_closed() -> None:
    """It forms while its interval lasts, and never changes after."""
    market, known = SimulatedMarket(), calendar("24/7")
    start = FALL_2026

    def bar_at(now: float) -> object:
        return next(iter(market.bars("BTCUSDT", known, "1h", start, start + 1, now=now)))

    assert bar_at(start + 1800) != bar_at(start + 2400)
    assert bar_at(start + 3600) == bar_at(start + 7 * DAY)
    assert list(market.bars("BTCUSDT", known, "1h", start, start + 1, now=start - 1)) == []


def test_a_moved_clock() -> None:
    """Starts where it is told and runs faster; pauses keep real seconds."""
    real = ManualClock()
    moved = MovedClock(real, FALL_2026, speed=60)
    real.advance(10)
    assert moved.now() == FALL_2026 + 600
    assert moved.monotonic() == real.monotonic()
