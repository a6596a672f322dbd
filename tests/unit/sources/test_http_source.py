"""type: http: JSON by a path, or CSV, from any address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.sources.base import SourceError
from tests.unit.sources.own_sources import MINUTE, NOW, OwnSource

ROW = {"t": int(MINUTE - 60) * 1000, "o": 1, "h": "2.5", "l": 1, "c": 2, "v": 10}
FIELDS = {"time": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


class Api:
    """A server that answers what a test says, and a source of it."""

    def __init__(self, answer: Any, **settings: Any) -> None:
        self.answer, self.requests = answer, []
        self.given = {"type": "http", "fields": FIELDS, **settings}
        self.path = self.given.pop("path", "/bars?symbol={symbol}")
        self.bench: OwnSource

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if isinstance(self.answer, web.Response):
            return self.answer
        if callable(self.answer):
            answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.answer
            return await answer(request)
        return web.json_response(self.answer)

    async def latest(self, *symbols: str, interval: str = "1m", **environ: str) -> Any:
        """The answer for these symbols."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.handle)
        async with TestServer(app) as server:
            url = str(server.make_url("/")).rstrip("/") + self.path
            self.bench = OwnSource(url=url, **self.given)
            async with self.bench.open(environ=environ) as source:
                return await source.latest(symbols, interval)


async def test_rows_are_found_by_their_path_and_fields_by_their_names() -> None:
    """The address says what is asked for, in the source's own words."""
    api = Api(
        {"status": "ok", "data": [{"series": [ROW]}]},
        path="/v2/{symbol}/range?every={interval}&from={start}&to={end}&n={limit}",
        rows="data.0.series", symbols={"BTCUSDT": "X:BTC/USD"}, intervals={"1m": "minute"},
        ask_time="iso",
    )  # fmt: skip
    answer = await api.latest("BTCUSDT")
    (bar,) = answer.good["BTCUSDT"]
    assert (bar.start, bar.open, bar.high, bar.close, bar.volume) == (MINUTE - 60, 1, 2.5, 2, 10)
    (request,) = api.requests
    assert request.path == "/v2/X:BTC/USD/range"
    assert request.raw_path.startswith("/v2/X:BTC%2FUSD/range?")
    assert dict(request.query) == {
        "every": "minute", "from": "2026-09-21T14:03:20Z", "to": "2026-09-21T14:13:20Z", "n": "10"
    }  # fmt: skip
    assert api.bench.value("quant_fetch_requests_total", endpoint="bars") == 1


@pytest.mark.parametrize(
    ("answer", "rows", "fields"),
    [
        ({"bars": {"A": [ROW], "B": []}}, "bars.{symbol}", FIELDS),
        ([{**ROW, "s": "A"}, {**ROW, "s": "OTHER"}], "", {**FIELDS, "symbol": "s"}),
        ({"A": [list(ROW.values())], "B": []}, "{symbol}", {}),
    ],
)
async def test_one_request_may_ask_for_many_symbols(answer: Any, rows: str, fields: Any) -> None:
    """By symbol in the answer, or as rows that name theirs."""
    api = Api(answer, path="/bars?symbols={symbols}", rows=rows, fields=fields)
    found = await api.latest("A", "B")
    assert [bar.close for bar in found.good["A"]] == [2]
    assert found.good["B"] == []
    assert api.requests[0].query["symbols"] == "A,B"


