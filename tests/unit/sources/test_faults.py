"""What the TickDB client does with every bad answer, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import math
import socket
import traceback
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.metrics import FETCH_REASONS
from exporter.sources import SourceError, parse
from exporter.sources.api_key import Key
from exporter.sources.envelope import read_envelope
from exporter.sources.tickdb import ENDPOINTS
from tests.unit.tickdb_server import KEY, NOW, Bench, error, good, latest_of, row, series

SYMBOL = "AAPL.US"


async def ask(bench: Bench) -> SourceError | None:
    """Ask for one symbol's newest bars; the error, or None when there were bars."""
    async with bench.client() as source:
        answer = await source.latest([SYMBOL], "1m")
    assert set(answer.good) | set(answer.bad) == {SYMBOL}
    return answer.bad.get(SYMBOL)


async def html(request: web.Request) -> web.Response:
    return web.Response(text="<html>Bad gateway</html>", content_type="text/html")


PASSING: dict[str, tuple[Any, str]] = {
    "html page": (html, "malformed"),
    "truncated JSON": (b'{"code": 0, "message": "success", "data": [{"symb', "malformed"),
    "not UTF-8": (b'{"code": 0, "data": "\xff\xfe"}', "malformed"),
    "empty body": (b"", "malformed"),
    "a bare list": ([1, 2], "malformed"),
    "NaN in JSON": (b'{"code": 0, "data": [NaN]}', "malformed"),
    "deep nesting": (b"[" * 200_000, "malformed"),
    "endless number": (b'{"code": 0, "data": ' + b"9" * 10_000 + b"}", "malformed"),
    "no data": ({"code": 0, "message": "success"}, "malformed"),
    "meaningless code": ({"code": "weird", "message": "?", "data": []}, "malformed"),
    "boolean code": ({"code": False, "data": []}, "malformed"),
    "endless code": (b'{"code": 1e999, "data": []}', "malformed"),
    "another number": ({"code": "x", "message": "limit 2500, 1.1001, 21001"}, "malformed"),
    "3001 in words": ({"code": "x", "message": "code=3001 (rate limit)"}, "rate_limit"),
    "502 page": (lambda r: web.Response(status=502, text="<html>"), "http"),
    "503 with code 0": (lambda r: error(0, status=503), "http"),
    "408": (lambda r: web.Response(status=408), "http"),
    "5000": (lambda r: error(5000, "internal"), "api"),
    "5003 as digits": (lambda r: error("5003"), "api"),
    "3003 connections": (lambda r: error(3003), "rate_limit"),
    "3001 by 200": (lambda r: error(3001), "rate_limit"),
    "3001 by 429": (lambda r: error(3001, status=429), "rate_limit"),
    "429 alone": (lambda r: web.Response(status=429), "rate_limit"),
    "bad gzip": (
        lambda r: web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
        "malformed",
    ),
}


@pytest.mark.parametrize("name", PASSING)
async def test_what_may_pass_is_tried_again(name: str) -> None:
    """A passing fault is counted by its reason, and the second attempt's bars come through."""
    answer, reason = PASSING[name]
    bench = Bench()
    bench.server.script = [answer, latest_of]
    assert await ask(bench) is None
    assert bench.failures() == {reason: 1}
    place = {"source": "main", "endpoint": "/market/kline/latest"}
    assert bench.value("quant_fetch_requests_total", **place) == 2
    assert bench.value("quant_fetch_retries_total", **place) == 1


FINAL: dict[str, tuple[Any, str]] = {
    "1001 in words": (
        lambda r: web.json_response(
            {
                "error": "Unauthorized",
                "message": "[1001] Invalid or expired token",
                "code": "Invalid or expired token",
            },
            status=401,
        ),
        "auth",
    ),
    "1001 number": (lambda r: error(1001), "auth"),
    "1002 digits": (lambda r: error("1002"), "auth"),
    "1003": (lambda r: error(1003), "auth"),
    "1004": (lambda r: error(1004, status=403), "auth"),
    "1001 without brackets": (
        lambda r: web.json_response({"message": "Error 1001: bad token", "code": "x"}),
        "auth",
    ),
    "1001.0": (lambda r: error(1001.0), "auth"),
    "401 alone": (lambda r: web.Response(status=401), "auth"),
    "2001": (lambda r: error(2001), "api"),
    "2002": (lambda r: error(2002), "api"),
    "2003": (lambda r: error(2003, status=400), "api"),
    "2004": (lambda r: error(2004), "api"),
    "3009": (lambda r: error(3009), "api"),
    "3010": (lambda r: error("3010"), "api"),
    "3002": (lambda r: error(3002), "quota"),
    "404": (lambda r: web.Response(status=404), "http"),
}


