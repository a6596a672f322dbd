"""Answers of many megabytes: read piece by piece, off the loop, one at a time, and bounded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from exporter.sources import SourceError, large_json, transport
from exporter.sources.large_json import Rows
from exporter.util import give_way
from tests.unit.tickdb_server import NOW, Bench, good, row, series

SYMBOL = "AAPL.US"


def body_of(symbols: int, bars: int) -> bytes:
    """A whole good answer, the oldest bars first."""
    text = json.dumps(row(0)).replace('"time": 0', '"time": %d').encode()
    times = [int(NOW - 60 * n) * 1000 for n in range(bars, 0, -1)]
    rows = b",".join(text % at for at in times)
    entries = b",".join(
        b'{"symbol":"S%d.US","interval":"1m","klines":[%b]}' % (n, rows) for n in range(symbols)
    )
    return b'{"code":0,"message":"success","data":[%b]}' % entries


def plain(value: Any) -> Any:
    """The value with rows as lists."""
    data = value.get("data") if isinstance(value, dict) else None
    for entry in data if isinstance(data, list) else [data]:
        if isinstance(entry, dict) and isinstance(entry.get("klines"), Rows):
            entry["klines"] = list(entry["klines"])
    return value


async def test_the_loop_goes_on_while_15_mb_are_read() -> None:
    """Every symbol's newest bars, and the ticks of somebody else all the while."""
    bench = Bench(retries=0)
    body = body_of(50, 2000)
    assert len(body) > 13_000_000
    bench.server.script = [lambda r: web.Response(body=body, content_type="application/json")]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async with bench.client() as source:
        other = asyncio.create_task(tick())
        answer = await source.latest([f"S{n}.US" for n in range(50)], "1m")
        other.cancel()
    assert not answer.bad
    assert {bars[-1].start for bars in answer.good.values()} == {NOW - 60}
    assert ticks > 30  # on the loop, or by one call of a parser, there would be a handful


def test_no_call_of_the_parser_gets_more_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the interpreter's lock: 15 MB are a tenth of a second."""
    sizes = []

    def loads(text: bytes) -> Any:
        sizes.append(len(text))
        return orjson.loads(text)

    monkeypatch.setattr("exporter.sources.large_json.orjson", type("J", (), {"loads": loads}))
    value = large_json.load(body_of(3, 5000))
    assert [len(list(entry["klines"])) for entry in value["data"]] == [5000] * 3
    assert max(sizes) <= 100_002


def test_cutting_and_reading_bars_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between pieces and between bars; else the system stops the thread with Python's lock held."""
    rests = []
    monkeypatch.setattr(give_way, "WORK_SECONDS", 0.0)
    clock = SimpleNamespace(thread_time=time.thread_time, sleep=rests.append)
    monkeypatch.setattr(give_way, "time", clock)
    value = large_json.load(body_of(1, 2000))
    cutting = len(rests)
    assert len(list(value["data"][0]["klines"])) == 2000
    assert cutting >= 8 and len(rests) - cutting == 2000


async def test_large_answers_are_read_one_at_a_time_and_off_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are under way, the memory is that of one."""
    bench = Bench(retries=0)
    noise = {"note": "x" * 1000}
    many = [row(NOW - 60 * n, **noise) for n in range(500, 0, -1)]
    bench.server.script = [lambda r: good(series(r.query["symbol"], many))]
    inside, most, threads = 0, 0, set()
    real = large_json.load

    def load(body: bytes | bytearray) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threads.add(threading.current_thread())
        value = real(body)
        inside -= 1
        return value

    monkeypatch.setattr(large_json, "load", load)
    async with bench.client() as source:
        found = await asyncio.gather(*(source.recent(f"S{n}.US", "1m", 500) for n in range(6)))
    assert [len(bars) for bars in found] == [500] * 6
    assert most == 1
    assert threading.current_thread() not in threads


async def test_what_is_larger_than_any_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that say how large an answer may be."""
    monkeypatch.setattr(transport, "LARGEST_ANSWER_BYTES", 1_000_000)
    bench = Bench(retries=0)
    body = body_of(1, 8000)
    bench.server.script = [lambda r: web.Response(body=body)]
    async with bench.client() as source:
        answer = await source.latest(["S0.US"], "1m")
    assert str(answer.bad["S0.US"]) == "the answer is larger than 1 MB"


async def test_what_is_large_and_no_bars_is_refused() -> None:
    """Whoever sends it. An error page of that size is still an error of its status."""
    bench = Bench(retries=0)
    note = "x" * 1_100_000
    bench.server.script = [
        lambda r: web.json_response({"code": 0, "data": [], "note": note}),
        lambda r: web.json_response({"note": note}, status=503),
    ]
    async with bench.client() as source:
        first = (await source.latest([SYMBOL], "1m")).bad[SYMBOL]
        second = (await source.latest([SYMBOL], "1m")).bad[SYMBOL]
    assert (first.reason, str(first)) == ("malformed", "more than 1 MB of the answer are not bars")
    assert second.reason == "http"


texts = st.text(alphabet='ab"\\{}[],:kine$ \n', max_size=8)
values = st.none() | st.integers(-9, 9) | texts
flat = st.dictionaries(st.sampled_from(["time", "klines", "close", "$rows"]) | texts, values)
bars = st.lists(flat | values | st.lists(flat, max_size=2), max_size=6)
entries = st.fixed_dictionaries({"symbol": texts, "klines": bars}) | values


@given(
    data=st.lists(entries, max_size=3) | entries,
    note=texts | st.just('"klines":[{'),
    indent=st.sampled_from([None, 1]),
    piece=st.sampled_from([5, 40, 100_000]),
)
def test_pieces_are_the_same_as_the_whole(data: Any, note: str, indent: Any, piece: int) -> None:
    """Whatever the strings hold, and wherever a piece ends."""
    text = json.dumps({"code": 0, "note": note, "data": data}, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_PIECE_BYTES", piece)
        assert plain(large_json.load(text)) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"code":0,"data":[{"klines":[{"a":1},]}]}',
        b'{"code":0,"data":[{"klines":[{"a":1},{"b":2}',
        b'{"code":0,"data":[{"klines":[{"a":1} {"b":2}]}]}',
        b'{"code":0,"data":[{"klines":[{"a":01}]}]}',
        b'{"code":0,"data":[{"klines":[{"a" 1}]}]}',
        b'{"code":0,"data":[{"klines":[{"a":"\xff"}]}]}',
    ],
)
def test_broken_text_is_noticed(text: bytes) -> None:
    """At once, or when its rows are read."""
    with pytest.raises((ValueError, SourceError)):
        plain(large_json.load(text))
