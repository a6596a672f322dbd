"""Two months in virtual time: whether memory, state and log stay as they are after the first days.

The state keeps 90 days, the log a week. Here both keep three, so that nearly all of the time as
much is deleted as is added.

The system gives memory in steps of megabytes and rarely gets it back. So there are two figures:
what the exporter holds, where a leak of a hundred bytes a run shows, and what the system says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.figures import OURS, Row
from benchmarks.live_memory import slope
from benchmarks.processes import Process

KEPT_DAYS = 3
HELD_A_RUN = "held more by a run"
AIM_BYTES_A_RUN = 100.0
QUICK_AIM_BYTES_A_RUN = 900.0
"""In the first days caches are still filled."""
AIM_MB_A_MONTH = 3.0
AIM_GROWTH = 1.1

Day = Mapping[str, float]


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One exporter, measured at the end of each of its days."""
    days, step, kept = (7, 7200, 1) if quick else (60, 3600, KEPT_DAYS)
    arguments = ["-m", "benchmarks.children.month", str(days), str(step), str(kept)]
    with Process(arguments, folder / "month.out") as process:
        lines = process.wait(1800).splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"day"')]
    figure = f"{days} days, {kept} kept, a step every {step / 60:.0f} minutes"
    return rows(found, kept, figure, QUICK_AIM_BYTES_A_RUN if quick else AIM_BYTES_A_RUN)


def rows(found: Sequence[Day], kept: int, figure: str, aim: float) -> list[Row]:
    """From what was measured each day; `aim`: bytes that a run may leave."""
    settled = found[kept + 1 :]
    last = settled[-1]
    # A leak is there every day; a table that grew once is none.
    live = max(median(b["live_mb"] - a["live_mb"] for a, b in pairwise(settled)), 1e-6)
    system, below = "memory of its process, by the system", "memory of helpers and workers"
    return [
        Row(figure, "held in memory", OURS, last["live_mb"], "MB"),
        Row(figure, "held more in 30 days", OURS, 30 * live, "MB"),
        Row(figure, HELD_A_RUN, OURS, live * 1e6 / last["runs"], "bytes", aim=aim),
        Row(figure, system, OURS, last["memory_mb"], "MB"),
        Row(figure, f"{system}, more in 30 days", OURS, 30 * _daily(settled, "memory_mb"), "MB",
            aim=AIM_MB_A_MONTH),
        Row(figure, below, OURS, last["below_mb"], "MB"),
        Row(figure, f"{below}, more in 30 days", OURS, 30 * _daily(settled, "below_mb"), "MB",
            aim=AIM_MB_A_MONTH),
        *(Row(figure, f"{what}, second half / first", OURS, _growth(settled, key), "times",
              aim=AIM_GROWTH)
          for what, key in (("state.db and its journal", "state_mb"), ("log folder", "logs_mb"),
                            ("open files", "open_files"))),
    ]  # fmt: skip


def _growth(found: Sequence[Day], key: str) -> float:
    """The most that it was in the second half of the days, as a multiple of that in the first."""
    sizes = [each[key] for each in found]
    middle = len(sizes) // 2
    return max(sizes[middle:]) / max(sizes[:middle])


def _daily(found: Sequence[Day], key: str) -> float:
    """Less than nothing is nothing."""
    return max(slope([(each["day"], each[key]) for each in found]), 1e-6)