@pytest.mark.parametrize("name", FINAL)
async def test_what_cannot_pass_is_not_tried_again(name: str) -> None:
    """One request, one count, and an error that says not to try again."""
    answer, reason = FINAL[name]
    bench = Bench()
    bench.server.script = [answer]
    failure = await ask(bench)
    assert failure is not None
    assert (failure.reason, failure.retryable) == (reason, False)
    assert len(bench.server.requests) == 1
    assert bench.failures() == {reason: 1}


async def test_retries_end() -> None:
    """After 1 + retries attempts the last error is the answer, and the pauses were jittered."""
    bench = Bench(retries=3)
    bench.server.script = [lambda r: error(5000)]
    failure = await ask(bench)
    assert failure is not None
    assert (failure.reason, failure.code) == ("api", 5000)
    assert len(bench.server.requests) == 4
    assert all(0 <= s <= 2**n for n, s in enumerate(bench.slept))
    assert len(set(bench.slept)) == 3


SERIES: dict[str, Any] = {
    "klines missing": {"symbol": SYMBOL, "interval": "1m"},
    "klines no list": series(SYMBOL, {"0": row(NOW - 60)}),
    "bar no object": series(SYMBOL, [[1, 2, 3]]),
    "time missing": series(SYMBOL, [{k: v for k, v in row(NOW - 60).items() if k != "time"}]),
    "time in words": series(SYMBOL, [row(NOW - 60, time="noon")]),
    "time without a zone": series(SYMBOL, [row(NOW - 60, time="2026-09-21T14:12:20")]),
    "time is true": series(SYMBOL, [row(NOW - 60, time=True)]),
    "time of 1970": series(SYMBOL, [row(NOW - 60, time=12_345)]),
    "close missing": series(SYMBOL, [{k: v for k, v in row(NOW - 60).items() if k != "close"}]),
    "close null": series(SYMBOL, [row(NOW - 60, close=None)]),
    "close words": series(SYMBOL, [row(NOW - 60, close="n/a")]),
    "close NaN": series(SYMBOL, [row(NOW - 60, close="NaN")]),
    "close infinite": series(SYMBOL, [row(NOW - 60, close="Infinity")]),
    "close too large": series(SYMBOL, [row(NOW - 60, close="1e999")]),
    "close with underscore": series(SYMBOL, [row(NOW - 60, close="1_00")]),
    "close in other digits": series(SYMBOL, [row(NOW - 60, close="١٠٠")]),
    "close true": series(SYMBOL, [row(NOW - 60, close=True)]),
    "close list": series(SYMBOL, [row(NOW - 60, close=["100"])]),
    "close negative": series(SYMBOL, [row(NOW - 60, close="-100")]),
    "close zero": series(SYMBOL, [row(NOW - 60, low="0", close="0")]),
    "volume negative": series(SYMBOL, [row(NOW - 60, volume="-1")]),
    "high below low": series(SYMBOL, [row(NOW - 60, high="98", low="102")]),
    "close above high": series(SYMBOL, [row(NOW - 60, close="150")]),
    "other interval": series(SYMBOL, [row(NOW - 60)], "5m"),
}


