"""WebSocket servers that do everything a server should not: each byte of them is the test's."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from exporter.sources import realtime
from tests.unit.sources.raw_websocket import (
    KEY,
    StreamClient,
    close_frame,
    frame,
    read_on,
    says,
    serving,
    speaks,
)


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


@pytest.fixture(autouse=True)
def _closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers do not answer a goodbye."""
    assert realtime.CLOSING_SECONDS < 2
    monkeypatch.setattr(realtime, "CLOSING_SECONDS", 0.05)


async def _never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_on(reader, writer)


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def _no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01SSH-2.0-OpenSSH\r\n\r\n")


_OPENS = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"
HANDSHAKES = {
    "401": (says("401 Unauthorized", "<html>no</html>"), "auth", "the key or the plan is refused"),
    "403": (says("403 Forbidden"), "auth", "HTTP 403: the key or the plan is refused"),
    "429": (says("429 Too Many Requests\r\nRetry-After: 90"), "rate_limit", "HTTP 429"),
    "404": (says("404 Not Found"), "http", "is `stream_url` right?"),
    "503": (says("503 Unavailable"), "http", "HTTP 503 instead of a WebSocket"),
    "html": (says("200 OK", "<html>hi</html>"), "http", "HTTP 200 instead of a WebSocket"),
    "other key": (says(f"{_OPENS}\r\nSec-WebSocket-Accept: x"), "malformed", "not answer as a"),
    "no answer": (_never_answers, "timeout", "no connection in time"),
    "hangs up": (_hangs_up, "connect", "connection failed"),
    "not http": (_no_http, "connect", "connection failed"),
}


