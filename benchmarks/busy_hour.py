"""An hour of the largest setup in a minute: 200 tasks, 500 symbols, and everything else turned on.

Every task runs twelve times, as with `every 5m`; the feed is polled 60 times, Prometheus scrapes
240 times, somebody looks at the page every 30 seconds. Then: memory, and how long page and
scrape take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import building
from benchmarks.figures import OURS, Row, percentile
from benchmarks.processes import Client, Process, free_port, pace
from benchmarks.scrape import ACCEPT

SPEED = 60
MINUTES = 60
"""Of the hour that is replayed."""
AIM_MB = 120.0
_PLAIN, _COMMANDS = 20, 5


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One replay: what is measured is a level that memory has reached, not a time."""
    minutes = 3 if quick else MINUTES
    port = free_port()
    with building.market(folder) as market:
        path = building.config(folder, port, market, **_everything(folder))
        with building.exporter(path, port) as process:
            at_start = process.resident_mb()
            _replay(process, port, minutes)
            resident, most = process.resident_mb(), process.resident_mb("VmHWM")
            page = _times(f"http://127.0.0.1:{port}/", 10 if quick else 40)
            metrics = _times(f"http://127.0.0.1:{port}/metrics", 10 if quick else 40)
    figure = f"{building.TASKS} tasks, {building.SYMBOLS} symbols, all on"
    after = f"resident after {minutes} minutes' work"
    rows = [
        Row(figure, "resident when ready", OURS, at_start, "MB"),
        Row(figure, after, OURS, resident, "MB", aim=AIM_MB),
        Row(figure, "the most it was", OURS, most, "MB"),
    ]
    for name, times in (("status page", page), ("/metrics, gzip", metrics)):
        for what, share in (("p50", 0.5), ("p95", 0.95)):
            rows.append(Row(figure, f"{name}, {what}", OURS, percentile(times, share), "ms"))
    return rows


def _everything(folder: Path) -> dict[str, Any]:
    every = {"schedule": f"every {300 // SPEED}s"}
    tasks: dict[str, Any] = {}
    for number in range(building.TASKS):
        if number < _COMMANDS:
            does: dict[str, Any] = {"command": ["true"]}
        elif number < _COMMANDS + _PLAIN:
            does = {"run": "bench:add_up"}
        else:
            does = {"run": "bench:look"}
        tasks[f"task_{number:03d}"] = {**does, **every}
    equity = folder / "equity.csv"
    equity.write_text("timestamp,equity\n2026-01-02T21:00:00Z,100000\n2026-01-05T21:00:00Z,99000\n")
    other = folder / "other.log"
    other.write_text("")
    return {
        "tasks": tasks,
        "feeds": {"coins": building.feed(poll=f"{60 // SPEED}s")},
        "strategies": {
            f"momentum_{number:03d}": {
                "equity_file": str(equity), "currency": "USD", "max_age": "1d",
                "max_drawdown": {"warning": "5%", "critical": "10%"},
            }
            for number in range(5)
        },
        "logs": {
            "follow": {
                "other": {"path": str(other), "format": "text", "patterns": {"failed": "failed"}}
            }
        },
    }  # fmt: skip


def _replay(process: Process, port: int, minutes: int) -> None:
    scrape = Client(f"http://127.0.0.1:{port}/metrics", Accept=ACCEPT, Accept_Encoding="gzip")
    page = Client(f"http://127.0.0.1:{port}/")
    end = time.monotonic() + minutes * 60 / SPEED
    count = 0
    with scrape, page:
        while time.monotonic() < end and process.running:
            with pace(15 / SPEED):
                scrape.get()
                if count % 2 == 0:
                    page.get()
                count += 1


def _times(url: str, count: int) -> list[float]:
    with Client(url, Accept=ACCEPT, Accept_Encoding="gzip") as client:
        client.get()
        return [client.get().seconds * 1000 for _ in range(count)]
