"""500 symbols from a server that takes 50 ms: our sweep, one request after another, the ideal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from benchmarks import building
from benchmarks.figures import OURS, Row, compared
from benchmarks.processes import BenchmarkError, Client
from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.tickdb import BATCH_SYMBOLS, TickDB
from exporter.util.clock import SystemClock

LATENCY_SECONDS = 0.05
BUDGET_PER_MINUTE = 600


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Each round has a client of its own, so a full budget, as after a quiet minute."""
    symbols = building.symbols(60 if quick else building.SYMBOLS)
    with building.market(folder, LATENCY_SECONDS) as market:
        return asyncio.run(_run(market, symbols, rounds=2 if quick else 5))


async def _run(market: str, symbols: list[str], rounds: int) -> list[Row]:
    ours, singles, batches, needed = [], [], [], 0
    for number in range(rounds):
        before = _requests(market)
        ours.append(await _sweep(market, symbols))
        needed = _requests(market) - before
        batches.append(await _in_turn(market, symbols, BATCH_SYMBOLS))
        if not number:  # half a minute of nothing but latency: once is enough
            singles.append(await _in_turn(market, symbols, 1))
    ideal = needed / BUDGET_PER_MINUTE * 60
    figure = f"newest bars of {len(symbols)} symbols, {LATENCY_SECONDS * 1000:.0f} ms latency"
    found: dict[str, Sequence[float]] = {
        OURS: ours,
        f"ideal: {needed} requests / {BUDGET_PER_MINUTE} a minute": [ideal],
        "requests of 50 symbols in turn": batches,
        "one request after another": singles,
    }
    return compared(figure, "median of a sweep", found, "s")


async def _sweep(market: str, symbols: list[str]) -> float:
    settings = TickDBSettings.model_validate(
        {"type": "simulated", "url": market, "requests_per_minute": BUDGET_PER_MINUTE}
    )
    source = TickDB(
        "market", settings, Key("simulated"), Metrics(CollectorRegistry()), SystemClock(),
        url=f"{market}/v1",
    )  # fmt: skip
    try:
        began = time.perf_counter()
        answer = await source.latest(symbols, "1m")
        seconds = time.perf_counter() - began
    finally:
        await source.close()
    if len(answer.good) != len(symbols):
        raise BenchmarkError(f"{len(answer.bad)} symbols have no bars: {answer.bad}")
    return seconds


async def _in_turn(market: str, symbols: list[str], each: int) -> float:
    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        for first in range(0, len(symbols), each):
            query = {"symbols": ",".join(symbols[first : first + each]), "interval": "1m"}
            url = f"{market}/v1/market/kline/latest"
            async with session.get(url, params=query) as answer:
                for series in json.loads(await answer.read())["data"]:
                    float(series["klines"][-1]["close"])
        return time.perf_counter() - began


def _requests(market: str) -> int:
    with Client(f"{market}/requests") as client:
        return int(client.get().body)