@pytest.mark.parametrize("name", SERIES)
async def test_a_broken_series_is_rejected_whole(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted once, named in the log, not asked for again, and its neighbour is untouched."""
    bench = Bench()
    bench.server.script = [lambda r: good([SERIES[name], series("TSLA.US", [row(NOW - 60)])])]
    with caplog.at_level(logging.WARNING):
        async with bench.client() as source:
            answer = await source.latest([SYMBOL, "TSLA.US"], "1m")
    assert answer.bad[SYMBOL].reason == "malformed"
    assert [bar.close for bar in answer.good["TSLA.US"]] == [100.5]
    assert bench.failures() == {}  # the request itself succeeded
    assert bench.bad_symbols() == {"malformed": 1}
    assert [r.symbol for r in caplog.records if r.event == "fetch_failed"] == [SYMBOL]
    assert len(bench.server.requests) == 1


async def test_times_that_are_wrong_are_named_and_are_no_dead_source() -> None:
    """A day ahead; an hour or more, as local times are; a little, as with a wrong clock."""
    for ahead, says in (
        (90.0, "it is stamped 1m 30s in the future: is this machine's clock right?"),
        (5 * 3600.0, "5h in the future: are the source's times local ones instead of UTC?"),
        (86400.0, "it is stamped 1d in the future"),
    ):
        bench = Bench()
        bench.server.script = [lambda r, ahead=ahead: good([series(SYMBOL, [row(NOW + ahead)])])]
        failure = await ask(bench)
        assert failure is not None
        assert failure.reason == "wrong_time"
        assert says in str(failure)
        assert bench.failures() == {}
        assert bench.bad_symbols() == {"wrong_time": 1}


@pytest.mark.parametrize(
    ("rows", "closes"),
    [
        ([row(NOW - 120), row(NOW - 120), row(NOW - 60)], [100.5, 100.5]),
        ([row(NOW - 120), row(NOW - 60), row(NOW - 60, close="100.7")], [100.5, 100.7]),
        ([row(NOW - 60), row(NOW - 60), row(NOW - 120)], [100.5, 100.5]),
        ([row(NOW - 180), row(NOW - 60, 101.0), row(NOW - 120)], [100.5, 100.5, 101.5]),
        ([row(NOW - 60, volume=None)], [100.5]),
        ([row(NOW - 60, volume="")], [100.5]),
        ([{k: v for k, v in row(NOW - 60).items() if k != "volume"}], [100.5]),
    ],
)
async def test_bars_that_are_odd_but_clear_are_read(rows: Any, closes: list[float]) -> None:
    """The same bar twice, a newer writing of the forming one, and none of the volume."""
    bench = Bench()
    bench.server.script = [lambda r: good([series(SYMBOL, rows)])]
    async with bench.client() as source:
        bars = (await source.latest([SYMBOL], "1m")).good[SYMBOL]
    assert [bar.close for bar in bars] == closes
    assert math.isnan(bars[-1].volume) == (len(rows) == 1)


async def test_prices_may_be_negative_where_the_config_says_so() -> None:
    """For the others the error says what to set."""
    bench = Bench(negative_prices=["CLX6"])
    rows = [row(NOW - 60, open="-12.1", high="-11.9", low="-12.4", close="-12")]
    bench.server.script = [lambda r: good([series("CLX6", rows), series("GCX6", rows)])]
    async with bench.client() as source:
        answer = await source.latest(["CLX6", "GCX6"], "1m")
    assert [bar.close for bar in answer.good["CLX6"]] == [-12.0]
    assert "is negative; if its price may be, name the symbol under" in str(answer.bad["GCX6"])


async def test_requests_go_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real proxy on loopback answers for an unknown host; NO_PROXY leaves it out."""
    asked: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.decode())
        body = json.dumps({"code": 0, "data": [series(SYMBOL, [row(NOW - 60)])]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with server:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pa%20ss@127.0.0.1:{port}")
        bench = Bench(retries=0)
        async with bench.client("http://tickdb.invalid/v1") as source:
            assert (await source.latest([SYMBOL], "1m")).good
        assert asked[0].startswith("GET http://tickdb.invalid/v1/market/kline/latest?")
        assert "Proxy-Authorization: Basic " in asked[0]
        monkeypatch.setenv("NO_PROXY", ".invalid")
        async with bench.client("http://tickdb.invalid/v1") as source:
            assert (await source.latest([SYMBOL], "1m")).bad[SYMBOL].reason == "connect"
        assert len(asked) == 1
    bench = Bench(retries=0, proxy=f"http://127.0.0.1:{port}")
    async with bench.client("http://tickdb.invalid/v1") as source:
        failure = (await source.latest([SYMBOL], "1m")).bad[SYMBOL]
    assert str(failure) == f"cannot reach the proxy http://127.0.0.1:{port}, from `proxy`"


async def test_a_proxy_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS, as for ssh -D; its password stays hidden."""
    monkeypatch.setenv("http_proxy", "socks5://me:pass@127.0.0.1:1080")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    bench = Bench(retries=2)
    async with bench.client("http://tickdb.invalid/v1") as source:
        failure = (await source.latest([SYMBOL], "1m")).bad[SYMBOL]
    assert str(failure) == (
        "the proxy socks5://127.0.0.1:1080, from http_proxy, is not an HTTP proxy (SOCKS is not "
        "supported): name one, or the source's host in NO_PROXY"
    )
    assert bench.slept == []


async def test_hundreds_of_bad_symbols_are_counted_and_few_lines_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names five, and how many more there are."""
    bench = Bench()
    bench.server.script = [lambda r: good([])]
    async with bench.client() as source:
        await source.latest([f"S{n}.US" for n in range(50)], "1m")
    assert bench.failures() == {"api": 1}
    assert bench.bad_symbols() == {"api": 50}
    lines = [r.getMessage() for r in caplog.records if r.event == "fetch_failed"]
    assert len(lines) == 6
    assert lines[-1].endswith(": 45 more symbols of this answer cannot be used")


@pytest.mark.parametrize("data", [None, 5, "text", [5], [{"klines": []}], [{"symbol": 7}]])
async def test_a_batch_without_symbols_is_malformed(data: Any) -> None:
    """When the list itself is broken, every symbol asked for is bad, and one failure counted."""
    bench = Bench()
    bench.server.script = [lambda r: good(data)]
    failure = await ask(bench)
    assert failure is not None
    assert failure.reason == "malformed"
    assert bench.failures() == {"malformed": 1}


async def test_a_symbol_in_the_answer_twice_is_malformed() -> None:
    """Which of the two would be true?"""
    bench = Bench()
    bench.server.script = [lambda r: good([series(SYMBOL, [row(NOW - 60)])] * 2)]
    failure = await ask(bench)
    assert failure is not None
    assert failure.reason == "malformed"


async def test_a_symbol_left_out_is_said() -> None:
    """No silence: a symbol that the answer does not have is bad."""
    bench = Bench()
    bench.server.script = [lambda r: good([])]
    failure = await ask(bench)
    assert failure is not None
    assert str(failure) == "the source's answer leaves AAPL.US out"


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ({"headers": {"Retry-After": "7"}}, 7.0),
        ({"headers": {"Retry-After": "2.5"}}, 2.5),
        ({"headers": {"Retry-After": formatdate(NOW + 9, usegmt=True)}}, 9.0),
        ({"data": {"limit": 60, "plan": "starter", "reset_at": int(NOW) + 11}}, 11.0),
        ({"data": {"reset_at": (int(NOW) + 11) * 1000}}, 11.0),
        ({"headers": {"Retry-After": "7"}, "data": {"reset_at": int(NOW) + 11}}, 7.0),
        ({"headers": {"Retry-After": "soon"}, "data": {"reset_at": "later"}}, 20.0),
        ({"headers": {"Retry-After": "-5"}}, 20.0),
        ({"headers": {"Retry-After": "999999"}}, 120.0),
        ({"headers": {"Retry-After": "Fri, 99 Foo 2026 99:99:99"}}, 20.0),
        ({"data": {"reset_at": NOW - 5}}, 20.0),
        ({"headers": {"Retry-After": "0"}}, 20.0),
        ({"headers": {"Retry-After": formatdate(NOW - 9, usegmt=True)}}, 20.0),
        ({}, 20.0),
    ],
)
async def test_a_rate_limit_is_waited_out(said: dict[str, Any], waits: float) -> None:
    """The next request comes as much later as the answer asks, two minutes at the most."""
    bench = Bench()
    bench.server.script = [lambda r: error(3001, status=429, **said), latest_of]
    assert await ask(bench) is None
    assert waits - 1e-6 <= bench.clock.now() - NOW <= waits + 1.1
    if waits:
        assert bench.value("quant_fetch_wait_seconds_total", source="main") >= waits - 1.1


