"""Following another program's log that grows by 20 MB a second: how far behind, at what cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import building
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import BenchmarkError, Client, Process, free_port, pace

MEGABYTES_PER_SECOND = 20.0
LINE_BYTES = 240
CURVE = (1_000, 10_000, 80_000)
"""Lines a second."""
PEER = "readline, json.loads, re"
PATTERNS = {"failed": "refused|no whole answer", "marker": "marker"}
_LOOK_SECONDS, _SELDOM_SECONDS = 0.1, 0.5
_PATIENCE_SECONDS = 30.0


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One after the other at the same load: a follower that is alone on its core has it easy."""
    seconds = 2.0 if quick else 15.0
    rows: list[Row] = []
    for shape in ("json", "text"):
        lag: dict[str, list[float]] = {}
        cores: dict[str, list[float]] = {}
        place = folder / shape
        place.mkdir()
        lag[OURS], cores[OURS] = _ours(place, shape, seconds, MEGABYTES_PER_SECOND)
        if shape == "json":
            lag[PEER], cores[PEER] = _peer(place, seconds)
        figure = f"following {MEGABYTES_PER_SECOND:.0f} MB a second, {shape}"
        for what, share in (("behind by, p50", 0.5), ("behind by, p95", 0.95)):
            found = {who: [percentile(each, share)] for who, each in lag.items()}
            rows += compared(figure, what, found, "s")
        rows += compared(figure, "of a core", cores, "cores")
    return rows + _curve(folder, CURVE[:1] if quick else CURVE, seconds)


def _curve(folder: Path, rates: Sequence[int], seconds: float) -> list[Row]:
    rows: list[Row] = []
    for rate in rates:
        place = folder / f"rate-{rate}"
        place.mkdir()
        lag, cores = _ours(place, "json", seconds, rate * LINE_BYTES / 1e6, _SELDOM_SECONDS)
        figure, at = f"following {rate:,} lines a second", (rate, "log lines a second")
        rows += [
            Row(figure, "CPU, followed lines", OURS, 100 * cores[0], "%", at=at),
            Row(figure, "followed lines, behind by, p50", OURS, percentile(lag, 0.5), "s", at=at),
        ]
    return rows


def _ours(
    folder: Path, shape: str, seconds: float, megabytes: float, look: float = _LOOK_SECONDS
) -> tuple[list[float], list[float]]:
    port, file = free_port(), folder / "bot.log"
    file.write_bytes(b"")
    follow = {"bot": {"path": str(file), "format": shape, "patterns": PATTERNS}}
    path = building.config(
        folder, port, "http://127.0.0.1:9", logs={"follow": follow}, tasks={}, feeds={}
    )
    url = f"http://127.0.0.1:{port}/metrics?name[]=quant_log_matches_total"
    with building.exporter(path, port) as process, Client(url) as client:
        time.sleep(1.5)  # what it does once after the start is over
        seen: list[float] = []
        began, used = time.monotonic(), process.cpu_seconds()
        with _growing(folder, file, seconds, megabytes) as writer:
            while writer.running:
                with pace(look):
                    seen += [time.monotonic()] * (_markers(client) - len(seen))
            cores = (process.cpu_seconds() - used) / (time.monotonic() - began)
            written = json.loads(writer.wait())["markers"]
        end = time.monotonic() + _PATIENCE_SECONDS
        while len(seen) < len(written) and time.monotonic() < end:
            with pace(look):
                seen += [time.monotonic()] * (_markers(client) - len(seen))
    return _lags(written, seen), [cores]


def _peer(folder: Path, seconds: float) -> tuple[list[float], list[float]]:
    file = folder / "peer.log"
    file.write_bytes(b"")
    arguments = ["-m", "benchmarks.children.plain_follower", str(file)]
    with Process(arguments, folder / "peer.out") as process:
        time.sleep(0.5)
        began, used = time.monotonic(), process.cpu_seconds()
        with _growing(folder, file, seconds, MEGABYTES_PER_SECOND) as writer:
            written = json.loads(writer.wait())["markers"]
        cores = (process.cpu_seconds() - used) / (time.monotonic() - began)
        end = time.monotonic() + _PATIENCE_SECONDS
        seen: list[float] = []
        while len(seen) < len(written) and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
            seen = [float(line) for line in (folder / "markers").read_text().splitlines()]
    return _lags(written, seen), [cores]


def _growing(folder: Path, file: Path, seconds: float, megabytes: float) -> Process:
    arguments = ["-m", "benchmarks.children.growing", str(file)]
    return Process([*arguments, str(megabytes), str(seconds)], folder / "growing.out")


def _markers(client: Client) -> int:
    for line in client.get().body.decode().splitlines():
        if line.startswith("quant_log_matches_total{") and 'pattern="marker"' in line:
            return int(float(line.rpartition(" ")[2]))
    return 0


def _lags(written: Sequence[float], seen: Sequence[float]) -> list[float]:
    if len(seen) < len(written):
        raise BenchmarkError(f"{len(seen)} of {len(written)} markers were met")
    return [max(0.0, after - before) for before, after in zip(written, seen, strict=False)]
