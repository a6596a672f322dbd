"""The TickDB client on good days: batches, pages, tickers, keys."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.config import TickDBSettings
from exporter.config.secret_values import SecretMissingError
from exporter.sources import SourceError
from exporter.sources.api_key import Key, read_key
from exporter.sources.factory import open_source
from tests.unit.tickdb_server import KEY, NOW, Bench, error, good, latest_of, row, series

MINUTE = 60.0


async def test_newest_bars_are_read() -> None:
    """The documented example, strings and all, becomes a bar of floats and Unix seconds."""
    bench = Bench()
    bench.clock.set(1773259200.0)
    example = {
        "time": 1773259020000, "open": "260.86", "high": "261.05", "low": "260.7",
        "close": "260.81", "volume": "963419", "quote_volume": "251311057.55",
    }  # fmt: skip
    bench.server.script = [lambda r: good([series("AAPL.US", [example], "3m")])]
    async with bench.client() as source:
        answer = await source.latest(["AAPL.US"], "3m")
    (bar,) = answer.good["AAPL.US"]
    assert (bar.symbol, bar.start, bar.close) == ("AAPL.US", 1773259020.0, 260.81)
    assert (bar.open, bar.high, bar.low, bar.volume) == (260.86, 261.05, 260.7, 963419.0)


async def test_500_symbols_are_ten_requests() -> None:
    """Fifty a request, every symbol once, all answered."""
    bench = Bench()
    symbols = [f"S{n}.US" for n in range(500)]
    async with bench.client() as source:
        answer = await source.latest([*symbols, "S0.US"], "1m")
    assert set(answer.good) == set(symbols)
    assert not answer.bad
    asked = [r.query["symbols"].split(",") for r in bench.server.requests]
    assert [len(batch) for batch in asked] == [50] * 10


async def test_a_failed_batch_spoils_no_other() -> None:
    """Its fifty symbols are bad, the other fifty good."""
    bench = Bench(retries=0)
    bench.server.script = [
        lambda r: error(5000) if "S0.US" in r.query["symbols"].split(",") else latest_of(r)
    ]
    async with bench.client() as source:
        answer = await source.latest([f"S{n}.US" for n in range(100)], "1m")
    assert len(answer.good) == len(answer.bad) == 50
    assert {e.reason for e in answer.bad.values()} == {"api"}


async def test_one_unknown_symbol_does_not_take_its_batch_along() -> None:
    """The batch is halved until it is found; then it is left out for a while."""
    bench = Bench()
    bench.server.script = [
        lambda r: (
            error(2002, "unknown symbol")
            if "OOPS.US" in r.query["symbols"].split(",")
            else latest_of(r)
        )
    ]
    symbols = [*(f"S{n}.US" for n in range(49)), "OOPS.US"]
    async with bench.client() as source:
        answer = await source.latest(symbols, "1m")
        assert set(answer.bad) == {"OOPS.US"}
        assert len(answer.good) == 49
        first = len(bench.server.requests)
        answer = await source.latest(symbols, "1m")
        assert set(answer.bad) == {"OOPS.US"}
        assert len(bench.server.requests) == first + 1
        bench.clock.advance(901)
        await source.latest(symbols, "1m")
        assert len(bench.server.requests) > first + 2


async def test_unknown_symbols_that_the_answer_names_cost_one_request() -> None:
    """However many of fifty: they are left out, and the rest is asked for again."""
    bench = Bench()
    unknown = {f"OOPS{n}.US" for n in range(20)}

    def answer(request: web.Request) -> web.Response:
        found = sorted(unknown & set(request.query["symbols"].split(",")))
        return (
            error(2002, f"Symbol not found: {', '.join(found)}.") if found else latest_of(request)
        )

    bench.server.script = [answer]
    async with bench.client() as source:
        answered = await source.latest([*(f"S{n}.US" for n in range(30)), *sorted(unknown)], "1m")
    assert len(answered.good) == 30
    assert set(answered.bad) == unknown
    assert (
        len(bench.server.requests) <= 4
    )  # the text of an error is cut, so it names some at a time


async def test_of_an_answer_for_many_the_newest_bars_are_kept() -> None:
    """Whoever waits for new bars needs no thousand old ones."""
    bench = Bench()
    rows = [row(NOW - MINUTE * n) for n in range(1000, 0, -1)]
    bench.server.script = [lambda r: good([series(s, rows) for s in r.query["symbols"].split(",")])]
    async with bench.client() as source:
        answer = await source.latest(["A.US", "B.US", "C.US"], "1m")
    spans = [(len(b), b[0].start - NOW, b[-1].start - NOW) for b in answer.good.values()]
    assert spans == [(50, -50 * MINUTE, -MINUTE)] * 3


async def test_a_descending_series_is_turned_round() -> None:
    """The order is not documented; newest first is as good as oldest first."""
    bench = Bench()
    rows = [row(NOW - n * MINUTE) for n in (1, 2, 3)]
    bench.server.script = [lambda r: good([series("AAPL.US", rows)])]
    async with bench.client() as source:
        answer = await source.latest(["AAPL.US"], "1m")
    assert [bar.start - NOW for bar in answer.good["AAPL.US"]] == [-180, -120, -60]


@pytest.mark.parametrize("symbol", ["", "a b", "A,B", "AAPL.US&x=1", "aapl.us", "X" * 40])
async def test_what_is_no_symbol_is_not_sent(symbol: str) -> None:
    """A comma or an ampersand would change the request."""
    bench = Bench()
    async with bench.client() as source:
        answer = await source.latest([symbol, "AAPL.US"], "1m")
        with pytest.raises(SourceError, match="is not a symbol"):
            await source.history(symbol, "1m", NOW - 60, NOW)
    assert set(answer.bad) == {symbol}
    assert set(answer.good) == {"AAPL.US"}


async def test_an_unknown_interval_is_said() -> None:
    """It is refused here, with the list of those there are."""
    bench = Bench()
    async with bench.client() as source:
        answer = await source.latest(["AAPL.US"], "7m")
    assert "'7m' is not an interval: write 1m, 3m" in str(answer.bad["AAPL.US"])
    assert not bench.server.requests


class History:
    """A server with `count` minutes of bars that end at NOW, which gives pages its own way."""

    def __init__(self, count: int, *, newest_first: bool, cap: int, shuffle: bool = False) -> None:
        self.starts = [NOW - (count - n) * MINUTE for n in range(count)]
        self.newest_first, self.cap, self.shuffle = newest_first, cap, shuffle
        self.asked: list[tuple[float, float]] = []

    def __call__(self, request: web.Request) -> web.Response:
        low, high = (int(request.query[k]) / 1000 for k in ("start_time", "end_time"))
        self.asked.append((low, high))
        size = min(int(request.query["limit"]), self.cap)
        found = [s for s in self.starts if low <= s <= high]
        found = found[-size:] if self.newest_first else found[:size]
        if self.shuffle:
            found.reverse()
        rows = [row(s, 100 + s % 7) for s in found]
        return good({"symbol": "AAPL.US", "type": "stock", "interval": "1m", "klines": rows})


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("cap", [1000, 512, 250, 100])
@pytest.mark.parametrize("count", [0, 1, 99, 1000, 1001, 2345])
async def test_history_is_paged_whole(newest_first: bool, cap: int, count: int) -> None:
    """Whichever end a cut page holds, whatever the server's own cap: every bar, once, sorted."""
    bench = Bench()
    server = History(count, newest_first=newest_first, cap=cap, shuffle=True)
    bench.server.script = [server]
    async with bench.client() as source:
        bars = await source.history("AAPL.US", "1m", NOW - 3000 * MINUTE, NOW + MINUTE)
    assert [bar.start for bar in bars] == server.starts
    assert len(server.asked) <= count // cap + 4


