"""How late slots fire: 200 tasks, one of them burning a core, and /metrics under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import building
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import (
    PATIENCE_SECONDS,
    BenchmarkError,
    Client,
    Process,
    free_port,
    pace,
)
from benchmarks.scrape import ACCEPT

PEER = "plain APScheduler"
AIM_MS = 50.0
INTERVALS = tuple(10.0 + number for number in range(building.TASKS - 1))
"""Seconds; each task has its own, so that now and then a dozen fall due in the same moment."""
TOGETHER_EVERY = 10.0
"""Seconds; where all fall due in the same moment."""
SERIES = 9_800
_QUICK = tuple(1.0 + number % 10 for number in range(len(INTERVALS)))
_SCRAPE_EVERY_SECONDS = 1.0
_SETTLE_SECONDS = 1.5


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Rounds alternate. A start counts when the task's first line runs."""
    rounds, seconds = (1, 3.0) if quick else (2, 30.0)
    rows: list[Row] = []
    with building.market(folder) as market:
        found = _rounds(folder / "apart", market, _QUICK if quick else INTERVALS, rounds, seconds)
        figure = f"{building.TASKS} tasks of different intervals, a busy core, a scrape a second"
        for what, share, aim in (("late by, p50", 0.5, None), ("late by, p99", 0.99, AIM_MS)):
            # All rounds together: one has too few starts for a p99 of its own.
            values = {who: [percentile(late, share)] for who, late in found.items()}
            rows += compared(figure, what, values, "ms", aim=aim)
        every = 2.0 if quick else TOGETHER_EVERY
        together = [every] * len(INTERVALS)
        found = _rounds(folder / "together", market, together, 1, every if quick else 3 * every)
        figure = f"{building.TASKS} tasks in the same moment, the same load"
        values = {who: [percentile(late, 0.5)] for who, late in found.items()}
        rows += compared(figure, "late by, p50", values, "ms")
    return rows


def _rounds(
    folder: Path, market: str, intervals: Sequence[float], rounds: int, seconds: float
) -> dict[str, list[float]]:
    folder.mkdir()
    late: dict[str, list[float]] = {OURS: [], PEER: []}
    for number in range(rounds):
        late[OURS] += _ours(folder / f"ours-{number}", market, intervals, seconds)
        late[PEER] += _peer(folder / f"peer-{number}", intervals, seconds)
    return late


def _ours(folder: Path, market: str, intervals: Sequence[float], seconds: float) -> list[float]:
    port = free_port()
    every = {
        f"task_{number:03d}": {"run": "bench:look", "schedule": f"every {interval:.0f}s"}
        for number, interval in enumerate(intervals)
    }
    burns = {"run": "bench:burn", "schedule": "00:00", "timeout": "1h"}
    path = building.config(
        folder, port, market, feeds={"coins": building.feed()}, tasks={**every, "burn": burns}
    )
    with building.exporter(path, port):
        building.post(folder, port, "/api/v1/tasks/burn/run")
        return _measure(folder, f"http://127.0.0.1:{port}/metrics", seconds)


def _peer(folder: Path, intervals: Sequence[float], seconds: float) -> list[float]:
    port = free_port()
    folder.mkdir()
    arguments = ["-m", "benchmarks.children.plain_scheduler", str(port), str(SERIES)]
    with Process([*arguments, *map(str, intervals)], folder / "peer.out") as process:
        process.wait_for(f"http://127.0.0.1:{port}/-/ready")
        return _measure(folder, f"http://127.0.0.1:{port}/metrics", seconds)


def _measure(folder: Path, url: str, seconds: float) -> list[float]:
    """Milliseconds from slot to start of everything that fell due in a stretch of time."""
    with scraped(url):
        time.sleep(_SETTLE_SECONDS)
        return stretch(folder / "starts", seconds, _SETTLE_SECONDS)


def stretch(starts: Path, seconds: float, settle: float) -> list[float]:
    """Milliseconds from slot to start of what falls due from now on, for so many seconds, or until
    the first start on a machine that is busy with other things. Raises :class:`BenchmarkError`."""
    began = time.time()
    time.sleep(seconds)
    while not _late(starts, began, time.time()):
        if time.time() > began + seconds + PATIENCE_SECONDS:
            raise BenchmarkError("no slot fired")
        time.sleep(0.01)
    ended = time.time()
    time.sleep(settle)  # what fell due in the end may still start
    return _late(starts, began, ended)


def _late(starts: Path, began: float, ended: float) -> list[float]:
    if not starts.exists():
        return []
    # A line without its end is being written.
    whole = [line for line in starts.read_text().splitlines(keepends=True) if line.endswith("\n")]
    found = (tuple(map(float, line.split())) for line in whole)
    return [(start - slot) * 1000 for slot, start in found if began <= slot < ended]


@contextmanager
def scraped(url: str) -> Iterator[list[float]]:
    """Scrape again and again during the block; the milliseconds of each scrape so far."""
    done = threading.Event()
    times: list[float] = []

    def scrape() -> None:
        with Client(url, Accept=ACCEPT, Accept_Encoding="gzip") as client:
            while not done.is_set():
                with pace(_SCRAPE_EVERY_SECONDS):
                    times.append(client.get().seconds * 1000)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()
