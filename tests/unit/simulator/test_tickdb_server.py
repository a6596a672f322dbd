"""The simulated TickDB: what the client reads from it, and each fault on command."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.simulator.faults import FAULTS
from exporter.simulator.tickdb_server import Simulator, serve
from exporter.sources import SourceError
from tests.unit.clocks import ManualClock
from tests.unit.simulation import OPEN_IN_NEW_YORK, Shelf, World, world
from tests.unit.tables import calendar

NOW = OPEN_IN_NEW_YORK
SATURDAY = NOW + 4 * 86400


async def test_newest_bars_of_every_kind_of_symbol() -> None:
    """A closed bar and one that forms; exchanges that are shut show their last session's end."""
    symbols = ["AAPL.US", "700.HK", "600519.SH", "000001.SZ", "VOD.L", "EURUSD", "BTCUSDT"]
    async with world() as w:
        answer = await w.source.latest(symbols, "1m")
    assert not answer.bad
    assert {s: len(bars) for s, bars in answer.good.items()} == dict.fromkeys(symbols, 2)
    for symbol in ("AAPL.US", "VOD.L", "EURUSD", "BTCUSDT"):
        assert answer.good[symbol][-1].start == NOW - 30
        assert calendar("XNYS").bar_end(answer.good[symbol][-1].start, "1m") > NOW
    hong_kong = answer.good["700.HK"][-1]
    assert (
        calendar("XHKG").bar_end(hong_kong.start, "1m")
        == calendar("XHKG").previous_session(NOW).close
    )


async def test_at_the_weekend_nothing_is_new() -> None:
    """The newest bar stays Friday's last; the ticker stands still."""
    async with world(SATURDAY) as w:
        friday = calendar("XNYS").previous_session(SATURDAY)
        bars = (await w.source.latest(["AAPL.US"], "5m")).good["AAPL.US"]
        ticker = (await w.source.tickers(["AAPL.US"])).good["AAPL.US"]
        assert bars[-1].start == friday.close - 300
        assert ticker.at == friday.close + 4 * 3600
        w.clock.advance(3600)
        assert (await w.source.tickers(["AAPL.US"])).good["AAPL.US"] == ticker


async def test_before_the_open_the_ticker_moves() -> None:
    """A pre-market scan has something to see, while the newest 1d bar is the last session's."""
    session = calendar("XNYS").next_session(NOW)
    async with world(session.open - 2.5 * 3600) as w:
        first = (await w.source.tickers(["AAPL.US"])).good["AAPL.US"]
        w.clock.advance(600)
        second = (await w.source.tickers(["AAPL.US"])).good["AAPL.US"]
        (*_, last_day) = (await w.source.latest(["AAPL.US"], "1d")).good["AAPL.US"]
    assert first.last != second.last
    assert second.at == first.at + 600
    assert first.bid is not None
    assert first.ask is not None
    assert first.bid < first.last < first.ask
    assert (
        calendar("XNYS").bar_end(last_day.start, "1d")
        == calendar("XNYS").previous_session(session.open).close
    )


async def test_history_beyond_a_page() -> None:
    """Three thousand minutes come whole, and each is a bar of the calendar."""
    async with world() as w:
        bars = await w.source.history("BTCUSDT", "1m", NOW - 3000 * 60, NOW)
        assert len(bars) == 3000
        since = (NOW // 86400 - 365) * 86400  # New York is shut at midnight UTC
        year = await w.source.history("AAPL.US", "1h", since, NOW)
        daily = await w.source.recent("AAPL.US", "1d", 300)
    assert len(year) == calendar("XNYS").expected_bars("1h", since, NOW) + 1
    assert len(daily) == 300


async def test_the_key_s_end_is_told() -> None:
    """Ninety days from the start, unless said otherwise."""
    async with world() as w:
        assert await w.source.subscription() == pytest.approx(NOW + 90 * 86400, abs=1)
    async with world(simulator={"key_expires_in": 3600.0}) as w:
        assert await w.source.subscription() == pytest.approx(NOW + 3600, abs=1)


async def get(url: str, key: str | None = "k", **query: str) -> tuple[int, Any]:
    """Status and JSON of a plain request."""
    headers = {"X-API-Key": key} if key else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, params=query, headers=headers) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/market/kline", {"symbol": "NOPE", "interval": "1m"}, 2002),
        ("/market/kline", {"symbol": "A.US", "interval": "7m"}, 2001),
        ("/market/kline", {"symbol": "A.US", "interval": "1m", "limit": "1001"}, 2004),
        ("/market/kline", {"symbol": "A.US", "interval": "1m", "limit": "ten"}, 2001),
        (
            "/market/kline",
            {"symbol": "A.US", "interval": "1m", "start_time": "5", "end_time": "4"},
            2003,
        ),
        ("/market/kline/latest", {"interval": "1m"}, 2001),
        ("/market/kline/latest", {"symbols": ",".join(["A.US"] * 51), "interval": "1m"}, 2004),
        ("/market/trade-days", {"market": "XX"}, 2001),
        ("/market/trade-days", {"market": "US", "beg_day": "x", "end_day": "y"}, 2001),
        ("/market/nothing", {}, 2001),
    ],
)
async def test_wrong_requests_get_their_codes(path: str, query: Any, code: int) -> None:
    """In the envelope, as TickDB does."""
    async with world() as w:
        assert (await get(w.url + path, **query))[1]["code"] == code