async def test_history_is_half_open() -> None:
    """A bar at `end` is not in it, one at `start` is; an empty range asks nothing."""
    bench = Bench()
    server = History(50, newest_first=False, cap=1000)
    bench.server.script = [server]
    async with bench.client() as source:
        bars = await source.history("AAPL.US", "1m", NOW - 10 * MINUTE, NOW - 5 * MINUTE)
        assert [bar.start - NOW for bar in bars] == [-600, -540, -480, -420, -360]
        asked = len(server.asked)
        assert await source.history("AAPL.US", "1m", NOW, NOW) == []
    assert len(server.asked) == asked


async def test_a_server_that_ignores_the_range_is_found_out() -> None:
    """The free plan has no history; the newest bars are not passed off as the ones asked for."""
    bench = Bench()
    bench.server.script = [lambda r: good(series("AAPL.US", [row(NOW - 60)]))]
    async with bench.client() as source:
        with pytest.raises(SourceError, match="ignores start_time and end_time"):
            await source.history("AAPL.US", "1m", NOW - 86400, NOW - 80000)


async def test_a_broken_page_fails_the_history() -> None:
    """No hole where a page was malformed."""
    bench = Bench()
    bench.server.script = [lambda r: good(series("AAPL.US", [row(NOW - 60, close="x")]))]
    async with bench.client() as source:
        with pytest.raises(SourceError) as raised:
            await source.history("AAPL.US", "1m", NOW - 600, NOW)
    assert raised.value.reason == "malformed"
    assert bench.failures("/market/kline") == {"malformed": 1}