async def test_a_rate_limit_holds_everybody() -> None:
    """The limit is the key's: another caller does not run into it meanwhile."""
    bench = Bench(retries=0)
    bench.server.script = [lambda r: error(3001, headers={"Retry-After": "30"}), latest_of]
    async with bench.client() as source:
        await source.latest([SYMBOL], "1m")
        answer = await source.latest(["TSLA.US"], "1m")
    assert answer.good
    assert bench.clock.now() >= NOW + 30


@pytest.mark.parametrize(
    "said",
    [
        {"headers": {"Retry-After": "0"}},
        {"headers": {"Retry-After": "1"}},
        {"headers": {"Retry-After": "0.2"}},
        {"data": {"reset_at": NOW - 3600}},
        {"headers": {"Retry-After": formatdate(NOW - 90, usegmt=True)}},
    ],
)
async def test_a_server_that_keeps_refusing_is_asked_three_times_a_minute(
    said: dict[str, Any],
) -> None:
    """Whatever it asks for: a time that has passed, none at all, or one that is never enough."""
    bench = Bench(retries=0)
    bench.server.script = [lambda r: error(3001, status=429, **said)]
    async with bench.client() as source:
        while bench.clock.now() < NOW + 120:
            await source.latest([SYMBOL], "1m")
            bench.clock.advance(0.5)
    assert 5 <= len(bench.server.requests) <= 8