async def test_the_other_endpoints() -> None:
    """Trade days with half days apart, today's sessions, depth."""
    async with world() as w:
        days = await get(
            w.url + "/market/trade-days", market="US", beg_day="2026-11-25", end_day="2026-11-30"
        )
        sessions = await get(w.url + "/market/trading-sessions", market="HK")
        depth = await get(w.url + "/market/depth", symbol="AAPL.US", limit="500")
    assert days[1]["data"] == {
        "trade_days": ["2026-11-25", "2026-11-30"],
        "half_trade_days": ["2026-11-27"],
    }
    assert len(sessions[1]["data"]["sessions"]) == 2
    assert len(depth[1]["data"]["bids"]) == 50


async def test_keys_are_checked() -> None:
    """No key is 1002; with a key set, another one is 1001 with its code in words."""
    async with world(simulator={"api_key": "right"}) as w:
        url = w.url + "/apikeys/subscriptions"
        assert (await get(url, None))[1]["code"] == 1002
        status, body = await get(url, "wrong")
        assert (status, body["message"]) == (401, "[1001] Invalid or expired token")
        assert (await get(url, "right"))[1]["code"] == 0


async def test_the_rate_limit_is_kept() -> None:
    """Past the limit 3001 with the time at which it is over, and then it goes on."""
    async with world(server_limit=3) as w:
        for _ in range(3):
            assert (await get(w.url + "/apikeys/subscriptions"))[1]["code"] == 0
        w.clock.advance(20)
        status, body = await get(w.url + "/apikeys/subscriptions")
        assert (status, body["code"], body["data"]["reset_at"]) == (429, 3001, math.ceil(NOW + 60))
        w.clock.advance(40)
        assert (await get(w.url + "/apikeys/subscriptions"))[1]["code"] == 0


async def control(w: World, method: str = "GET", path: str = "/faults", **body: Any) -> Any:
    """One request to the control path."""
    given = {"json": body} if body else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, w.control + path, **given) as response,
    ):
        return response.status, await response.json()


SPOILS_A_SERIES = ["wrong_types", "missing_fields", "not_numbers", "high_below_low"]
EXPECTED = {
    **dict.fromkeys([*SPOILS_A_SERIES, "html", "truncate"], "malformed"),
    "http": "http", "redirect": "http", "rate_limit": "rate_limit", "quota": "quota",
    "auth": "auth", "server_error": "api", "missing_symbol": "api", "disconnect": "connect",
    "hang": "timeout", "drip": "timeout",
    "latency": None, "descending": None, "disorder": None, "frozen": None, "outlier": None,
    "no_history": None,
    "forming_only": None, "duplicates": None, "future": "wrong_time",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_is_seen_as_what_it_is(fault: str) -> None:
    """Set over the control path for one request; the next one is good again."""
    # Short only where a timeout is expected: a busy machine may take longer for a good answer.
    short = {"read_timeout": "150ms", "connect_timeout": "100ms"}
    async with world(**(short if EXPECTED[fault] == "timeout" else {})) as w:
        status, said = await control(w, "POST", fault=fault, count=1, seconds=0.01)
        assert (status, said["id"]) == (201, 1)
        answer = await w.source.latest(["AAPL.US"], "1m")
        assert (answer.bad["AAPL.US"].reason if answer.bad else None) == EXPECTED[fault]
        w.clock.advance(3601)
        assert not (await w.source.latest(["AAPL.US"], "1m")).bad
        assert (await control(w))[1] == {"faults": []}


@pytest.mark.parametrize("fault", [*SPOILS_A_SERIES, "missing_symbol"])
async def test_a_fault_of_one_symbol_leaves_the_others(fault: str) -> None:
    """Only the symbol named is spoiled, in bars as in tickers."""
    async with world() as w:
        await control(w, "POST", fault=fault, symbol="TSLA.US")
        bars = await w.source.latest(["AAPL.US", "TSLA.US"], "1m")
        tickers = await w.source.tickers(["AAPL.US", "TSLA.US"])
    assert set(bars.bad) == {"TSLA.US"}
    assert set(bars.good) == {"AAPL.US"}
    assert "AAPL.US" in tickers.good


async def test_frozen_bars_stay_where_they_were() -> None:
    """The server answers happily, and nothing new is in it."""
    async with world() as w:
        before = (await w.source.latest(["AAPL.US"], "1m")).good["AAPL.US"]
        await control(w, "POST", fault="frozen", endpoint="/market/kline/latest")
        w.clock.advance(600)
        assert (await w.source.latest(["AAPL.US"], "1m")).good["AAPL.US"] == before
        assert (await w.source.tickers(["AAPL.US"])).good["AAPL.US"].at == w.clock.now()
        assert await control(w, "DELETE") == (200, {"removed": 1})
        after = (await w.source.latest(["AAPL.US"], "1m")).good["AAPL.US"]
        assert after[-1].start == before[-1].start + 600


async def test_the_forming_bar_alone_as_some_versions_show_it() -> None:
    """For the newest bars; a symbol's own series has what came before."""
    async with world() as w:
        await control(w, "POST", fault="forming_only")
        (bar,) = (await w.source.latest(["AAPL.US"], "1m")).good["AAPL.US"]
        assert bar.start <= w.clock.now() < bar.start + 60
        assert len(await w.source.recent("AAPL.US", "1m", 3)) == 3


async def test_no_history_as_on_the_free_plan() -> None:
    """start_time is refused, the newest bars are given."""
    async with world() as w:
        await control(w, "POST", fault="no_history")
        with pytest.raises(SourceError, match="1004"):
            await w.source.history("AAPL.US", "1m", NOW - 600, NOW)
        assert await w.source.recent("AAPL.US", "1m", 10)


async def test_a_fault_lasts_as_long_as_it_is_told() -> None:
    """Its duration is in seconds."""
    async with world() as w:
        await control(w, "POST", fault="server_error", duration=30)
        assert (await w.source.latest(["AAPL.US"], "1m")).bad
        w.clock.advance(31)
        assert not (await w.source.latest(["AAPL.US"], "1m")).bad


async def test_one_fault_is_taken_back() -> None:
    """By its id; another one stays."""
    async with world() as w:
        await control(w, "POST", fault="server_error")
        await control(w, "POST", fault="latency", seconds=0)
        assert await control(w, "DELETE", "/faults/1") == (200, {"removed": 1})
        assert (await control(w, "DELETE", "/faults/1"))[0] == 404
        assert [f["fault"] for f in (await control(w))[1]["faults"]] == ["latency"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"fault": "nonsense"}, "fault: unknown fault 'nonsense'; known faults: latency, hang,"),
        ({"fault": "hang", "colour": 1}, "colour: Extra inputs are not permitted"),
        ({"fault": "hang", "count": 0}, "count: Input should be greater than or equal to 1"),
    ],
)
async def test_a_wrong_fault_is_refused(body: Any, says: str) -> None:
    """With what is wrong with it."""
    async with world() as w:
        status, said = await control(w, "POST", **body)
        assert status == 400
        assert says in said["error"]
        assert (await control(w))[1] == {"faults": []}