async def test_csv_with_a_line_of_names_is_read() -> None:
    """With a time of the form that `time_format` gives, in the zone that `timezone` says."""
    text = "Date;x\n".replace(";x", ",Open,High,Low,Close") + "21.09.2026 10:11,1,2,1,2\n"
    names = {"time": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Close"}
    api = Api(
        web.Response(text=text, content_type="text/csv"), format="csv", fields=names,
        time_format="%d.%m.%Y %H:%M", timezone="America/New_York",
    )  # fmt: skip
    (bar,) = (await api.latest("A")).good["A"]
    assert bar.start == NOW // 60 * 60 - 120
    api = Api(web.Response(text=f"{MINUTE - 60:.0f},2\n"), format="csv",
              fields={"time": 0, "close": 1})  # fmt: skip
    assert (await api.latest("A")).good["A"][0].close == 2


ODD = {
    "HTML": (web.Response(text="<html>", content_type="text/html"), "malformed",
             "HTTP 200, but no JSON: 6 bytes of text/html"),
    "half of it": (web.Response(text='{"data": [', content_type="application/json"), "malformed",
                   "but no JSON: 10 bytes of application/json"),
    "an error": ({"error": "no such thing"}, "malformed", "has no `data` and says: no such thing"),
    "no rows": ({"data": {"x": 1}}, "malformed", "A: expected a list of bars"),
    "null and a reason": ({"data": None, "errmsg": "", "message": "no such plan"}, "malformed",
                          "the answer has no bars and says: no such plan"),
    "of another symbol": ({"data": [{**ROW, "symbol": "MSFT"}]}, "malformed",
                          "its rows are of 'MSFT', and not of a symbol that was asked for"),
    "packed otherwise": (web.Response(body=b"x", headers={"Content-Encoding": "br"}), "malformed",
                         "packed in a way that it was not asked for"),
    "of another interval": (
        {"data": [{**ROW, "t": int(MINUTE - n) * 1000} for n in range(60, 120, 10)]}, "malformed",
        "its bars are 10s apart, and not 1m: does the source ignore the interval?"),
    "an error with 200": ({"data": {"Note": "25 requests a day"}}, "malformed",
                          "and the answer says: 25 requests a day"),
    "a ban": (web.Response(status=418, text='{"code": -1003, "msg": "IP banned until noon"}'),
              "rate_limit", "HTTP 418: IP banned until noon"),
    "from here": (web.Response(status=451, text="not for your\ncountry"), "http",
                  "HTTP 451: not for your country"),
    "a proxy": (web.Response(status=502, text="<html><TITLE>Bad gateway</TITLE>"), "http",
                "HTTP 502: Bad gateway"),
    "too many": (web.Response(status=429, headers={"Retry-After": "7"}), "rate_limit", "HTTP 429"),
    "not allowed": (web.Response(status=401), "auth", "HTTP 401"),
    "not there": (web.Response(status=404), "http", "HTTP 404"),
    "broken": (web.Response(status=503), "http", "HTTP 503"),
    "moved": (web.Response(status=302, headers={"Location": "/x"}), "http", "correct `url`"),
    "text for a price": ({"data": [{**ROW, "c": "n/a"}]}, "malformed", "`close` is of type str"),
    "NaN": ({"data": [{**ROW, "c": float("nan")}]}, "malformed", "`close` is NaN"),
    "too deep": (web.Response(text="[" * 99_999), "malformed", "no JSON: 99999 bytes of text"),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
async def test_what_is_odd_is_said(case: str) -> None:
    """An outcome with its reason, never an empty answer."""
    answer, reason, text = ODD[case]
    if isinstance(answer, web.Response):  # a response can be sent once
        answer = web.Response(body=answer.body, status=answer.status, headers=answer.headers)
    api = Api(answer, rows="data")
    found = await api.latest("A")
    assert found.good == {}
    assert found.bad["A"].reason == reason
    assert text in found.bad["A"].message
    assert api.bench.failures() == {reason: 1}


@pytest.mark.parametrize(
    "answer", [{"data": None, "next_page_token": None}, web.Response(status=204)]
)
async def test_an_answer_that_says_there_are_no_bars_is_no_failure(answer: Any) -> None:
    """Outside trading hours; while bars are due their absence is overdue."""
    api = Api(answer, rows="data")
    found = await api.latest("A")
    assert (found.good, found.bad, api.bench.failures()) == ({"A": []}, {}, {})


@pytest.mark.parametrize("nothing", [None, float("nan")])
@pytest.mark.parametrize("later", [60, 86400])
async def test_a_newest_row_without_any_price_is_no_bar(nothing: Any, later: int) -> None:
    """As Yahoo has it for a day that has only begun, or that has a dividend alone: what is older
    stays, and is overdue when it should be. A price that is missing alone is a mistake."""
    empty = dict.fromkeys("ohlcv", nothing) | {"t": ROW["t"] + later * 1000}
    api = Api({"data": [ROW, empty]}, rows="data")
    (bar,) = (await api.latest("A")).good["A"]
    assert bar.close == 2
    assert api.bench.value("quant_fetch_bad_bars_total", endpoint="bars", reason=(
        "malformed" if later == 60 else "wrong_time")) == 1  # fmt: skip
    for rows in ([empty], [ROW, {**empty, "c": 2}]):
        assert (await Api({"data": rows}, rows="data").latest("A")).good == {}


@pytest.mark.parametrize("named", ["A", "NASDAQ:A", "A/US", "a"])
async def test_rows_may_call_their_symbol_a_little_otherwise(named: str) -> None:
    """Rows of several symbols are told apart by their names."""
    api = Api({"data": [{**ROW, "symbol": named}]}, rows="data")
    assert len((await api.latest("A")).good["A"]) == 1
    both = [{**ROW, "symbol": "A"}, {**ROW, "symbol": "MSFT", "c": 1.5}]
    (bar,) = (await Api({"data": both}, rows="data").latest("A")).good["A"]
    assert bar.close == 2


@pytest.mark.parametrize(
    "text", ["Error Message: invalid call", '{"Information": "25 requests a day"}', "symbol,px\n"]
)
async def test_an_error_as_csv_is_not_an_empty_table(text: str) -> None:
    """A table without rows has its line of names."""
    api = Api(web.Response(text=text, content_type="text/csv"), format="csv", fields={})
    error = (await api.latest("A")).bad["A"]
    assert error.reason == "malformed"
    assert "its line of names has no `time`: is it an error?" in error.message
    names = web.Response(text="Time,open,high,low,close\n", content_type="text/csv")
    assert (await Api(names, format="csv", fields={}).latest("A")).good == {"A": []}


async def test_rows_of_other_symbols_alone_are_said() -> None:
    """The source calls them otherwise; one that is missing among others has no bar."""
    fields = {**FIELDS, "symbol": "s"}
    api = Api([{**ROW, "s": "X:BTC"}], path="/b?s={symbols}", fields=fields)
    answer = await api.latest("BTC", "ETH")
    assert "its rows are of 'X:BTC', and not of a symbol that was asked for" in str(
        answer.bad["BTC"]
    )
    api = Api([{**ROW, "s": "BTC"}], path="/b?s={symbols}", fields=fields)
    answer = await api.latest("BTC", "ETH")
    assert (len(answer.good["BTC"]), answer.good["ETH"]) == (1, [])


async def test_secrets_go_into_headers_and_address_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not into errors either, not even when the server sends them back."""
    secret = "s3cret/with+signs"

    async def echo(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {secret}"
        assert request.query["apikey"] == secret
        return web.Response(status=500, text=f"{secret} {quote(secret)}", reason=secret)

    api = Api(
        echo, path="/bars?symbol={symbol}&apikey={MY_KEY}", secrets=["MY_KEY"],
        headers={"Authorization": "Bearer {MY_KEY}"},
    )  # fmt: skip
    found = await api.latest("A", MY_KEY=secret)
    error = found.bad["A"]
    assert error.message == "HTTP 500: *** ***"
    assert secret not in repr(error) + caplog.text
    assert error.__context__ is None


async def test_a_server_that_is_away_is_an_outage() -> None:
    """As of any other source."""
    bench = OwnSource(type="http", url="http://127.0.0.1:9/{symbol}", retries=1)
    async with bench.open() as source:
        assert (await source.latest(["A"], "1m")).bad["A"].reason == "connect"
        with pytest.raises(SourceError, match="connection failed"):
            await source.history("A", "1m", NOW - 600, NOW)
        assert source.out_since() <= bench.clock.now()
    assert bench.value("quant_fetch_retries_total", endpoint="bars") == 1
