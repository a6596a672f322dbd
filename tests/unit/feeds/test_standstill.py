"""What stands still although its source answers: one symbol, a price, a whole exchange."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.config import Config, Feed
from exporter.feeds import SymbolState
from exporter.feeds.symbol_state import after_answer
from exporter.sources.base import Bar, SourceError
from tests.unit.feeds.test_poller import FakeSource, PollerBench, at
from tests.unit.tables import calendar

MORNING = "2026-11-24T10:00:30"
MINUTE = 60.0


class Stopped(FakeSource):
    """A source that has bars of each symbol up to a moment."""

    def __init__(self, bench: PollerBench, **until: float) -> None:
        super().__init__(bench.clock, bench.calendar, "1m")
        self.until = until

    def bars(self, symbol: str, count: int) -> list[Bar]:
        self.dead_since = self.until.get(symbol[0], math.inf)
        return super().bars(symbol, count)


def bench_with(now: str, symbols: str = "ABC", **more: Any) -> PollerBench:
    """A feed of these symbols at the simplest source."""
    bench = PollerBench(now, **more)
    bench.config = Config(
        feeds={
            "f": Feed(
                source="s", symbols=tuple(f"{s}.US" for s in symbols), interval="1m",
                exchange="XNYS", **more,
            )
        }
    )  # fmt: skip
    bench.feeds = bench.restart()
    return bench


async def pass_minutes(bench: PollerBench, minutes: int) -> None:
    for _ in range(minutes):
        bench.clock.advance(MINUTE)
        await bench.poll()


def halted(bench: PollerBench, symbol: str) -> float:
    return bench.value("quant_data_halted", symbol=symbol)


async def test_a_symbol_without_bars_that_most_others_have_is_halted() -> None:
    """Also overnight, and while the source is down later; not once its bars come again."""
    bench = bench_with(MORNING)
    bench.feed.source = source = Stopped(bench)
    await bench.poll()
    source.until["A"] = bench.clock.now()
    assert halted(bench, "A.US") == 0
    await pass_minutes(bench, 5)
    assert (halted(bench, "A.US"), halted(bench, "B.US")) == (1, 0)
    assert bench.value("quant_data_overdue_seconds", symbol="A.US") > 60
    bench.clock.advance(8 * 3600)
    source.error = None
    assert halted(bench, "A.US") == 1
    source.until.clear()
    bench.clock.set(at("2026-11-25T09:35:30"))
    await bench.poll()
    assert halted(bench, "A.US") == 0


async def test_what_the_source_does_not_answer_for_is_overdue_and_not_halted() -> None:
    """An error is the source's; so are symbols of which all lack bars."""
    bench = bench_with(MORNING)
    bench.feed.source = source = Stopped(bench)
    await bench.poll()
    stop = bench.clock.now()
    source.until.update(A=stop, B=stop, C=stop)
    await pass_minutes(bench, 5)
    assert [halted(bench, s) for s in ("A.US", "B.US", "C.US")] == [0, 0, 0]
    del source.until["B"], source.until["C"]
    bench.feed.unanswered = frozenset({"A.US"})
    await pass_minutes(bench, 1)
    assert halted(bench, "A.US") == 1
    source.error = SourceError("connect", "no")
    await pass_minutes(bench, 1)
    assert halted(bench, "A.US") == 0


async def test_an_ignored_symbol_is_not_waited_for_until_its_day() -> None:
    """From that day of the exchange on it is watched again."""
    bench = bench_with(MORNING, ignore={"A.US": {"until": "2026-11-25", "reason": "halted"}})
    bench.feed.source = source = Stopped(bench)
    await bench.poll()
    source.until["A"] = bench.clock.now()
    await pass_minutes(bench, 5)
    assert math.isnan(bench.value("quant_data_overdue_seconds", symbol="A.US"))
    assert bench.value("quant_data_ignored", symbol="A.US") == 1
    assert bench.value("quant_feed_missing_bars") == 0
    assert bench.feeds.describe(bench.feed) == []
    assert bench.feed.missing(bench.clock.now()) == []
    bench.clock.set(at("2026-11-25T09:40:30"))
    await bench.poll()
    assert bench.value("quant_data_ignored", symbol="A.US") == 0
    assert bench.value("quant_data_overdue_seconds", symbol="A.US") > 0


def test_only_symbols_of_the_feed_are_ignored() -> None:
    """A mistyped one would be watched."""
    with pytest.raises(ValidationError, match="`ignore` names GME, which is not in `symbols`"):
        Feed(source="s", symbols=("GME.US",), interval="1m", exchange="XNYS", ignore={"GME": {}})


