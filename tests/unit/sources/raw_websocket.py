"""A WebSocket server of which each byte is the test's, and a client of the exporter's on it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.realtime import Realtime
from exporter.sources.realtime_messages import Tick
from tests.unit.clocks import ManualClock

KEY = "sk-S3cret/Key+42"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(
    payload: bytes | str, opcode: int = 1, *, last: bool = True, packed: bool = False
) -> bytes:
    """A server's frame (RFC 6455, 5.2)."""
    body = payload.encode() if isinstance(payload, str) else payload
    first = bytes([(0x80 if last else 0) | (0x40 if packed else 0) | opcode])
    if len(body) < 126:
        return first + bytes([len(body)]) + body
    if len(body) < 65_536:
        return first + b"\x7e" + len(body).to_bytes(2, "big") + body
    return first + b"\x7f" + len(body).to_bytes(8, "big") + body


def close_frame(code: int, words: str = "") -> bytes:
    """The end of a connection, with its reason."""
    return frame(code.to_bytes(2, "big") + words.encode(), 8)


def answer_to(head: bytes) -> bytes:
    """The answer that opens a WebSocket."""
    key = next(
        line.split(b": ")[1]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def speaks(*frames: bytes, then: Script | None = None) -> Script:
    """Opens the WebSocket, sends these frames, and goes on reading, or as `then` does."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_to(await reader.readuntil(b"\r\n\r\n")) + b"".join(frames))
        await writer.drain()
        await (then or read_on)(reader, writer)

    return script


def says(head: str, body: str = "") -> Script:
    """Answers the first request with this HTTP."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        writer.write(text.encode())
        await writer.drain()

    return script


async def read_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client ends; answers nothing."""
    while await reader.read(65_536):
        pass


@asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that treats each connection as the script says; its port."""
    at_work: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(reader, writer)
        at_work.discard(task)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for task in [*at_work]:
            task.cancel()
        server.close()
        await asyncio.sleep(0)


class StreamClient:
    """The exporter's client on a clock that stands still, and what it made of it all."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics(CollectorRegistry())
        self.ticks: list[Tick] = []
        self.paused: list[float] = []
        self.settings = TickDBSettings(type="simulated", **settings)

    async def _sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        await asyncio.sleep(0.01)

    @asynccontextmanager
    async def listening(
        self, url: str, wanted: Mapping[str, tuple[str, ...]] | None = None, key: str = KEY
    ) -> AsyncIterator[Realtime]:
        """Until the block ends, which also ends the connection."""
        made = Realtime(
            "t", self.settings, Key(key), self.metrics, self.clock, url=url,
            wanted=wanted or {"ticker": SYMBOLS}, on_tick=self.ticks.append, sleep=self._sleep,
            rng=random.Random(1),
        )  # fmt: skip
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            assert not running.done(), "a stream never ends by itself"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def message(
        self, symbol: str = "BTCUSDT", price: str = "1.5", *, at: float = 0.0, cmd: str = "ticker"
    ) -> bytes:
        """A frame with one message, stamped so long after now."""
        stamp = int((self.clock.now() + at) * 1000)
        name = "last_price" if cmd == "ticker" else "price"
        data = {"symbol": symbol, name: price, "timestamp": stamp}
        return frame(json.dumps({"cmd": cmd, "data": data}))

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait, a few seconds at most."""
        for _ in range(500):
            if met():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not happen; failures: {self.failures()}")

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 for none."""
        return self.metrics.registry.get_sample_value(name, {"source": "t", **labels}) or 0.0

    def failures(self, name: str = "quant_stream_failures_total") -> dict[str, float]:
        """By reason, those above 0."""
        return {
            sample.labels["reason"]: sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name and sample.value
        }
