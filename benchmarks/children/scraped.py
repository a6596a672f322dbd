"""``python -m benchmarks.children.scraped CONFIG AIOHTTP_PORT HTTP_PORT``: one registry thrice.

The exporter runs on CONFIG; beside it, in the same process, prometheus-client's own two servers
expose the same registry: its aiohttp handler on the same loop, and start_http_server on a thread.
``/stood-still`` on the aiohttp port tells the longest time, in seconds, for which the loop did
nothing since it was asked last.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from aiohttp import web
from prometheus_client import start_http_server
from prometheus_client.aiohttp import make_aiohttp_handler

from exporter.app import App
from exporter.config import load
from exporter.runtime import gc_tuning as interpreter
from exporter.util.clock import SystemClock

_STEP_SECONDS = 0.001


class Watch:
    """Notes by how much a short sleep is overslept."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_STEP_SECONDS)
            self._worst = max(self._worst, loop.time() - before - _STEP_SECONDS)

    async def tell(self, request: web.Request) -> web.Response:
        """The worst since the last question."""
        worst, self._worst = self._worst, 0.0
        return web.Response(text=repr(worst))


async def main(path: Path, aiohttp_port: int, http_port: int) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        exporter = App(path, load(path), SystemClock())
        await exporter.start(stack)
        interpreter.settle()
        watch = Watch()
        watching = asyncio.create_task(watch.run())
        stack.callback(watching.cancel)
        app = web.Application()
        app.router.add_get("/metrics", make_aiohttp_handler(exporter.registry))
        app.router.add_get("/stood-still", watch.tell)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", aiohttp_port).start()
        server, _ = start_http_server(http_port, "127.0.0.1", exporter.registry)
        stack.callback(server.shutdown)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
