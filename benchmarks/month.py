"""A month in virtual time: whether memory and the state file stay as they are after its first days.

The state keeps 90 days. Here it keeps ten, so that two thirds of the month delete as much as they
add.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression

from benchmarks.figures import OURS, Row
from benchmarks.processes import Process

KEPT_DAYS = 10
AIM_MB_A_MONTH = 3.0
AIM_GROWTH = 1.05


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """One exporter, measured at the end of each of its days."""
    days, step, kept = (4, 3600, 1) if quick else (30, 1800, KEPT_DAYS)
    arguments = ["-m", "benchmarks.children.month", str(days), str(step), str(kept)]
    with Process(arguments, folder / "month.out") as process:
        lines = process.wait(1800).splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"day"')]
    settled = [each for each in found if each["day"] > kept + kept / 5]
    slope, _ = linear_regression(
        [each["day"] for each in settled], [each["memory_mb"] for each in settled]
    )
    growth = found[-1]["state_mb"] / settled[0]["state_mb"]
    figure = f"{days} days, a step every {step / 60:.0f} minutes"
    return [
        Row(figure, "memory after the first day", OURS, found[0]["memory_mb"], "MB"),
        Row(figure, "memory after the last", OURS, found[-1]["memory_mb"], "MB"),
        Row(figure, "growth in 30 days, by the slope", OURS, max(slope * 30, 0.001), "MB",
            aim=AIM_MB_A_MONTH),
        Row(figure, f"state.db, {kept} days kept", OURS, found[-1]["state_mb"], "MB"),
        Row(figure, "the same / its size when the first rows were deleted", OURS, growth, "times",
            aim=AIM_GROWTH),
    ]  # fmt: skip
