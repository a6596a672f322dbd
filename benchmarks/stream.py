"""Last prices of 2,000 symbols by WebSocket, a message a second about each: how old they are."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import building
from benchmarks.children.market import PRICE_MODULUS
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import BenchmarkError, Client, Process, free_port

SYMBOLS = 2_000
PEER = "aiohttp, json.loads"
WITHOUT = "the same without its stream"
_PATIENCE_SECONDS = 60.0


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One after the other, each with a server of its own. A look is a scrape of everything."""
    look, looks = (1.0, 2) if quick else (15.0, 4)
    symbols = building.symbols(SYMBOLS)
    ages: dict[str, list[float]] = {}
    cores: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for who in (OURS, WITHOUT):
        place = folder / ("with" if who == OURS else "without")
        place.mkdir()
        with building.market(place) as market:
            found, used, resident = _ours(place, market, symbols, look, looks, who == OURS)
        ages[who], cores[who], memory[who] = found, [used], [resident]
    with building.market(folder) as market:
        url = f"ws{market.removeprefix('http')}/v1/realtime"
        arguments = ["-m", "benchmarks.children.plain_stream", url, str(look), str(looks)]
        with Process([*arguments, *symbols], folder / "peer.out") as process:
            said = json.loads(process.wait())
    ages[PEER], cores[PEER], memory[PEER] = said["ages"], [said["cores"]], [said["memory"]]
    figure = f"{SYMBOLS:,} messages a second about as many symbols"
    rows: list[Row] = []
    for what, share in (("age of a price, p50", 0.5), ("age of a price, p99", 0.99)):
        seen = {who: [percentile(each, share)] for who, each in ages.items() if each}
        rows += compared(figure, what, seen, "s")
    rows += compared(figure, "of a core", cores, "cores")
    return rows + compared(figure, "memory", memory, "MB")


def _ours(
    folder: Path, market: str, symbols: list[str], look: float, looks: int, stream: bool
) -> tuple[list[float], float, float]:
    port = free_port()
    feed = {
        "source": "market", "symbols": symbols, "interval": "1m", "exchange": "24/7",
        "max_overdue": {"critical": "2h"},
    }  # fmt: skip
    if stream:
        feed |= {"stream": True, "max_silence": {"critical": "5m"}}
    source = {
        "type": "simulated", "url": f"{market}/v1", "requests_per_minute": 100_000,
        "stream_subscriptions": SYMBOLS,
    }  # fmt: skip
    path = building.config(
        folder, port, market, sources={"market": source}, feeds={"live": feed}, tasks={}
    )
    ages: list[float] = []
    with (
        building.exporter(path, port) as process,
        Client(f"http://127.0.0.1:{port}/metrics") as client,
    ):
        end = time.monotonic() + _PATIENCE_SECONDS
        while stream and len(_ages(client)) < SYMBOLS:
            if time.monotonic() > end:
                raise BenchmarkError(f"{len(_ages(client))} of {SYMBOLS} symbols have a price")
            time.sleep(0.5)
        time.sleep(1.5)  # what it does once after the start is over
        began, used = time.monotonic(), process.cpu_seconds()
        for _ in range(looks):
            time.sleep(look)
            ages += _ages(client)
        cores = (process.cpu_seconds() - used) / (time.monotonic() - began)
        return ages, cores, process.resident_mb()


def _ages(client: Client) -> list[float]:
    body = client.get().body
    now = time.time() % PRICE_MODULUS
    prices = (
        float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith("quant_stream_last_price{")
    )
    return [now - price for price in prices if price == price]  # NaN: none came yet
