"""``python -m benchmarks.children.plain_stream URL SECONDS LOOKS SYMBOLS…``: what a script does.

It parses each message with json.loads and keeps the newest price of each symbol. At each look it
notes how old these are; it prints the ages, and the processor time from the first look to the last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp

from benchmarks.children.market import PRICE_MODULUS
from benchmarks.processes import own_peak_mb


async def main(url: str, look_seconds: float, looks: int, symbols: list[str]) -> None:
    """Read until the last look."""
    newest: dict[str, float] = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        order = {"cmd": "subscribe", "data": {"channel": "ticker", "symbols": symbols}}
        await socket.send_str(json.dumps(order))
        reading = asyncio.create_task(_read(socket, newest))
        while len(newest) < len(symbols):
            await asyncio.sleep(0.1)
        used, began = time.process_time(), time.monotonic()
        ages: list[float] = []
        for _ in range(looks):
            await asyncio.sleep(look_seconds)
            now = time.time() % PRICE_MODULUS
            ages += [now - price for price in newest.values()]
        reading.cancel()
    cores = (time.process_time() - used) / (time.monotonic() - began)
    memory = own_peak_mb()
    print(json.dumps({"ages": ages, "cores": cores, "memory": memory}))


async def _read(socket: aiohttp.ClientWebSocketResponse, newest: dict[str, float]) -> None:
    async for message in socket:
        data = json.loads(message.data)["data"]
        newest[data["symbol"]] = float(data["last_price"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