async def test_a_page_in_a_browser_sets_no_faults() -> None:
    """What a form can send to another origin is not taken."""
    async with world() as w, aiohttp.ClientSession() as session:
        response = await session.post(w.control + "/faults", data='{"fault": "hang"}')
        assert response.status == 415


async def test_requests_are_counted() -> None:
    """For tests and benchmarks: by endpoint, and the most within a minute."""
    async with world() as w:
        await w.source.latest([f"S{n}.US" for n in range(101)], "1m")
        await w.source.subscription()
        stats = (await control(w, path="/stats"))[1]
    assert stats["requests"] == {"/market/kline/latest": 3, "/apikeys/subscriptions": 1}
    assert stats["most_requests_in_a_minute"] == 4


async def test_serving_until_told_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    """It says its address, answers, and frees the port, also while an answer hangs."""
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    clock = ManualClock(NOW)
    running = asyncio.create_task(
        serve("127.0.0.1", 0, calendars=Shelf(), clock=clock, started=heard.set_result)
    )
    url = await heard
    assert (await get(url + "/apikeys/subscriptions"))[1]["code"] == 0
    async with aiohttp.ClientSession() as session:
        fault = {"fault": "hang"}
        await session.post(url.replace("/v1", "/control/faults"), json=fault)
        hanging = asyncio.create_task(session.get(url + "/market/ticker"))
        await asyncio.sleep(0.05)
        with caplog.at_level(logging.ERROR):
            running.cancel()
            await asyncio.gather(running, hanging, return_exceptions=True)
    assert running.cancelled()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url + "/apikeys/subscriptions")


async def test_a_taken_port_is_an_oserror() -> None:
    """And the second simulator leaves nothing behind."""
    async with world() as w:
        port = int(w.url.split(":")[2].removesuffix("/v1"))
        second = Simulator(Shelf(), w.clock)
        with pytest.raises(OSError, match="address already in use"):
            await second.start(port=port)
        await second.close()


def test_the_guide_names_every_fault() -> None:
    """docs/simulator.md and the code know the same faults, and what the exporter counts."""
    guide = (Path(__file__).parents[3] / "docs/simulator.md").read_text()
    table = guide.split("| fault | effect |")[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \|$", table, re.MULTILINE))
    assert set(rows) == set(FAULTS)
    for fault, counted in rows.items():
        if fault != "no_history":
            assert counted.startswith(f"`{EXPECTED[fault]}`" if EXPECTED[fault] else "nothing")
