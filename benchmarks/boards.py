"""30 days of history: what the queries of the boards take in Prometheus, and how much they read."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import recorded_day
from benchmarks.figures import OURS, Row
from benchmarks.processes import BenchmarkError, Process, free_port
from benchmarks.recorded_day import DAY, MINUTE
from grafana.asked import Query, filled, queries

AIM_SECONDS = 2.0
"""A query that takes longer is felt."""
SCRAPE_SECONDS = 15
LONGEST_BLOCK = "54h"
"""Prometheus merges its blocks of two hours to ones of at least this length, so that a month is in
20 at most; each day written on its own makes 43 of them."""
TRIES = 3
"""Of a query; the quickest counts, since a neighbour on the machine may slow down any."""
ONE = {"task": "signals", "feed": "us_minute", "strategy": "momentum"}
"""What is chosen on the boards of one thing."""
EVERY = Path("var/bench/boards.csv")
"""Every query with its time and the samples that it read."""


@dataclass(frozen=True)
class Taken:
    """What one query cost."""

    query: Query
    seconds: float
    samples: int


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """The recorded day again and again; each query is asked as Grafana would ask."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            raise BenchmarkError(f"{program} is not installed: tools/install-test-packages")
    if not recorded_day.FILE.exists():
        raise BenchmarkError(f"the recorded day is not there: {recorded_day.FILE}")
    days, tries = (1, 1) if quick else (30, TRIES)
    end = _write(folder, days, every=MINUTE if quick else SCRAPE_SECONDS)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    url = f"http://127.0.0.1:{(port := free_port())}"
    arguments = [
        "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with Process(arguments, folder / "prometheus.log", program="prometheus") as process:
        process.wait_for(f"{url}/-/ready")
        taken = [
            min((_ask(url, query, end, days) for _ in range(tries)), key=lambda one: one.seconds)
            for query in queries()
        ]
    _save(taken)
    return list(_rows(taken, days))


def _write(folder: Path, days: int, *, every: int) -> int:
    """The days as blocks, one after the other; returns the last moment."""
    end, file = 0, folder / "day.om"
    for day in range(days):
        end = recorded_day.write(file, day, firing=True, every=every)
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics",
             f"--max-block-duration={LONGEST_BLOCK}", "-q", file, folder / "tsdb"],
            check=True, capture_output=True,
        )  # fmt: skip
        file.unlink()
    return end


def _ask(url: str, query: Query, end: int, days: int) -> Taken:
    step = days * DAY // query.points
    rate = max(step + MINUTE, 4 * MINUTE)
    expr = query.expr
    if (one := query.board.removeprefix("quant-")) in ONE:
        expr = expr.replace(f"${one}", ONE[one])
    given = {
        "query": filled(expr, rate=f"{rate}s", step=f"{step}s", whole=f"{days}d"),
        "stats": "all",
    }
    if query.instant:
        path, given = "query", {**given, "time": str(end)}
    else:
        start = str(end - days * DAY)
        path, given = "query_range", {**given, "start": start, "end": str(end), "step": str(step)}
    address = f"{url}/api/v1/{path}?{urllib.parse.urlencode(given)}"
    try:
        with urllib.request.urlopen(address, timeout=130) as answer:
            stats = json.load(answer)["data"]["stats"]
    except OSError as error:
        raise BenchmarkError(f"{query}: {error}") from error
    samples = stats["samples"]["totalQueryableSamples"]
    return Taken(query, stats["timings"]["execTotalTime"], samples)


def _save(taken: Sequence[Taken]) -> None:
    EVERY.parent.mkdir(parents=True, exist_ok=True)
    with EVERY.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["board", "panel", "query", "seconds", "samples"])
        for one in sorted(taken, key=lambda one: -one.seconds):
            of = one.query
            lines.writerow([of.board, of.panel, of.ref, f"{one.seconds:.3f}", one.samples])


def _rows(taken: Sequence[Taken], days: int) -> Iterator[Row]:
    by_board: dict[str, list[Taken]] = defaultdict(list)
    for one in taken:
        by_board[one.query.board].append(one)
    figure = f"boards, {days} days"
    for board, of in by_board.items():
        slowest = max(of, key=lambda one: one.seconds)
        name = f"{slowest.query.panel}/{slowest.query.ref}"
        yield Row(figure, f"{board}: all queries", OURS, sum(one.seconds for one in of), "s")
        yield Row(
            figure, f"{board}: slowest query", OURS, slowest.seconds, "s", aim=AIM_SECONDS,
            note=f"{name}, {slowest.samples:,} samples",
        )  # fmt: skip
