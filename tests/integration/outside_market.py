"""A TickDB as an outsider would write it: from the documentation, stdlib alone, its own process.

``python outside_market.py PORT`` serves every way of answering under its own path, so that one
exporter can have one source for each: ``http://127.0.0.1:PORT/WAY/v1``. It shares no code with
the exporter or its simulator. ``GET /asked`` tells how many requests each way got.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "tdb_live_0aQ/9+zz"
MINUTE = 60_000
BUSY = "429 Too Many Requests"
Row = dict[str, Any]
Writer = asyncio.StreamWriter
asked: Counter[str] = Counter()
first_seen: dict[str, float] = {}


def bar(start_ms: int) -> Row:
    """One documented kline: strings for numbers, int milliseconds for the start."""
    base = 100 + start_ms // MINUTE % 50
    return {
        "time": start_ms, "open": f"{base}.10", "high": f"{base + 1}.00", "low": f"{base - 1}.00",
        "close": f"{base}.50", "volume": "963419", "quote_volume": "251311057.55",
    }  # fmt: skip


def bars(count: int, interval: str = "1m") -> list[Row]:
    """The newest minutes or days, oldest first; the last one is still forming."""
    step = {"1m": MINUTE, "1d": 1440 * MINUTE}[interval]
    newest = int(time.time() * 1000) // step * step
    return [bar(newest - step * back) for back in range(count - 1, -1, -1)]


def envelope(data: Any, code: Any = 0, message: str = "success") -> bytes:
    return json.dumps({"code": code, "message": message, "data": data}).encode()


class Asked:
    """One request."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        parts = urlsplit(target)
        _, self.way, _, *rest = parts.path.split("/")
        self.endpoint = "/".join(rest)
        self.query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.key = headers.get("x-api-key", "")
        self.symbols = [s for s in self.query.get("symbols", "").split(",") if s]

    def data(self, count: int = 3, change: Callable[[list[Row]], Any] = lambda rows: rows) -> Any:
        """What the documentation promises for this request, its bars changed by `change`."""
        interval = self.query.get("interval", "")
        if self.endpoint == "market/kline/latest":
            return [{"symbol": s, "interval": interval, "klines": change(bars(count, interval))}
                    for s in self.symbols]  # fmt: skip
        if self.endpoint == "market/kline":
            rows = bars(min(int(self.query.get("limit", "100")), 1000), interval)
            return {"symbol": self.query["symbol"], "type": "crypto", "interval": interval,
                    "klines": change(rows)}  # fmt: skip
        if self.endpoint == "market/ticker":
            return [{"symbol": s, "last_price": "100.5", "bid_price": "100.4", "ask_price": "100.6",
                     "timestamp": int(time.time() * 1000)} for s in self.symbols]  # fmt: skip
        left = 20 * 86400
        return {"plan": "starter", "status": "active", "remaining_seconds": left,
                "expires_at": int(time.time()) + left}  # fmt: skip


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def each(**changed: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{k: v for k, v in (row | changed).items() if v != "gone"} for row in rows]


def words(asked: Asked) -> bytes:
    said = {"error": "Unauthorized", "message": "[1001] Invalid or expired token",
            "code": "Invalid or expired token"}  # fmt: skip
    return answer(json.dumps(said).encode(), "401 Unauthorized")


def limited(status: str = "200 OK", code: Any = 3001, data: Any = None, **headers: str) -> bytes:
    return answer(envelope(data, code, "Rate limit exceeded"), status, **headers)


def once(bad: Callable[[], bytes], quiet_seconds: float) -> Callable[[Asked], bytes]:
    """`bad` at first and for as long as it asked to be left alone; counts who did not listen."""

    def way(request: Asked) -> bytes:
        now = time.monotonic()
        since = first_seen.setdefault(request.way, now)
        if now - since > quiet_seconds:
            return answer(envelope(request.data()))
        asked[request.way + " too early"] += now > since
        return bad()

    return way


def echo(request: Asked) -> bytes:
    text = f"who is {request.key}? X-API-Key: {request.key}"
    return answer(json.dumps({"code": "5000", "message": text, "data": {"key": text}}).encode())


