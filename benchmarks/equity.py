"""A large equity file to drawdown, and what a few more rows cost, against pandas."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.figures import OURS, Row, compared
from benchmarks.processes import ROOT, BenchmarkError

PANDAS = "pandas.read_csv, cummax"
MORE = 1000
"""Rows that come later."""
_START = 1_500_000_000
_SAME = 1e-9


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Each reader is a process of its own; the file is in the kernel's cache. Both must find the
    same drawdown."""
    count, rounds = (50_000, 1) if quick else (1_000_000, 3)
    first: dict[str, list[float]] = {OURS: [], PANDAS: []}
    more: dict[str, list[float]] = {OURS: [], PANDAS: []}
    memory: dict[str, list[float]] = {OURS: [], PANDAS: []}
    for number in range(rounds):
        found = {}
        for who, child in ((OURS, "read_equity"), (PANDAS, "pandas_equity")):
            file = folder / f"{child}-{number}.csv"
            file.write_text("timestamp,equity\n" + "".join(rows(range(count))))
            later = folder / "later.csv"
            later.write_text("".join(rows(range(count, count + MORE))))
            said = _child(child, file, later)
            found[who] = said["drawdown"]
            first[who].append(said["first"])
            more[who].append(said["more"] * 1000)
            memory[who].append(said["megabytes"])
            file.unlink()
        if abs(found[OURS] - found[PANDAS]) > _SAME:
            raise BenchmarkError(f"the drawdowns differ: {found}")
    figure = f"an equity file of {count:,} rows"
    return [
        *compared(figure, "to drawdown", first, "s"),
        *compared(figure, f"{MORE:,} more rows", more, "ms"),
        *compared(figure, "memory of the process at most", memory, "MB"),
    ]


def rows(numbers: Iterable[int]) -> Iterable[str]:
    """Lines of a curve that goes up and down, a minute apart."""
    for n in numbers:
        yield f"{_START + 60 * n},{100_000 + n / 50 + 9_000 * math.sin(n / 5_000):.2f}\n"


def _child(name: str, file: Path, later: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.children.{name}", str(file), str(later)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"{name} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
