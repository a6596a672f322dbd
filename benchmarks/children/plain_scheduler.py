"""``python -m benchmarks.children.plain_scheduler PORT SERIES INTERVAL…``: APScheduler as it comes.

One coroutine an interval (seconds) on an AsyncIOScheduler, a CPU-bound function in its default
executor, and prometheus-client's aiohttp handler with so many series on the same loop. Each start
is a line in ``starts``: its slot and its moment, as the exporter's task writes it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.aiohttp import make_aiohttp_handler

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""All intervals are counted from here."""


async def look(interval: float) -> None:
    """What the exporter's task does, too."""
    began = time.time()
    with Path("starts").open("a") as out:
        out.write(f"{MIDNIGHT + (began - MIDNIGHT) // interval * interval!r} {began!r}\n")


def burn() -> None:
    """Busy for as long as anybody measures."""
    while True:
        sum(range(10_000))


async def main(port: int, series: int, intervals: list[float]) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = CollectorRegistry()
    gauge = Gauge("quant_data_close_price", "Close.", ("feed", "symbol"), registry=registry)
    for number in range(series):
        gauge.labels("coins", f"C{number:05d}USDT").set(number * 1.01)
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    app.router.add_get("/-/ready", lambda request: _ready())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    scheduler = AsyncIOScheduler(timezone=UTC)
    start = datetime.fromtimestamp(MIDNIGHT, UTC)
    for interval in intervals:
        trigger = IntervalTrigger(seconds=interval, start_date=start)
        scheduler.add_job(look, trigger, args=[interval])
    scheduler.add_job(burn)
    scheduler.start()
    await stop.wait()
    os._exit(0)  # the busy thread never ends, and asyncio would wait for it


async def _ready() -> web.Response:
    return web.Response(text="ready\n")


if __name__ == "__main__":
    port, series, *intervals = sys.argv[1:]
    asyncio.run(main(int(port), int(series), [float(each) for each in intervals]))
