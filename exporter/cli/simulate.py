"""``quant-exporter simulate``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from datetime import datetime
from pathlib import Path

from exporter.calendars.loader import Calendars
from exporter.cli.with_config import complain
from exporter.simulator.clocks import MovedClock
from exporter.simulator.tickdb_server import serve
from exporter.util.clock import Clock, SystemClock
from exporter.web.server import cannot_listen


def simulate(
    listen: str, *, seed: int, key: str, requests_per_minute: int, now: str | None, speed: float
) -> int:
    """Run a simulated TickDB until Ctrl-C."""

    host, _, port = listen.rpartition(":")
    clock: Clock = SystemClock()
    try:
        start = datetime.fromisoformat(now).timestamp() if now else clock.now()
        if not port.isdigit() or speed <= 0:
            raise ValueError("--listen is host:port, --speed is above 0")
    except ValueError as error:
        complain(error)
        return 2
    if now or speed != 1:
        clock = MovedClock(clock, start, speed)

    def started(url: str) -> None:
        print(f"TickDB is simulated at {url}, faults at {url[:-3]}/control/faults", flush=True)

    async def run() -> None:
        if me := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        with tempfile.TemporaryDirectory() as cache, contextlib.suppress(asyncio.CancelledError):
            await serve(
                host, int(port), calendars=Calendars(Path(cache), {}, clock), clock=clock,
                seed=seed, api_key=key, requests_per_minute=requests_per_minute, started=started,
            )  # fmt: skip

    try:
        asyncio.run(run())
    except OSError as error:
        complain(cannot_listen(listen, error))
        return 1
    return 0
