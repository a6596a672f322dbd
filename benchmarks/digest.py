"""The digest of a day of a million records, against others who read the same file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.children import records
from benchmarks.figures import OURS, Row, compared
from benchmarks.processes import ROOT, BenchmarkError
from exporter.logs.digest.facts import LogDigest, Request

AIM_TIMES = 8.0
AIM_MB = 300.0
SEED, DUCKDB, JQ = "json.loads line by line", "plain DuckDB, counts alone", "jq, counts alone"
_JQ = 'reduce inputs as $r ({}; .[$r.level + "|" + $r.logger + "|" + ($r.event // "")] += 1)'


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Every reader is a process of its own; rounds alternate. The file is in the kernel's cache."""
    count, rounds = (40_000, 2) if quick else (1_000_000, 5)
    file = folder / f"exporter-{records.DAY}.jsonl"
    records.write(file, count)
    megabytes = file.stat().st_size / 1e6
    whole: dict[str, list[float]] = {OURS: [], SEED: [], DUCKDB: [], JQ: []}
    reading: dict[str, list[float]] = {OURS: [], SEED: [], DUCKDB: []}
    memory: list[float] = []
    for number in range(rounds):
        seconds, out, resident = _timed(
            ["-m", "exporter.logs.digest"], json.dumps(_request(folder).to_json())
        )
        digest = LogDigest.from_json(json.loads(out))
        if digest.records != count:
            raise BenchmarkError(f"{digest.records} of {count} records are in the digest")
        whole[OURS].append(megabytes / seconds)
        reading[OURS].append(megabytes / digest.seconds)
        memory.append(resident)
        for who, module in ((SEED, "seed_loop"), (DUCKDB, "plain_duckdb")):
            seconds, out, _ = _timed(["-m", f"benchmarks.children.{module}", str(file)])
            whole[who].append(megabytes / seconds)
            reading[who].append(megabytes / float(out))
        if number == 0 and shutil.which("jq"):  # it is the slowest by far: once is enough
            began = time.perf_counter()
            subprocess.run(["jq", "-n", "-c", _JQ, file], check=True, stdout=subprocess.DEVNULL)
            whole[JQ].append(megabytes / (time.perf_counter() - began))
    figure = f"digest of {count:,} records, {megabytes:.0f} MB"
    aim = round(AIM_TIMES * median(reading[SEED]), 1)
    return [
        *compared(figure, "reading alone", reading, "MB/s", better="more", aim=aim),
        *compared(figure, "the whole process", whole, "MB/s", better="more"),
        *compared(figure, "its memory at most", {OURS: memory}, "MB", aim=AIM_MB),
    ]


def _request(folder: Path) -> Request:
    start = datetime.fromisoformat(records.DAY).replace(tzinfo=UTC).timestamp()
    return Request(
        directory=folder, zone="UTC", start=start, end=start + 86400, title=records.DAY,
        reports=folder, due=(), budget=10, now=start + 90_000,
    )  # fmt: skip


def _timed(arguments: Sequence[str], stdin: str = "") -> tuple[float, str, float]:
    """Seconds from start to end, what it printed, and its memory at most, in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    with process.stdin as into, process.stdout as out:
        into.write(stdin)
        into.close()
        said = out.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"{arguments} ended with {process.returncode}")
    return seconds, said, usage.ru_maxrss * 1024 / 1e6