async def test_prices_that_were_rounded_apart_are_no_fault() -> None:
    """A close a hundredth above the high is nothing to lose a symbol for."""
    bench = Bench()
    rows = [row(NOW - 60, high="100.49", close="100.50")]
    bench.server.script = [lambda r: good([series("AAPL.US", rows)])]
    async with bench.client() as source:
        answer = await source.latest(["AAPL.US"], "1m")
    assert answer.good["AAPL.US"][0].close == 100.5


async def test_recent_bars_of_one_symbol() -> None:
    """The newest `limit`, also from a server that gives more."""
    bench = Bench()
    rows = [row(NOW - n * MINUTE) for n in range(20, 0, -1)]
    bench.server.script = [lambda r: good(series("AAPL.US", rows))]
    async with bench.client() as source:
        bars = await source.recent("AAPL.US", "1m", 5)
    assert [bar.start - NOW for bar in bars] == [-300, -240, -180, -120, -60]
    assert bench.server.requests[0].query["limit"] == "5"


async def test_tickers_with_and_without_quotes() -> None:
    """Bid and ask are optional: missing, null, empty and 0 are none."""

    def entry(symbol: str, **more: Any) -> dict[str, Any]:
        return {"symbol": symbol, "last_price": "10.5", "timestamp": int(NOW * 1000), **more}

    bench = Bench()
    bench.server.script = [
        lambda r: good([
            entry("A.US", bid_price="10.4", ask_price=10.6), entry("B.US"),
            entry("C.US", bid_price=None, ask_price=""), entry("D.US", bid_price="0"),
            entry("E.US", bid_price="-1"), entry("F.US", timestamp="now"),
        ])
    ]  # fmt: skip
    async with bench.client() as source:
        answer = await source.tickers([f"{letter}.US" for letter in "ABCDEF"])
    quotes = {symbol: (t.bid, t.ask) for symbol, t in answer.good.items()}
    assert quotes == {
        "A.US": (10.4, 10.6), "B.US": (None, None), "C.US": (None, None), "D.US": (None, None),
    }  # fmt: skip
    assert {(s, e.reason) for s, e in answer.bad.items()} == {
        ("E.US", "malformed"),
        ("F.US", "malformed"),
    }
    assert answer.good["A.US"].at == NOW
    assert bench.bad_symbols("/market/ticker") == {"malformed": 2}


