"""How cost grows from the planned size to ten times that: start, scrape, page, memory, CPU."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import building
from benchmarks.figures import OURS, Row, percentile
from benchmarks.processes import Client, free_port
from benchmarks.scrape import ACCEPT

SIZES = ((200, 500), (600, 1500), (2000, 5000))
"""Tasks and symbols: about 10 000, 30 000 and 100 000 series."""
_FEED = 500
_IDLE_SECONDS = 60.0


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One process a size."""
    rows: list[Row] = []
    for tasks, symbols in SIZES[:1] if quick else SIZES:
        place = folder / str(tasks)
        place.mkdir()
        rows += _measure(place, tasks, symbols, 5.0 if quick else _IDLE_SECONDS)
    return rows


def _measure(folder: Path, tasks: int, symbols: int, idle: float) -> list[Row]:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    found: list[tuple[str, float, str]] = []
    with building.market(folder) as market:
        path = building.config(folder, port, market, **_setup(tasks, symbols))
        began = time.monotonic()
        with building.exporter(path, port) as process:
            found.append(("start to ready", time.monotonic() - began, "s"))
            time.sleep(5)  # the first poll is over
            with Client(f"{base}/metrics", Accept=ACCEPT) as client:
                lines = client.get().body.splitlines()
            series = sum(not line.startswith(b"#") for line in lines)
            for name, address, encoding in (
                ("/metrics, plain", "/metrics", "identity"),
                ("/metrics, gzip", "/metrics", "gzip"),
                ("status page", "/", "gzip"),
                ("a task's page", "/tasks/task_0001", "gzip"),
            ):
                with Client(base + address, Accept=ACCEPT, Accept_Encoding=encoding) as client:
                    client.get()
                    times = [client.get().seconds * 1000 for _ in range(20)]
                found.append((f"{name}, p50", percentile(times, 0.5), "ms"))
            before = process.family_cpu_seconds()
            time.sleep(idle)
            used = process.family_cpu_seconds() - before
            found.append(("CPU, no slot due, feeds polled each minute", 100 * used / idle, "%"))
            found.append(("PSS, helper and workers included", process.family_pss_mb(), "MB"))
    figure = f"{tasks:,} tasks, {symbols:,} symbols, {series:,} series"
    return [Row(figure, what, OURS, value, unit) for what, value, unit in found]


def _setup(tasks: int, symbols: int) -> dict[str, Any]:
    names = building.symbols(symbols)
    feeds = {}
    for first in range(0, symbols, _FEED):
        feeds[f"coins_{first // _FEED:02d}"] = {
            **building.feed(), "symbols": names[first : first + _FEED]
        }  # fmt: skip
    return {
        "feeds": feeds,
        "tasks": {
            f"task_{number:04d}": {"run": "bench:look", "schedule": "03:00 Asia/Tokyo"}
            for number in range(tasks)
        },
    }
