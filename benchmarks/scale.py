"""How cost grows from the planned size to ten times that: with everything, with tasks alone, and
with symbols alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import building
from benchmarks.figures import OURS, Row, percentile
from benchmarks.processes import Client, free_port
from benchmarks.scrape import ACCEPT

_FEED = 500
_FEW_TASKS, _FEW_SYMBOLS = 20, 50


@dataclass(frozen=True)
class _Growth:
    """What grows in one curve."""

    of: str
    sizes: tuple[tuple[int, int], ...]
    """Tasks and symbols."""
    work: str
    """What uses CPU while it is measured."""
    poll: str = "60s"
    schedule: str = "03:00 Asia/Tokyo"
    seconds: float = 20.0


GROWTHS = (
    _Growth(
        "series", ((200, 500), (600, 1500), (2000, 5000)),
        "no slot due, feeds polled each minute", seconds=60.0,
    ),
    _Growth(
        "tasks", tuple((number, _FEW_SYMBOLS) for number in (200, 600, 2000)),
        "each task once in 20 s", schedule="every 20s",
    ),
    _Growth(
        "symbols", tuple((_FEW_TASKS, number) for number in (500, 1500, 5000)),
        "feeds polled each 20 s", poll="20s",
    ),
)  # fmt: skip
"""The first: about 10 000, 30 000 and 100 000 series."""


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One process a size."""
    rows: list[Row] = []
    for growth in GROWTHS[:1] if quick else GROWTHS:
        for tasks, symbols in growth.sizes[:1] if quick else growth.sizes:
            place = folder / f"{growth.of}-{tasks}-{symbols}"
            place.mkdir()
            rows += _measure(place, growth, tasks, symbols, 5.0 if quick else growth.seconds)
    return rows


def _measure(folder: Path, growth: _Growth, tasks: int, symbols: int, seconds: float) -> list[Row]:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    found: list[tuple[str, float, str]] = []
    with building.market(folder) as market:
        path = building.config(folder, port, market, **_setup(growth, tasks, symbols))
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
            time.sleep(seconds)
            used = process.family_cpu_seconds() - before
            found.append((f"CPU, {growth.work}", 100 * used / seconds, "%"))
            found.append(("memory, helper and workers included", process.family_pss_mb(), "MB"))
    figure = f"{tasks:,} tasks, {symbols:,} symbols, {series:,} series"
    size = {"series": series, "tasks": tasks, "symbols": symbols}[growth.of]
    return [
        Row(figure, what, OURS, value, unit, at=(size, growth.of)) for what, value, unit in found
    ]


def _setup(growth: _Growth, tasks: int, symbols: int) -> dict[str, Any]:
    names = building.symbols(symbols)
    feeds = {}
    for first in range(0, symbols, _FEED):
        feeds[f"coins_{first // _FEED:02d}"] = {
            **building.feed(poll=growth.poll), "symbols": names[first : first + _FEED]
        }  # fmt: skip
    return {
        "feeds": feeds,
        "tasks": {
            f"task_{number:04d}": {"run": "bench:look", "schedule": growth.schedule}
            for number in range(tasks)
        },
    }