async def test_a_date_counts_from_the_server_s_own_clock() -> None:
    """It runs two minutes behind ours, so its moment lies in our past; 30 s are meant."""
    bench = Bench()
    headers = {
        "Date": formatdate(NOW - 120, usegmt=True),
        "Retry-After": formatdate(NOW - 120 + 30, usegmt=True),
    }
    bench.server.script = [lambda r: error(3001, status=429, headers=headers), latest_of]
    assert await ask(bench) is None
    assert bench.clock.now() - NOW == pytest.approx(30, abs=1.1)


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks() -> None:
    """503 with Retry-After: no sooner, and no later than two minutes."""
    for asked, waits in (("7", 7.0), ("900", 120.0)):
        bench = Bench()
        answer = web.Response(status=503, headers={"Retry-After": asked})
        bench.server.script = [lambda r, answer=answer: answer, latest_of]
        assert await ask(bench) is None
        assert bench.slept == [waits]


@pytest.mark.parametrize(
    ("said", "stops"),
    [
        ({"data": {"reset_at": int(NOW) + 7200}}, 7200.0),
        ({"headers": {"Retry-After": "40"}}, 40.0),
        ({"data": {"reset_at": int(NOW) + 30 * 86400}}, 86400.0),
        ({}, 3600.0),
    ],
)
async def test_a_used_up_quota_stops_the_source(said: dict[str, Any], stops: float) -> None:
    """Nothing is sent before the reset; then requests go again."""
    bench = Bench()
    bench.server.script = [lambda r: error(3002, **said), latest_of]
    async with bench.client() as source:
        await source.latest([SYMBOL], "1m")
        bench.clock.advance(stops - 1)
        answer = await source.latest([SYMBOL], "1m")
        assert answer.bad[SYMBOL].reason == "quota"
        assert answer.bad[SYMBOL].retry_after == pytest.approx(1, abs=1e-3)
        assert len(bench.server.requests) == 1
        bench.clock.advance(2)
        assert (await source.latest([SYMBOL], "1m")).good


