"""What was wrong with the rows of an equity file, in words and in the log."""

from __future__ import annotations

import logging
from pathlib import Path

from exporter.strategies.read_curve import CurveRead
from exporter.util.clock import iso

log = logging.getLogger(__name__)

DOUBT_SECONDS = 900.0
"""A single 0 among good balances counts after so long without another value."""


def report(name: str, path: Path, read: CurveRead) -> tuple[str, bool]:
    """Log what a look at the file of a strategy found: the worst of it, empty when there is
    nothing, and whether the newest equity was not understood."""
    problem, is_unread = "", False
    if read.lost:
        problem = f"{path.name} had rows, and has none now"
        log.warning("%s", problem, extra={"event": "equity_lost", "strategy": name})
    if read.late:
        problem = f"{read.late} points of {path.name} were too late and left out"
        log.warning(
            "%d points in %s are older than one before them and were left out, the first in "
            "line %d", read.late, path, read.first_late,
            extra={"event": "equity_out_of_order", "strategy": name},
        )  # fmt: skip
    if read.curve.doubted is not None:
        problem = (
            f"equity 0 at {iso(read.curve.doubted.at)} after {read.curve.equity:g}: it counts "
            f"once a second value confirms it, or after {DOUBT_SECONDS / 60:.0f} minutes"
        )
        log.warning("%s", problem, extra={"event": "equity_doubted", "strategy": name})
    if first := read.first_bad:
        log.error(
            "%d unusable lines in %s, the first in line %d: %s",
            read.bad, path, first.line, first.problem,
            extra={"event": "equity_malformed", "strategy": name, "example": first.text},
        )  # fmt: skip
        said = read.last_bad or first
        problem = f"line {said.line} of {path.name}: {said.problem}"
        if not read.good or read.last_bad:
            is_unread = True
    return problem, is_unread
