"""TickDB's WebSocket against the simulator's, which drops, stalls, repeats and lies on command."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendars
from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.simulator.tickdb_server import Simulator
from exporter.sources import realtime
from exporter.sources.api_key import Key
from exporter.sources.realtime import Realtime, stream_url
from exporter.sources.realtime_messages import Tick
from tests.unit.clocks import ManualClock

KEY = "sk-S3cret/Key+42"
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Listening:
    """A simulator with quick messages, and one client of it."""

    def __init__(self, tmp_path: Path, **more: Any) -> None:
        self.clock = ManualClock(1_790_000_000.0)
        self.simulator = Simulator(
            Calendars(tmp_path, {}, self.clock), self.clock, api_key=KEY, stream_every=0.01, **more
        )
        self.metrics = Metrics(CollectorRegistry())
        self.ticks: list[Tick] = []
        self.paused: list[float] = []

    async def _sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        await asyncio.sleep(0.01)

    @asynccontextmanager
    async def client(self, key: str = KEY) -> AsyncIterator[Realtime]:
        """Connected, and time goes on a second with each look."""
        url = await self.simulator.start()
        settings = TickDBSettings(type="simulated")
        made = Realtime(
            "t", settings, Key(key), self.metrics, self.clock, url=url,
            wanted={"ticker": SYMBOLS}, on_tick=self.ticks.append, sleep=self._sleep,
            rng=random.Random(1),
        )  # fmt: skip
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.simulator.close()

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait, at most a few seconds, while the clock goes on."""
        for _ in range(300):
            if met():
                return
            self.clock.advance(1)
            await asyncio.sleep(0.01)
        raise AssertionError("it did not happen")

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"source": "t", **labels}) or 0.0

    def bad(self, reason: str) -> float:
        return self.value("quant_stream_bad_messages_total", reason=reason)

    def failed(self, reason: str) -> float:
        return self.value("quant_stream_failures_total", reason=reason)


async def test_last_prices_come_as_they_are_made(tmp_path: Path) -> None:
    """Of each symbol, counted by channel; the connection is kept by pings."""
    listening = Listening(tmp_path)
    async with listening.client() as client:
        await listening.until(lambda: {t.symbol for t in listening.ticks} == set(SYMBOLS))
        assert client.connected
    tick = listening.ticks[-1]
    assert tick.price > 0
    assert tick.at <= listening.clock.now()
    assert listening.value("quant_stream_messages_total", channel="ticker") >= 2
    assert listening.value("quant_stream_connections_total") == 1


BROKEN = {
    "stream_drop": lambda it: it.failed("connect") >= 2,
    "stream_half": lambda it: it.failed("connect") >= 2,
    "stream_huge": lambda it: it.failed("malformed") + it.failed("connect") >= 2,
    "stream_refuse": lambda it: it.failed("http") >= 2,
    "stream_garbage": lambda it: it.bad("malformed") >= 2,
    "stream_old": lambda it: it.bad("old") >= 2,
    "stream_repeat": lambda it: it.bad("old") >= 2,
    "stream_future": lambda it: it.bad("wrong_time") >= 2,
    "stream_unknown": lambda it: it.bad("unknown_symbol") >= 2,
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_is_odd_is_counted_and_is_no_price_and_it_goes_on_afterwards(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is in no line, whatever happens."""
    caplog.set_level(logging.DEBUG)
    listening = Listening(tmp_path)
    listening.simulator.faults.add({"fault": fault})
    async with listening.client():
        await listening.until(lambda: BROKEN[fault](listening))
        fresh = len(listening.ticks)
        if fault not in ("stream_drop", "stream_repeat"):
            assert fresh == 0
        listening.simulator.faults.remove()
        await listening.until(lambda: len(listening.ticks) > fresh + 2)
    lines = [r for r in caplog.records if r.name.startswith("exporter")]
    assert lines or fault == "stream_repeat"
    assert not any(KEY in str(r.getMessage()) or KEY in repr(r.__dict__) for r in lines)


async def test_a_stream_that_stalls_is_connected_and_brings_nothing(tmp_path: Path) -> None:
    """Which is why nobody relies on the connection."""
    listening = Listening(tmp_path)
    listening.simulator.faults.add({"fault": "stream_stall"})
    async with listening.client() as client:
        await listening.until(lambda: client.connected)
        await asyncio.sleep(0.05)
        assert client.connected
        assert listening.ticks == []


async def test_a_connection_on_which_nothing_at_all_comes_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even answers to pings."""
    monkeypatch.setattr(realtime, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(realtime, "PING_SECONDS", 60.0)
    listening = Listening(tmp_path)
    listening.simulator.faults.add({"fault": "stream_stall"})
    async with listening.client():
        await listening.until(lambda: listening.failed("timeout") >= 1)


async def test_a_refused_key_is_tried_again_after_a_minute_and_pauses_grow(
    tmp_path: Path,
) -> None:
    """A wrong key will be wrong a second later, too."""
    listening = Listening(tmp_path)
    async with listening.client("sk-wrong-key-000"):
        await listening.until(lambda: listening.failed("auth") >= 2)
    assert min(listening.paused) >= 60
    listening = Listening(tmp_path)
    listening.simulator.faults.add({"fault": "stream_refuse"})
    async with listening.client():
        await listening.until(lambda: listening.failed("http") >= 5)
    assert listening.paused[0] <= 1 < 4 < listening.paused[4]


async def test_too_many_subscriptions_for_the_plan_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the server says it."""
    listening = Listening(tmp_path, stream_subscriptions=1)
    async with listening.client():
        await listening.until(lambda: listening.failed("auth") >= 1)
    assert "the source answered 1004: Too many subscriptions" in caplog.text


def test_the_address_is_next_to_the_api_and_has_no_key() -> None:
    """Unless `stream_url` names another."""
    settings = TickDBSettings(type="simulated")
    assert stream_url(settings, "https://api.tickdb.ai/v1") == "wss://api.tickdb.ai/v1/realtime"
    other = TickDBSettings(type="simulated", stream_url="wss://x.example/live")
    assert stream_url(other, "https://api.tickdb.ai/v1") == "wss://x.example/live"
