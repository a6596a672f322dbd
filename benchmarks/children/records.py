"""A day of log lines as the exporter writes them.

200 tasks that run every five minutes make 6 % of the lines their ends and 6 % their starts; the
rest is what tasks say, a few failed fetches and, in two dozen wordings, errors. About 240 bytes a
line. The same count gives the same file.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import orjson

from exporter.logs.files import DayFiles, Limits
from exporter.logs.queue_writer import Line

ROTATE_BYTES = 50_000_000
DAY = "2026-11-24"
_BEGIN = datetime.fromisoformat(DAY).replace(tzinfo=UTC)
_REASONS = ("timeout", "connect", "http", "malformed")
_WORDINGS = tuple(
    f"{what} of {thing} refused"
    for what in ("order", "quote", "position", "margin", "transfer", "signal")
    for thing in ("NVDA.US", "the broker", "account 'main'", "leg 2")
)


def lines(count: int) -> Iterator[bytes]:
    """That many records, spread evenly over the day, each with its line feed."""
    rng = random.Random(count)
    for number in range(count):
        at = _BEGIN + timedelta(seconds=86_399 * number / count)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
        yield orjson.dumps(_record(rng, stamp, number), option=orjson.OPT_APPEND_NEWLINE)


def _record(rng: random.Random, stamp: str, number: int) -> dict[str, object]:
    task = f"task_{rng.randrange(200):03d}"
    run = {"task": task, "run_id": f"{number:012x}-{rng.getrandbits(32):08x}"}
    chance = rng.random()
    if chance < 0.06:
        return {
            "timestamp": stamp, "level": "info", "logger": "exporter.runner.recorder",
            "event": "run_ended", "message": "ended with success", **run,
            "duration_seconds": round(rng.expovariate(4), 6), "outcome": "success",
            "attempts": 1, "items": rng.randrange(500), "slot": stamp,
        }  # fmt: skip
    if chance < 0.12:
        return {
            "timestamp": stamp, "level": "info", "logger": "exporter.runner.runner",
            "event": "run_started", "message": "started", **run, "trigger": "schedule",
            "slot": stamp,
        }  # fmt: skip
    if chance < 0.125:
        return {
            "timestamp": stamp, "level": "warning", "logger": "exporter.sources.tickdb",
            "event": "fetch_failed", "message": "market /market/kline: no whole answer within 15 s",
            **run, "source": "market", "endpoint": "/market/kline", "reason": rng.choice(_REASONS),
        }  # fmt: skip
    if chance < 0.127:
        return {
            "timestamp": stamp, "level": "error", "logger": "my_signals",
            "message": f"{rng.choice(_WORDINGS)}, number {number}", **run,
            "error_type": "BrokerError", "error_message": f"code {rng.randrange(9000)}",
            "stack": "Traceback (most recent call last):\n  File \"my_signals.py\", line 7\n",
        }  # fmt: skip
    bars = rng.randrange(1, 1000)
    return {
        "timestamp": stamp, "level": "info", "logger": "my_signals", "event": "bars_taken",
        "message": f"took {bars} bars, newest at {rng.uniform(1, 900):.2f}", **run,
        "symbol": f"S{rng.randrange(500):03d}.US",
        "duration_seconds": round(rng.uniform(0.01, 3), 6),
    }  # fmt: skip


def write(path: Path, count: int) -> None:
    """One file, as any program may write it."""
    with path.open("wb") as out:
        out.writelines(lines(count))


def write_as_exporter(folder: Path, count: int) -> DayFiles:
    """The files that the exporter makes of the same lines, by its own writer."""
    files = DayFiles("exporter", Limits(folder, UTC, ROTATE_BYTES))
    for batch in batched(lines(count), 1000):
        records = (orjson.loads(line) for line in batch)
        files.write([
            Line(
                datetime.fromisoformat(record["timestamp"]).timestamp(), record["level"],
                record["logger"], record.get("event"), line,
            )
            for record, line in zip(records, batch, strict=True)
        ])  # fmt: skip
    files.close()
    return files


def batched(lines: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    """Lists of `size`, the last one shorter."""
    while batch := list(islice(lines, size)):
        yield batch
