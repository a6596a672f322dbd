"""``python -m benchmarks.children.log_calls WHO FOLDER CALLS PER_SECOND``: calls on an event loop.

WHO is ``ours``; ``file``: the standard library's FileHandler with python-json-logger; or ``queue``:
the same behind its QueueHandler. With 0 per second: as fast as it goes. Prints JSON: the seconds of
all calls until the last one and until all lines are in the file, of the processor meanwhile, and of
each call in µs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import os
import queue
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from pythonjsonlogger.json import JsonFormatter

from exporter.config import Logs
from exporter.logs.log_context import fields
from exporter.logs.setup import Logging
from exporter.metrics import Metrics
from exporter.runtime import gc_tuning as interpreter
from exporter.util.clock import SystemClock

_BURST = 20
"""Calls one after the other, as a task makes them."""

log = logging.getLogger("my_signals")


def main(who: str, folder: Path, calls: int, per_second: float) -> None:
    """Set up, call, stop, tell."""
    lost: Callable[[], float] = lambda: 0.0  # noqa: E731 - the library does not count
    if who == "ours":
        registry = CollectorRegistry()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        ours = Logging(
            Logs(directory=folder), "UTC", SystemClock(), Metrics(registry), terminal_fd=nowhere
        )
        ours.start()

        def stop() -> None:
            while registry.get_sample_value("quant_log_queue_bytes"):
                time.sleep(0.01)

        lost = lambda: registry.get_sample_value("quant_log_dropped_total") or 0.0  # noqa: E731
    else:
        stop = _library(folder / "library.jsonl", queued=who == "queue")
    interpreter.settle()
    took = array("d")
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_call(took, calls, per_second))
    called = time.perf_counter() - began
    stop()
    written, cpu = time.perf_counter() - began, time.process_time() - cpu
    if who == "ours":
        ours.stop(60)
    found = {"called": called, "written": written, "cpu": cpu, "lost": lost()}
    json.dump({**found, "each": sorted(took)}, sys.stdout)


def _library(path: Path, *, queued: bool) -> Callable[[], None]:
    handler: logging.Handler = logging.FileHandler(path)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}", style="{",
            rename_fields={"asctime": "timestamp", "levelname": "level", "name": "logger"},
        )
    )  # fmt: skip
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    if not queued:
        root.addHandler(handler)
        return handler.close
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    root.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    return listener.stop


async def _call(took: array[float], calls: int, per_second: float) -> None:
    loop = asyncio.get_running_loop()
    clock = time.perf_counter
    began = loop.time()
    with fields(task="signals", run_id="01a210d89d4d-b960d9ee"):
        for number in range(0, calls, _BURST):
            for each in range(number, number + _BURST):
                before = clock()
                log.info(
                    "took %d bars, newest at %.2f", each, 181.53,
                    extra={"event": "bars_taken", "symbol": "NVDA.US", "duration_seconds": 0.0123},
                )  # fmt: skip
                took.append((clock() - before) * 1e6)
            ahead = number / per_second - (loop.time() - began) if per_second else 0.0
            await asyncio.sleep(max(ahead, 0.0))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