@pytest.mark.parametrize(
    ("data", "expiry"),
    [
        ({"expires_at": NOW + 500, "remaining_seconds": 500, "status": "active"}, NOW + 500),
        ({"expires_at": int((NOW + 500) * 1000)}, NOW + 500),
        ({"expires_at": "2026-12-24T00:00:00Z"}, 1798070400.0),
        ({"expires_at": None, "remaining_seconds": "86400"}, NOW + 86400),
        ([{"expires_at": NOW + 5}, {"expires_at": NOW + 50}], NOW + 50),
        ({"expires_at": None, "remaining_seconds": None}, math.nan),
        ({"expires_at": "", "remaining_seconds": 60.5}, NOW + 60.5),
        ({"expires_at": 0, "status": "lifetime"}, math.nan),
        ({"remaining_seconds": -3600, "status": "expired"}, NOW - 3600),
        ({"subscriptions": [{"expires_at": NOW + 5}, {"expires_at": NOW + 50}]}, NOW + 50),
        ({"key": "x", "subscription": {"remaining_seconds": 7}}, NOW + 7),
        ([], math.nan),
    ],
)
async def test_the_key_s_expiry(data: Any, expiry: float) -> None:
    """Seconds, milliseconds, ISO or what remains; the source remembers it for scrapes."""
    bench = Bench()
    bench.server.script = [lambda r: good(data)]
    async with bench.client() as source:
        assert math.isnan(source.key_expiry)
        assert await source.subscription() == pytest.approx(expiry, nan_ok=True)
        assert source.key_expiry == pytest.approx(expiry, nan_ok=True)


async def test_a_closed_source_fails_politely() -> None:
    """Nothing is sent after close, and the error is the usual kind."""
    bench = Bench(retries=0)
    async with bench.client() as source:
        await source.latest(["AAPL.US"], "1m")
        await source.close()
        await source.close()
        answer = await source.latest(["AAPL.US"], "1m")
    assert answer.bad["AAPL.US"].reason == "connect"


def settings_of(**more: Any) -> TickDBSettings:
    return TickDBSettings(**{"type": "tickdb", "url": "http://x", **more})


def test_the_key_comes_from_its_places(tmp_path: Path) -> None:
    """The environment first, then systemd's credentials; or a file."""
    (tmp_path / "THE_KEY").write_text("from-credentials\n")
    (tmp_path / "file").write_text("from-file\n")
    by_env = settings_of(api_key_env="THE_KEY")
    place = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_key("a", by_env, {**place, "THE_KEY": "from-env"}).reveal() == "from-env"
    assert read_key("a", by_env, place).reveal() == "from-credentials"
    by_file = settings_of(api_key_file=tmp_path / "file")
    assert read_key("a", by_file, {}).reveal() == "from-file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "sources.a.api_key_file: cannot read {file}: No such file or directory"),
        ("\n", "sources.a.api_key_file: {file} is empty; put the secret there"),
        (
            "two words",
            "sources.a.api_key_file: {file} does not hold an API key: expected one line of "
            "letters, digits and signs without spaces",
        ),
    ],
)
def test_a_missing_key_is_said(tmp_path: Path, text: str | None, says: str) -> None:
    """With the place in the configuration, and never with what the file holds."""
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SecretMissingError) as raised:
        read_key("a", settings_of(api_key_file=file), {})
    assert str(raised.value) == says.format(file=file)


def test_an_unset_variable_is_said() -> None:
    """With what to do about it, for a shell and for a unit file."""
    with pytest.raises(
        SecretMissingError, match=r"^sources\.a\.api_key_env: NO_KEY is not set; exp"
    ):
        read_key("a", settings_of(api_key_env="NO_KEY"), {})


def test_a_key_does_not_show_or_travel() -> None:
    """Not by repr, str, format or pickle."""
    key = Key(KEY)
    assert KEY not in f"{key} {key!r} {[key]}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert key.redact("sk-S3cret%2FKey%2B42 and " + KEY) == "*** and ***"


async def test_a_simulated_source_needs_no_key() -> None:
    """It speaks to the simulator's address and says that its prices are made up."""
    bench = Bench()
    source = open_source(
        "sim", TickDBSettings(type="simulated"), bench.metrics, bench.clock,
        simulator_url="http://127.0.0.1:9/v1", environ={},
    )  # fmt: skip
    assert source.simulated
    await source.close()