def unchanged(*bars: tuple[str, float, float], known: SymbolState | None = None) -> int:
    """After bars that start at that time of the day, with close and volume, one answer each."""
    known = known or SymbolState(since=at("2026-11-24T09:00:00"))
    for start, close, volume in bars:
        begin = at(f"2026-11-24T{start}")
        bar = Bar("A", begin, 100, 120, 90, close, volume)
        known, _ = after_answer(known, [bar], calendar("XNYS"), "1m", begin + 90)
    return known.unchanged


def test_bars_that_repeat_close_and_volume_are_counted() -> None:
    """In a row; another volume is a trade; a bar that comes again is no second one."""
    same = [(f"10:0{n}", 100.0, 0.0) for n in range(5)]
    assert unchanged(*same) == 4
    assert unchanged(*same, same[-1]) == 4
    assert unchanged(*same, ("10:05", 100.0, 10.0)) == 0
    assert unchanged(*same, ("10:04", 101.0, 0.0)) == 0
    assert unchanged(*((start, 100.0, math.nan) for start, _, _ in same)) == 4


def test_bars_outside_the_session_do_not_count() -> None:
    """Before the open nothing trades."""
    early = [(f"09:0{n}", 100.0, 0.0) for n in range(5)]
    assert unchanged(*early) == 0
    assert unchanged(*early, ("09:30", 100.0, 0.0)) == 1


def test_one_answer_shows_what_happened_before_the_start() -> None:
    """And the state file what happened before that."""
    bars = [Bar("A", at("2026-11-24T10:00") + n * MINUTE, 100, 120, 90, 100, 0) for n in range(10)]
    now = at("2026-11-24T10:10:30")
    known, _ = after_answer(SymbolState(since=0.0), bars, calendar("XNYS"), "1m", now)
    assert known.unchanged == 9
    assert SymbolState.from_json(known.to_json(["s", "1m"])) == known


async def test_the_limit_of_unchanged_bars_is_exposed_with_the_count() -> None:
    """Without a limit neither is."""
    bench = bench_with(MORNING, max_unchanged=30)
    await bench.poll()
    await pass_minutes(bench, 3)
    assert bench.value("quant_feed_unchanged_limit_bars") == 30
    assert bench.value("quant_data_unchanged_bars", symbol="A.US") > 0
    bench = bench_with(MORNING)
    await bench.poll()
    labels = {"feed": "f", "symbol": "A.US"}
    assert bench.registry.get_sample_value("quant_data_unchanged_bars", labels) is None


def silent(bench: PollerBench, day: str = "2026-11-24") -> float:
    labels = {"exchange": "XNYS", "day": day}
    value = bench.registry.get_sample_value("quant_exchange_silent_since_timestamp_seconds", labels)
    return math.nan if value is None else value


async def test_an_exchange_without_a_bar_since_its_open_is_silent() -> None:
    """From the first bar's due time, through the night, to the next day's first bar."""
    bench = bench_with("2026-11-23T15:50:30")
    bench.feed.source = source = Stopped(bench)
    await pass_minutes(bench, 12)
    source.until.update(dict.fromkeys("ABC", at("2026-11-24T00:00")))
    opened = at("2026-11-24T09:30:00")
    for moment, expected in (
        ("2026-11-23T22:00:00", math.nan),
        ("2026-11-24T09:31:30", math.nan),
        ("2026-11-24T09:33:00", opened),
        ("2026-11-24T20:03:00", opened),
        ("2026-11-25T07:01:00", opened),
    ):
        bench.clock.set(at(moment))
        await bench.poll()
        assert silent(bench) == pytest.approx(expected, nan_ok=True), moment
    source.until.clear()
    bench.clock.set(at("2026-11-25T09:31:30"))
    await bench.poll()
    assert math.isnan(silent(bench))


async def test_one_bar_or_a_source_that_does_not_answer_is_no_silent_exchange() -> None:
    """The first shows that it trades, the second that nobody knows."""
    bench = bench_with("2026-11-23T15:50:30")
    bench.feed.source = source = Stopped(bench)
    await pass_minutes(bench, 12)
    source.until.update(dict.fromkeys("BC", at("2026-11-24T00:00")))
    bench.clock.set(at("2026-11-24T11:00:00"))
    await bench.poll()
    assert math.isnan(silent(bench))
    source.until["A"] = at("2026-11-24T00:00")
    bench.feeds = bench.restart()
    bench.feed.source = source
    await bench.poll()
    source.error = SourceError("connect", "no")
    bench.clock.advance(MINUTE)
    await bench.poll()
    assert math.isnan(silent(bench))
