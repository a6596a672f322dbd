"""What a log call costs the event loop while the disk is slow, and how many lines go through.

The slow disk is a named pipe in the file's place, whose other end takes a quarter of a megabyte a
second: a write to it really blocks.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import BenchmarkError, Process

LIBRARY, QUEUED = "logging.FileHandler", "logging.QueueHandler"
WHO = {OURS: "ours", LIBRARY: "file", QUEUED: "queue"}
CALLS_PER_SECOND = 2_000
LINES_PER_SECOND = 100_000
CURVE = (1_000, 5_000, 25_000)
"""Lines a second, on a disk that is not slow."""
_DISK_BYTES, _DISK_SECONDS = 64 << 10, 0.25


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Rounds alternate between the three; each is a process of its own."""
    rounds, seconds = (1, 1) if quick else (3, 4)
    calls = CALLS_PER_SECOND * seconds
    each: dict[str, list[list[float]]] = {who: [] for who in WHO}
    rate: dict[str, list[float]] = {who: [] for who in WHO}
    for number in range(rounds):
        for who, word in WHO.items():
            place = folder / f"{word}-{number}"
            found = _slow(place, word, calls, seconds)
            each[who].append(found["each"])
            fast = place / "fast"
            fast.mkdir()
            found = _run(fast, ["log_calls", word, str(fast), str(20_000 * seconds), "0"])
            _check(fast, 20_000 * seconds, found["lost"])
            rate[who].append(20_000 * seconds / found["written"])
    figure = f"a log call, {CALLS_PER_SECOND:,} a second, disk takes 0.25 MB/s"
    rows: list[Row] = []
    for what, share in (("median", 0.5), ("p99", 0.99), ("at most", 1.0)):
        found = {who: [percentile(one, share) for one in all_] for who, all_ in each.items()}
        rows += compared(figure, what, found, "µs")
    rows += compared(
        "log calls one after another", "until all are written", rate, "lines/s", better="more"
    )
    rows += _lines(folder, LINES_PER_SECOND * seconds)
    return rows + _curve(folder, CURVE[:1] if quick else CURVE, seconds)


def _lines(folder: Path, count: int) -> list[Row]:
    place = folder / "lines"
    place.mkdir()
    found = _run(place, ["written_lines", str(place), str(count), str(LINES_PER_SECOND)])
    _check(place, count, found["lost"])
    figure = f"{LINES_PER_SECOND:,} lines a second handed to the writer"
    return [
        Row(figure, "written", OURS, count / found["written"], "lines/s", "more",
            aim=LINES_PER_SECOND * 0.99),
        Row(figure, "lost", OURS, found["lost"], "lines", aim=0.0),
    ]  # fmt: skip


def _curve(folder: Path, rates: Sequence[int], seconds: int) -> list[Row]:
    rows = []
    for rate in rates:
        place = folder / f"rate-{rate}"
        place.mkdir()
        found = _run(place, ["log_calls", WHO[OURS], str(place), str(rate * seconds), str(rate)])
        _check(place, rate * seconds, found["lost"])
        used = 100 * found["cpu"] / found["written"]
        figure = f"{rate:,} log lines a second"
        rows.append(Row(figure, "CPU, own lines", OURS, used, "%", at=(rate, "log lines a second")))
    return rows


def _slow(place: Path, word: str, calls: int, seconds: float) -> dict[str, Any]:
    place.mkdir()
    day = datetime.now(UTC).date()
    pipe = place / (f"exporter-{day}.jsonl" if word == "ours" else "library.jsonl")
    os.mkfifo(pipe)
    with _slow_disk(pipe, seconds) as lines:
        found = _run(place, ["log_calls", word, str(place), str(calls), str(CALLS_PER_SECOND)])
    if lines[0] != calls or found["lost"]:
        raise BenchmarkError(f"{word}: {lines[0]} of {calls} lines came through")
    pipe.unlink()
    return found


@contextmanager
def _slow_disk(pipe: Path, seconds: float) -> Iterator[list[int]]:
    """Read the pipe's other end: slowly at first, then as fast as it goes. Counts the lines."""
    end, lines, done = time.monotonic() + seconds + 1, [0], threading.Event()
    fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def read() -> None:
        while True:
            try:
                got = os.read(fd, _DISK_BYTES)
            except BlockingIOError:
                got = b""
            lines[0] += got.count(b"\n")
            if not got and done.is_set():
                return
            time.sleep(_DISK_SECONDS if time.monotonic() < end else 0 if got else 0.01)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield lines
    finally:
        done.set()
        thread.join()
        os.close(fd)


def _run(place: Path, arguments: Sequence[str]) -> dict[str, Any]:
    module, *rest = arguments
    with Process(["-m", f"benchmarks.children.{module}", *rest], place / "out") as process:
        found: dict[str, Any] = json.loads(process.wait())
        return found


def _check(place: Path, count: int, lost: float) -> None:
    """Every line is in a file, once."""
    found = sum(file.read_bytes().count(b"\n") for file in place.glob("*.jsonl"))
    if found + lost != count:
        raise BenchmarkError(f"{found} lines are written and {lost} lost of {count}")
