"""A task's newest runs as a small picture: one bar per run, its height the duration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.util.units import format_duration
from exporter.web.status.view import RunRow

WIDTH, HEIGHT, MOST = 120, 24, 24
_STEP = WIDTH / MOST


@dataclass(frozen=True)
class SparkBar:
    """One run, in the picture's own units (pixels at its natural size)."""

    x: float
    y: float
    height: float
    failed: bool


@dataclass(frozen=True)
class Spark:
    """The bars, the newest at the right, and the same in words."""

    bars: tuple[SparkBar, ...]
    words: str


def draw(runs: Sequence[RunRow]) -> Spark | None:
    """The newest ended runs; None when there is none. Heights grow from nothing to the longest;
    a failed run is hollow and as high as the picture, so that colour is not needed to see it."""
    ended = [run for run in runs if not math.isnan(run.duration)][-MOST:]
    if not ended:
        return None
    longest = max(run.duration for run in ended) or 1.0
    bars = []
    for place, run in enumerate(ended):
        failed = run.level == "bad"
        height = HEIGHT - 1.0 if failed else max(2.0, (HEIGHT - 1) * run.duration / longest)
        x = WIDTH - _STEP * (len(ended) - place)
        top = HEIGHT - height
        bars.append(SparkBar(round(x + 0.5, 1), round(top, 1), round(height, 1), failed))
    failures = sum(bar.failed for bar in bars)
    shortest = min(run.duration for run in ended)
    words = (
        f"Newest {len(ended)} runs: {format_duration(shortest)} to {format_duration(longest)}, "
        f"{failures or 'none'} failed"
    )
    return Spark(tuple(bars), words)