GOOD: dict[str, Callable[[Asked], bytes]] = {
    "documented": lambda r: answer(envelope(r.data())),
    "digits": lambda r: answer(envelope(r.data(), "0")),
    "newest_first": lambda r: answer(envelope(r.data(3, lambda rows: rows[::-1]))),
    "disorder": lambda r: answer(envelope(r.data(3, lambda rows: [rows[1], rows[0], rows[2]]))),
    "in_seconds": lambda r: answer(
        envelope(r.data(3, lambda rows: [row | {"time": row["time"] // 1000} for row in rows]))
    ),
    "one_bad_bar": lambda r: answer(
        envelope(r.data(3, lambda rows: [rows[0] | {"close": "n/a"}, *rows[1:]]))
    ),
    "gzipped": lambda r: answer(gzip.compress(envelope(r.data())), Content_Encoding="gzip"),
    "one_forming": lambda r: answer(envelope(r.data(1))),
    "numbers": lambda r: answer(envelope(r.data(3, each(open=100, high=101.5, low=99, close=100)))),
    "more_fields": lambda r: answer(envelope(r.data(3, each(vwap="1", trades=None)))),
    "wrong_kind": lambda r: answer(envelope(r.data()), Content_Type="text/plain"),
    "limit_200": once(lambda: limited(Retry_After="1"), 0.9),
    "limit_429": once(lambda: limited(BUSY, "3001", Retry_After="0.9"), 0.8),
    "limit_date": once(lambda: limited(BUSY, Retry_After=formatdate(time.time() + 2)), 0.9),
    "limit_reset": once(lambda: limited(data={"limit": 60, "reset_at": time.time() + 1.2}), 1.1),
    "server_error_once": once(lambda: answer(envelope(None, "5001", "busy")), 0.0),
}
"""Ways that bring bars."""

BAD: dict[str, tuple[str, Callable[[Asked], bytes]]] = {
    "html": ("malformed", lambda r: answer(b"<html>hi</html>", Content_Type="text/html")),
    "http_502": ("http", lambda r: answer(b"<html>", "502 Bad Gateway", Content_Type="text/html")),
    "truncated": ("malformed", lambda r: answer(envelope(r.data())[:-40])),
    "empty": ("malformed", lambda r: answer(b"")),
    "no_content": ("malformed", lambda r: b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
    "data_null": ("malformed", lambda r: answer(envelope(None))),
    "klines_null": ("malformed", lambda r: answer(envelope(r.data(3, lambda rows: None)))),
    "no_close": ("malformed", lambda r: answer(envelope(r.data(3, each(close="gone"))))),
    "close_words": ("malformed", lambda r: answer(envelope(r.data(3, each(close="n/a"))))),
    "close_list": ("malformed", lambda r: answer(envelope(r.data(3, each(close=["1"]))))),
    "time_words": ("malformed", lambda r: answer(envelope(r.data(3, each(time="10:00"))))),
    "time_of_1970": ("malformed", lambda r: answer(envelope(r.data(3, each(time=1790000))))),
    "future": ("wrong_time", lambda r: answer(envelope(
        r.data(3, lambda rows: [row | {"time": row["time"] + 4320 * MINUTE} for row in rows])))),
    "other_symbol": ("api", lambda r: answer(json.dumps(
        {"code": 0, "data": [{"symbol": "DOGEUSDT", "klines": bars(2)}]}).encode())),
    "left_out": ("api", lambda r: answer(envelope([]))),
    "key_words": ("auth", words),
    "key_number": ("auth", lambda r: answer(envelope(None, 1001, "Invalid or expired token"))),
    "no_permission": ("auth", lambda r: answer(envelope(None, "1004", "not in your plan"))),
    "parameters": ("api", lambda r: answer(envelope(None, 2001, "bad parameters"))),
    "server_error": ("api", lambda r: answer(envelope(None, 5003, "try later"), "500 Oops")),
    "quota": ("quota", lambda r: answer(envelope({"reset_at": time.time() + 600}, 3002, "Quota"))),
    "moved": ("http", lambda r: answer(b"", "302 Found", Location=f"/good/v1/?k={r.key}")),
    "moved_for_good": ("http", lambda r: answer(b"", "308 Moved", Location=f"http://x/{r.key}")),
    "echo": ("api", echo),
    "echo_status": ("http", lambda r: answer(r.key.encode(), f"503 {r.key}", X_Key=r.key)),
    "not_gzip": ("malformed", lambda r: answer(b"plain", Content_Encoding="gzip")),
    "no_http": ("malformed", lambda r: b"220 mail.example.com ESMTP\r\n"),
    "huge": ("malformed", lambda r: answer(b'{"code": 0, "data": "' + b"x" * 33_000_000 + b'"}')),
}  # fmt: skip
"""Ways that bring none, and what the exporter is to count."""


async def hang(writer: Writer, request: Asked) -> None:
    await asyncio.sleep(60)


async def stall(writer: Writer, request: Asked) -> None:
    body = envelope(request.data())
    writer.write(answer(body)[: -len(body) // 2])
    await asyncio.sleep(60)


async def reset(writer: Writer, request: Asked) -> None:
    writer.transport.abort()


async def break_off(writer: Writer, request: Asked) -> None:
    writer.write(answer(envelope(request.data()))[:-30])
    await writer.drain()


RAW: dict[str, tuple[str, Callable[[Writer, Asked], Awaitable[None]]]] = {
    "hang": ("timeout", hang),
    "stall": ("timeout", stall),
    "reset": ("connect", reset),
    "break_off": ("malformed", break_off),
}
"""Ways that answer with less than an HTTP answer."""


async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
    try:
        while line := await reader.readline():
            headers = {}
            while (text := (await reader.readline()).decode().strip()) != "":
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            target = line.decode().split(" ")[1]
            if target == "/asked":
                writer.write(answer(json.dumps(asked).encode()))
                continue
            request = Asked(target, headers)
            asked[request.way] += 1
            if request.way in RAW:
                await RAW[request.way][1](writer, request)
                return
            if request.key != KEY:
                writer.write(words(request))
                continue
            way = GOOD.get(request.way) or BAD[request.way][1]
            writer.write(way(request))
            await writer.drain()
            if request.way in ("no_http", "no_content"):
                return
    except OSError:
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
