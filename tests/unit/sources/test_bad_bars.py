"""A bar that makes no sense costs the others of its symbol nothing, unless it is the newest."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from exporter.sources import SourceError
from tests.unit.tickdb_server import NOW, Bench, good, row, series

SYMBOL = "AAPL.US"
MINUTE = 60.0
BROKEN = {"close": "n/a"}


async def ask(bench: Bench, rows: Any) -> list[float] | SourceError:
    """The bars' starts, relative to now; or what is wrong with the symbol."""
    bench.server.script = [lambda r: good([series(SYMBOL, rows)])]
    async with bench.client() as source:
        answer = await source.latest([SYMBOL], "1m")
    if SYMBOL in answer.bad:
        return answer.bad[SYMBOL]
    return [bar.start - NOW for bar in answer.good[SYMBOL]]


async def test_the_good_bars_are_used_and_the_bad_one_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counted by reason, and named in the log with its place."""
    bench = Bench()
    rows = [row(NOW - 3 * MINUTE), row(NOW - 2 * MINUTE, **BROKEN), row(NOW - MINUTE)]
    with caplog.at_level(logging.WARNING):
        assert await ask(bench, rows) == [-180, -60]
    assert bench.failures(name="quant_fetch_bad_bars_total") == {"malformed": 1}
    assert bench.bad_symbols() == bench.failures() == {}
    assert [r.getMessage() for r in caplog.records if r.event == "fetch_failed"] == [
        "main /market/kline/latest: AAPL.US: bar 1: `close` is of type str, not a number"
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [row(NOW - 120), row(NOW - 60, **BROKEN)],
        [row(NOW - 60, **BROKEN), row(NOW - 120), row(NOW - 180)],
        [row(NOW - 120), row(NOW - 60, **BROKEN), row(NOW - 180)],
        [row(NOW - 120), row(NOW - 60, time=None)],
        [row(NOW - 60, time=None), row(NOW - 120), row(NOW - 180)],
        [row(NOW - 120), None],
        [row(NOW - 120), row(NOW - 60, **BROKEN), row(NOW - 60, **BROKEN)],
    ],
)
async def test_a_bad_bar_that_is_the_newest_costs_its_symbol(rows: Any) -> None:
    """By its time, or where it has none by its place: an older bar must not pass for the newest."""
    bench = Bench()
    error = await ask(bench, rows)
    assert isinstance(error, SourceError)
    assert str(error).endswith("(the newest bar)")
    assert bench.bad_symbols() == {"malformed": 1}


async def test_a_bar_from_the_future_is_no_older_bar() -> None:
    """The whole series may be in another zone."""
    bench = Bench()
    error = await ask(bench, [row(NOW - 120), row(NOW + 3600), row(NOW - 60)])
    assert isinstance(error, SourceError)
    assert error.reason == "wrong_time"


async def test_a_bar_that_comes_twice_with_other_values_is_said() -> None:
    """The later writing counts."""
    bench = Bench()
    rows = [row(NOW - 120), row(NOW - 120, 101.0), row(NOW - 60), row(NOW - 60)]
    assert await ask(bench, rows) == [-120, -60]
    assert bench.failures(name="quant_fetch_bad_bars_total") == {"malformed": 1}


@pytest.mark.parametrize(
    "moment",
    [
        int(NOW - 60),
        (NOW - 60) * 1000,
        str(int(NOW - 60) * 1000),
        int(NOW - 60) * 10**6,
        int(NOW - 60) * 10**9,
        str(int(NOW - 60) * 10**9),
        "2026-09-21T14:12:20Z",
        "2026-09-21T10:12:20-04:00",
    ],
)
async def test_a_time_is_read_in_whatever_unit_it_is(moment: Any) -> None:
    """Seconds to nanoseconds differ by their size; text needs a zone."""
    assert await ask(Bench(), [row(0, time=moment)]) == [-60]


@pytest.mark.parametrize("moment", ["2026-09-21T14:12:20", "2026-09-21", "", -5, 0, 1e40, [1]])
async def test_a_time_that_may_mean_several_is_refused(moment: Any) -> None:
    """Without a zone it could be any."""
    error = await ask(Bench(), [row(0, time=moment)])
    assert isinstance(error, SourceError)
    assert error.reason == "malformed"
