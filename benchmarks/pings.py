"""Pings by the hundred a second, and what it costs a command to report by `exec`."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks import building
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import ROOT, BenchmarkError, Process, free_port
from exporter.cli.exec_wrapper import one_file

RATE = 500
CURVE = (100, 300, 1000)
"""Pings a second, each for some seconds."""
TASKS = 20
ADDED_AIM_MS = 60.0
_PATIENCE_SECONDS = 30.0


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Every ping is a run of its own, by the key and the task's name."""
    port = free_port()
    tasks = {f"job_{n}": {"external": True, "schedule": "every 1h"} for n in range(TASKS)}
    config = building.config(folder, port, "http://127.0.0.1:9", tasks=tasks)
    with building.exporter(config, port) as process:
        base = _base(folder / "var/ping-url")
        times = asyncio.run(_send(base, RATE, 3 if quick else 60))
        curve, sent = _curve(process, base, CURVE[:1] if quick else CURVE, 2 if quick else 10)
        added, cpu = _added(base, folder, 3 if quick else 25)
    with sqlite3.connect(folder / "var/state.db") as state:
        (kept,) = state.execute("SELECT count(*) FROM runs WHERE items IS NULL").fetchone()
    reported = sum(len(rounds) for rounds in added.values())
    what = f"{RATE} pings a second"
    return [
        Row("pings", f"{what}: p99", OURS, percentile(times, 0.99) * 1000, "ms"),
        Row("pings", "lost", OURS, max(0, len(times) + sent + reported - kept), "runs", aim=0),
        *curve,
        *compared("exec", "added to `true`, both reports", added, "ms", aim=ADDED_AIM_MS),
        *compared("exec", "processor time added to it", cpu, "ms"),
    ]


def _base(file: Path) -> str:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not file.is_file():
        if time.monotonic() > end:
            raise BenchmarkError(f"{file} was not written")
        time.sleep(0.05)
    return file.read_text().strip()


def _curve(
    process: Process, base: str, rates: Sequence[int], seconds: float
) -> tuple[list[Row], int]:
    """How cost grows with the pace, and how many pings were sent for it."""
    rows: list[Row] = []
    sent = 0
    for rate in rates:
        before, began = process.family_cpu_seconds(), time.monotonic()
        times = asyncio.run(_send(base, rate, seconds))
        used = process.family_cpu_seconds() - before
        sent += len(times)
        for what, value, unit in (
            ("CPU, pings", 100 * used / (time.monotonic() - began), "%"),
            ("answer to a ping, p50", percentile(times, 0.5) * 1000, "ms"),
            ("answer to a ping, p99", percentile(times, 0.99) * 1000, "ms"),
        ):
            figure = f"{rate:,} pings a second"
            rows.append(Row(figure, what, OURS, value, unit, at=(rate, "pings a second")))
    return rows, sent


async def _send(base: str, rate: int, seconds: float) -> list[float]:
    """At a steady pace, whatever the answers take; how long each took. All must be accepted."""
    times: list[float] = []

    async def ping(session: aiohttp.ClientSession, number: int) -> None:
        began = time.perf_counter()
        async with session.post(f"{base}/job_{number % TASKS}/0", data=b"12 rows\n") as answer:
            await answer.read()
        if answer.status != 200:
            raise BenchmarkError(f"a ping was answered {answer.status}")
        times.append(time.perf_counter() - began)

    connections = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(connector=connections) as session:
        began, sent = time.monotonic(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent.append(asyncio.create_task(ping(session, number)))
        await asyncio.gather(*sent)
    return times


def _added(
    base: str, folder: Path, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds beyond the plain command, by wrapper: of the clock, and of the processor. Rounds
    alternate."""
    env = {**os.environ, "QUANT_PING_URL": base, "QUANT_EXEC_SPOOL": str(folder / "spool")}
    wrapper = folder / "qexec"
    wrapper.write_text(one_file())
    wrapped = {OURS: [sys.executable, str(wrapper), "job_0", "--"]}
    if runitor := _runitor(folder):
        server, _, key = base.rpartition("/")
        wrapped["runitor"] = [
            runitor, "-api-url", server, "-ping-key", key, "-slug", "job_0", "--",
        ]  # fmt: skip
    walls: dict[str, list[float]] = {who: [] for who in wrapped}
    cpus: dict[str, list[float]] = {who: [] for who in wrapped}
    for _ in range(rounds):
        plain, plain_cpu = _seconds(["true"], env)
        for who, words in wrapped.items():
            wall, cpu = _seconds([*words, "true"], env)
            walls[who].append((wall - plain) * 1000)
            cpus[who].append((cpu - plain_cpu) * 1000)
    return walls, cpus


def _runitor(folder: Path) -> str | None:
    """The program on the PATH, or built of its source in var/bench/runitor."""
    if found := shutil.which("runitor"):
        return found
    source, go = ROOT / "var/bench/runitor", shutil.which("go")
    if not (source / "go.mod").is_file() or go is None:
        text = "it is not on the PATH, and not in var/bench/runitor to be built by go"
        print(f" (without runitor: {text})", file=sys.stderr, end="")
        return None
    program = str(folder / "runitor")
    built = subprocess.run(
        [go, "build", "-o", program, "./cmd/runitor"],
        cwd=source, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if built.returncode:
        last = built.stderr.strip().rpartition("\n")[2]
        print(f" (without runitor: {last})", file=sys.stderr, end="")
        return None
    return program


def _seconds(words: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Of the clock, and of the processor with all that it waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, env=env, check=True, stdin=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