async def test_no_quota_reset_named_means_the_hour_or_midnight() -> None:
    """A quota counts UTC days, so midnight is worth a request even if an hour has not passed."""
    bench = Bench()
    midnight = (NOW // 86400 + 1) * 86400
    bench.clock.set(midnight - 600)
    bench.server.script = [lambda r: error(3002), latest_of]
    async with bench.client() as source:
        await source.latest([SYMBOL], "1m")
        bench.clock.advance(601)
        assert (await source.latest([SYMBOL], "1m")).good


async def test_a_silent_server_times_out() -> None:
    """No byte within the read timeout: reason timeout."""

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return latest_of(request)

    bench = Bench(read_timeout="100ms", retries=0)
    bench.server.script = [hang]
    failure = await ask(bench)
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("timeout", True)


async def test_a_dripping_server_times_out() -> None:
    """A byte now and then does not hold the client for ever."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    bench = Bench(read_timeout="200ms", connect_timeout="500ms", retries=0)
    bench.server.script = [drip]
    failure = await ask(bench)
    assert failure is not None
    assert failure.reason == "timeout"


async def test_a_broken_off_answer_is_malformed() -> None:
    """The connection ends before Content-Length bytes have come."""

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"code": 0,')
        assert request.transport is not None
        request.transport.close()
        return response

    bench = Bench()
    bench.server.script = [break_off, latest_of]
    assert await ask(bench) is None
    assert bench.failures() == {"malformed": 1}


async def test_nobody_listening_is_a_connection_failure() -> None:
    """A refused connection is tried again and then said, with reason connect."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bench = Bench(retries=1)
    async with bench.client(f"http://127.0.0.1:{port}/v1") as source:
        answer = await source.latest([SYMBOL], "1m")
    assert answer.bad[SYMBOL].reason == "connect"
    assert bench.failures() == {"connect": 2}


async def test_a_full_backlog_is_a_connection_failure() -> None:
    """A server that does not take connections: no connection within the connect timeout."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        clients = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(busy.getsockname())
            clients.append(client)
        bench = Bench(retries=0, connect_timeout="100ms")
        url = f"http://127.0.0.1:{busy.getsockname()[1]}/v1"
        async with bench.client(url) as source:
            answer = await source.latest([SYMBOL], "1m")
        for client in clients:
            client.close()
    assert answer.bad[SYMBOL].reason == "connect"


async def test_a_lost_connection_is_one_attempt() -> None:
    """aiohttp would send a GET again by itself, outside of budget and metrics."""

    async def abort(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    bench = Bench(retries=0)
    bench.server.script = [latest_of, abort]
    async with bench.client() as source:
        await source.latest([SYMBOL], "1m")
        failure = (await source.latest([SYMBOL], "1m")).bad[SYMBOL]
    assert (failure.reason, failure.retryable) == ("connect", True)
    assert len(bench.server.requests) == 2


async def test_a_server_that_speaks_no_http_is_malformed() -> None:
    """Any protocol may listen on a port."""

    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(ssh, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    bench = Bench(retries=0)
    async with listening, bench.client(f"http://127.0.0.1:{port}/v1") as source:
        answer = await source.latest([SYMBOL], "1m")
    assert answer.bad[SYMBOL].reason == "malformed"


async def test_a_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size limit counts unpacked bytes."""
    monkeypatch.setattr("exporter.sources.transport.LARGEST_ANSWER_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 30_000_000)
    bench = Bench(retries=0)
    bench.server.script = [lambda r: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})]
    failure = await ask(bench)
    assert failure is not None
    assert str(failure) == "the answer is larger than 1 MB"