@pytest.mark.parametrize("case", HANDSHAKES)
async def test_a_handshake_that_fails_says_why(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """What another try will meet again waits for a minute, or as long as the server asks."""
    script, reason, text = HANDSHAKES[case]
    client = StreamClient(connect_timeout="100ms", read_timeout="100ms")
    async with serving(script) as port, client.listening(url(port)) as stream:
        await client.until(lambda: client.failures().get(reason, 0) >= 1 and bool(client.paused))
        assert not stream.connected
    assert set(client.failures()) == {reason}
    assert text in caplog.text
    assert KEY not in caplog.text
    least = {"auth": 60.0, "rate_limit": 90.0}.get(reason, 0.0)
    assert client.paused[0] >= least
    assert client.paused[0] < 2 or least
    assert client.ticks == []


async def test_the_key_is_not_taken_to_where_a_server_redirects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even when the redirect repeats it; nobody is asked there."""
    asked: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))

    caplog.set_level(logging.DEBUG)
    client = StreamClient()
    async with serving(other) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere}/realtime?api_key={KEY}"
        async with (
            serving(says(f"302 Found\r\nLocation: {location}")) as port,
            client.listening(url(port)),
        ):
            await client.until(lambda: client.failures().get("http", 0) >= 2)
    assert asked == []
    assert "HTTP 302: the server redirects, and the key is not sent elsewhere" in caplog.text
    ours = [record for record in caplog.records if record.name.startswith("exporter")]
    assert not any(KEY in repr(record.__dict__) for record in ours)


ENDS = {
    "policy": ((close_frame(1008, f"bad {KEY}"),), "connect", "with code 1008: bad "),
    "own code": ((close_frame(4001, "no\nplan"),), "connect", "with code 4001: no plan"),
    "going away": ((close_frame(1001),), "connect", "with code 1001"),
    "no reason": ((frame(b"", 8),), "connect", "the server ended the connection"),
    "invalid close": ((frame(b"\x03", 8),), "malformed", "too large or breaks off"),
    "compressed unasked": ((frame("{}", packed=True),), "malformed", "too large or breaks off"),
    "unknown frame": ((frame("{}", 5),), "malformed", "too large or breaks off"),
    "huge": ((frame(b"x" * 2_000_000),), "malformed", "too large or breaks off"),
    "huge in parts": (
        (frame(b"x" * 60_000, last=False), *[frame(b"x" * 60_000, 0, last=False)] * 20),
        "malformed", "too large or breaks off",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
async def test_a_connection_that_ends_oddly_is_made_again(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And what came before counts."""
    frames, reason, text = ENDS[case]
    client = StreamClient()
    script = speaks(client.message(), *frames)
    async with serving(script) as port, client.listening(url(port)):
        await client.until(lambda: client.failures().get(reason, 0) >= 2)
    assert set(client.failures()) == {reason}
    assert [tick.price for tick in client.ticks] == [1.5], "the same again says nothing new"
    assert text in caplog.text
    assert KEY not in caplog.text


ODD = [
    b"\xff\xfe", b"", b"{", b"null", b"[]", b"1", b'"x"', b"[" * 5000, b'{"cmd": NaN}',
    b'{"cmd": []}', b'{"cmd": {"a": 1}}', b'{"cmd": "ticker"}', b'{"cmd": "ticker", "data": 5}',
    b'{"cmd": "ticker", "data": {"symbol": []}}', b'{"cmd": "ticker", "data": {"symbol": {}}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT"}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": true, "timestamp": true}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": "-1", "timestamp": NOW}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": "1e999", "timestamp": NOW}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": "NaN", "timestamp": NOW}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": 0, "timestamp": NOW}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": 1, "timestamp": "soon"}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": 1, "timestamp": -5}}',
    b'{"cmd": "ticker", "data": {"symbol": "BTCUSDT", "last_price": 1, "timestamp": 1e300}}',
    b'{"cmd": "depth", "data": {"symbol": "BTCUSDT"}}', b'{"code": 0}', b'{"code": "0"}',
    b'{"code": null}', b'{"code": 200, "cmd": "subscribe"}', b'{"error": null, "code": 0}',
]  # fmt: skip


@pytest.mark.parametrize("opcode", [1, 2])
async def test_odd_messages_are_counted_and_the_next_good_one_still_comes(
    opcode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """On the same connection, as text and as binary; each kind of them is logged once."""
    client = StreamClient()
    now = str(int(client.clock.now() * 1000)).encode()
    # Text that is not UTF-8 may end a connection (RFC 6455, 8.1), so it is sent as binary.
    odd = [
        frame(each.replace(b"NOW", now), 2 if each.startswith(b"\xff") else opcode)
        for each in ODD * 20
    ]
    script = speaks(*odd, client.message())
    async with serving(script) as port, client.listening(url(port)) as stream:
        await client.until(lambda: len(client.ticks) == 1)
        assert stream.connected
    assert client.failures() == {}
    assert sum(client.failures("quant_stream_bad_messages_total").values()) >= 20 * 20
    assert len(caplog.records) <= 4


@pytest.mark.parametrize(
    "code", ['"²"', "1e400", "[]", "true", '"9" ', '"٣"', "{}", "-1", "9" * 40]
)
async def test_a_refusal_that_nobody_documented_ends_nothing_but_the_connection(code: str) -> None:
    """It is tried again."""
    client = StreamClient()
    script = speaks(frame('{"code": ' + code + ', "message": "x"}'), close_frame(1000))
    async with serving(script) as port, client.listening(url(port)):
        bad = "quant_stream_bad_messages_total"
        await client.until(lambda: len(client.failures() | client.failures(bad)) > 0)


async def test_messages_in_parts_with_pings_between_are_read() -> None:
    """As RFC 6455 allows; the ping is answered."""
    client = StreamClient()
    whole = client.message()[2:]
    got: list[bytes] = []

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            got.append(data)

    parts = [frame(whole[:9], last=False), frame(b"hi", 9), frame(whole[9:], 0)]
    async with serving(speaks(*parts, then=then)) as port, client.listening(url(port)):
        await client.until(lambda: len(client.ticks) == 1)
        await client.until(lambda: any(part[0] == 0x8A for part in got) or b"\x8a" in b"".join(got))


async def test_a_limit_of_subscriptions_leaves_what_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Channels and symbols that come count; the refusal is said and counted."""
    client = StreamClient()
    refused = frame('{"code": 1004, "message": "Too many subscriptions: 5"}')
    script = speaks(refused, client.message(), refused, client.message(at=1))
    async with serving(script) as port, client.listening(url(port)) as stream:
        await client.until(lambda: len(client.ticks) == 2)
        assert stream.connected
    assert client.failures() == {"auth": 2}
    assert client.value("quant_stream_connections_total") == 1
    assert "the source answered 1004: Too many subscriptions: 5" in caplog.text


async def test_a_connection_with_refused_subscriptions_alone_is_replaced() -> None:
    """After a minute: the plan may have been raised."""
    client = StreamClient()

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            client.clock.advance(40)
            writer.write(frame('{"cmd":"pong"}'))
            await asyncio.sleep(0.02)
        await read_on(reader, writer)

    script = speaks(frame('{"code": 1004, "message": "Too many subscriptions"}'), then=then)
    async with serving(script) as port, client.listening(url(port)):
        await client.until(lambda: client.value("quant_stream_connections_total") >= 2)
    assert client.paused[0] >= 60


@pytest.mark.parametrize(
    ("code", "reason", "least"),
    [(1001, "auth", 60), (3003, "rate_limit", 60), (3001, "rate_limit", 60), (3002, "quota", 60),
     (5000, "api", 0)],
)  # fmt: skip
async def test_what_concerns_the_key_or_the_server_ends_the_connection(
    code: int, reason: str, least: float
) -> None:
    """With the pause that it deserves."""
    client = StreamClient()
    script = speaks(frame(f'{{"code": "{code}", "message": "no"}}'))
    async with serving(script) as port, client.listening(url(port)):
        await client.until(lambda: len(client.paused) >= 1)
    assert set(client.failures()) == {reason}
    assert client.paused[0] >= least
    assert least or client.paused[0] < 5


async def test_old_repeated_and_overtaken_messages_are_no_news() -> None:
    """Trades of one moment count together; a trade of before is not the last price."""
    client = StreamClient()
    both = {"ticker": ("BTCUSDT",), "trade": ("BTCUSDT",)}
    ticker = [(-10, "1.5"), (-20, "9"), (-10, "9")]
    trade = [(-9, "2"), (-9, "3"), (-12, "9"), (-400, "9"), (120, "9")]
    frames = [
        *(client.message(price=price, at=at) for at, price in ticker),
        *(client.message(price=price, at=at, cmd="trade") for at, price in trade),
        client.message(price="4", at=-5),
    ]
    async with serving(speaks(*frames)) as port, client.listening(url(port), both):
        await client.until(lambda: len(client.ticks) == 4)
    assert [tick.price for tick in client.ticks] == [1.5, 2, 3, 4]
    assert client.failures("quant_stream_bad_messages_total") == {"old": 4, "wrong_time": 1}


async def test_what_comes_and_goes_is_not_logged_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A price and an end in turn: the first trouble and its end, once in ten minutes."""
    caplog.set_level(logging.INFO)
    client = StreamClient()
    turns = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turns
        turns += 1
        await speaks(client.message(at=turns / 10), frame("?"), close_frame(1001))(reader, writer)

    async with serving(script) as port, client.listening(url(port)):
        await client.until(lambda: turns >= 12)
    assert len(client.ticks) >= 10
    assert len(caplog.records) <= 3
    assert client.paused[0] <= 1 < 20 < client.paused[9], "nor asked again every second"


async def test_pauses_begin_from_the_shortest_after_a_connection_that_lasted() -> None:
    """A server that is restarted once a day is back at once."""
    client = StreamClient()
    turns = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turns
        turns += 1
        if turns == 7:
            client.clock.advance(3600)
        await speaks(client.message(at=turns / 10), close_frame(1001))(reader, writer)

    async with serving(script) as port, client.listening(url(port)):
        await client.until(lambda: len(client.paused) >= 8)
    assert client.paused[6] <= 1 < 4 < client.paused[5]


async def test_a_flood_of_messages_leaves_the_loop_to_others() -> None:
    """A thousand that come at once are not read in one go."""
    client, turns = StreamClient(), 0
    seen: set[int] = set()
    flood = [client.message(at=number / 100 - 20) for number in range(1000)]

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(flood))
        await read_on(reader, writer)

    async with serving(speaks(then=then)) as port, client.listening(url(port)) as stream:
        keep = stream._messages._on_tick
        stream._messages._on_tick = lambda tick: (seen.add(turns), keep(tick))[0]
        working = asyncio.create_task(others())
        await client.until(lambda: len(client.ticks) == 1000)
        working.cancel()
    assert len(seen) >= 9


async def test_a_server_that_is_slow_to_close_holds_nobody_up() -> None:
    """A reload or a stop waits a moment for its answer."""
    client = StreamClient()
    async with serving(speaks(client.message())) as port:
        async with client.listening(url(port)):
            await client.until(lambda: len(client.ticks) == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 2


async def test_a_server_that_reads_nothing_is_given_up() -> None:
    """Its buffers fill while thousands of symbols are subscribed."""
    client = StreamClient(connect_timeout="200ms", read_timeout="100ms")

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    many = {"ticker": tuple(f"S{number:06}USDT" for number in range(400_000))}
    async with serving(speaks(then=then)) as port, client.listening(url(port), many) as stream:
        await client.until(lambda: client.failures() == {"timeout": 1})
        assert not stream.connected


async def test_a_stream_outlives_a_mistake_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and the next connection is made."""
    client = StreamClient()

    def breaks(_: object) -> None:
        raise RuntimeError(KEY)

    async with serving(speaks(client.message())) as port, client.listening(url(port)) as stream:
        stream._messages._on_tick = breaks
        await client.until(lambda: client.failures().get("error", 0) >= 1)
    assert "it failed with RuntimeError" in caplog.text
    assert KEY not in caplog.text