async def test_a_redirect_is_not_followed() -> None:
    """The key goes to no server but the configured one."""
    bench = Bench()
    bench.server.script = [lambda r: web.HTTPFound(str(r.url.with_path("/v1/elsewhere")))]
    failure = await ask(bench)
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("http", False)
    assert [r.path for r in bench.server.requests] == ["/v1/market/kline/latest"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda r: error(1001, f"[1001] {KEY} is no key, nor is {KEY.lower()}", status=401),
        lambda r: error(5000, "x" * 190 + KEY),
        lambda r: error(f"[{KEY}]", f"sk-S3c\nret/{KEY}"),
        lambda r: web.Response(text=KEY, headers={"Content-Type": f"text/{KEY.replace('/', '')}"}),
        lambda r: web.Response(status=500, text=KEY, headers={"Retry-After": KEY}),
        lambda r: good([series(SYMBOL, [row(NOW - 60, close=KEY, time=KEY)])]),
        lambda r: good([{"symbol": SYMBOL, KEY: KEY, "klines": KEY}]),
        lambda r: web.HTTPFound(f"/v1/?api_key={KEY}"),
    ],
)
async def test_the_key_shows_nowhere(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the server says it: not in the log, the error, its traceback or the metrics."""
    bench = Bench()
    bench.server.script = [answer]
    with caplog.at_level(logging.DEBUG):
        async with bench.client() as source:
            answered = await source.latest([SYMBOL], "1m")
            shown = [repr(source), str(vars(source))]
    failure = answered.bad[SYMBOL]
    assert failure.__cause__ is None
    shown += [repr(failure), *traceback.format_exception(failure), str(vars(failure))]
    link: BaseException | None = failure
    while link is not None:
        shown.append(repr(link))
        link = link.__context__
    shown += [str(vars(record)) + record.getMessage() for record in caplog.records]
    shown += [str(sample) for m in bench.metrics.registry.collect() for sample in m.samples]
    assert all("s3cret" not in text.lower() for text in shown)
    assert bench.server.requests[0].headers["X-API-Key"] == KEY


async def test_the_key_does_not_hide_in_connection_errors() -> None:
    """aiohttp's exceptions hold the request's headers: none of them is kept as a context."""
    bench = Bench(retries=0)
    async with bench.client("http://127.0.0.1:9/v1") as source:
        with pytest.raises(SourceError) as raised:
            await source.recent(SYMBOL, "1m", 5)
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None


async def test_every_series_is_there_from_the_start() -> None:
    """No failure is the first sample of its series."""
    bench = Bench()
    async with bench.client():
        text = {
            (sample.name, sample.labels.get("endpoint"), sample.labels.get("reason"))
            for metric in bench.metrics.registry.collect()
            for sample in metric.samples
        }
    for endpoint in ENDPOINTS:
        assert ("quant_fetch_requests_total", endpoint, None) in text
        for reason in FETCH_REASONS:
            assert ("quant_fetch_failures_total", endpoint, reason) in text


_KEYS = (
    "symbol", "interval", "klines", "time", "open", "high", "low", "close", "volume", "code",
    "message", "data", "error", "reset_at", "last_price", "bid_price", "ask_price", "timestamp",
    "expires_at", "remaining_seconds",
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from([SYMBOL, "1m", "100", int(NOW * 1000), "[1001]", 3001, 3002, "0", 0]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(_KEYS),
        inner,
        max_size=8,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(json_values)
def test_no_payload_raises_anything_else(payload: Any) -> None:
    """Whatever JSON comes, the readers answer or raise SourceError."""
    readers = [
        lambda: parse.read_latest(payload, [SYMBOL], "1m", NOW),
        lambda: parse.read_latest([series(SYMBOL, payload)], [SYMBOL], "1m", NOW),
        lambda: parse.read_series(series(SYMBOL, [row(NOW, close=payload)]), SYMBOL, "1m", NOW),
        lambda: parse.read_series(series(SYMBOL, [row(NOW, time=payload)]), SYMBOL, "1m", NOW),
        lambda: parse.read_tickers(payload, [SYMBOL], NOW),
        lambda: parse.read_expiry(payload, NOW, str),
    ]
    for reader in readers:
        try:
            reader()
        except SourceError as failure:
            assert failure.reason in ("malformed", "wrong_time")


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=60) | json_values.map(lambda v: repr(v).encode())
    | st.builds(lambda c, m, d: json.dumps(
        {"code": c, "message": m, "data": d}).encode("utf-8", "replace"),
        json_values, json_values, json_values),
    status=st.sampled_from([200, 204, 302, 400, 401, 404, 429, 500, 503]),
    retry_after=st.text(max_size=30) | st.sampled_from(["1e9", "0", "9" * 40, "Mon, 1 Jan 0001"]),
)  # fmt: skip
def test_no_answer_raises_anything_else(body: bytes, status: int, retry_after: str) -> None:
    """Whatever bytes, status and Retry-After come, and every wait has an end."""
    try:
        read_envelope(status, {"Retry-After": retry_after}, body, NOW, Key(KEY).redact)
    except SourceError as failure:
        assert failure.reason in FETCH_REASONS
        assert 0 <= (failure.retry_after or 0) <= 86400
