"""What is wrong with the equity of each strategy, in words and in the log."""

from __future__ import annotations

import logging
from pathlib import Path

from exporter.strategies.equity import EquityCurve
from exporter.strategies.read_curve import CurveRead
from exporter.util.clock import iso

log = logging.getLogger(__name__)

DOUBT_SECONDS = 900.0
"""A single 0, or a leap, among good balances counts after so long without another value."""


def doubt_of(curve: EquityCurve) -> str | None:
    """What is doubted of a curve, in words."""
    if curve.doubted is None:
        return None
    return (
        f"equity {curve.doubted.equity:g} at {iso(curve.doubted.at)} after {curve.equity:g}: it "
        f"counts once a second value confirms it, or after {DOUBT_SECONDS / 60:.0f} minutes"
    )


class EquityProblems:
    """The problem of each strategy, and whether its newest equity could not be read."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._unread: set[str] = set()
        """Strategies whose file or account gave no equity at the last look."""

    def get(self, name: str) -> str | None:
        """None when nothing is wrong."""
        return self._texts.get(name)

    def is_unread(self, name: str) -> bool:
        """Whether its file, or its account, gave no equity at the last look."""
        return name in self._unread

    def clear(self, name: str) -> None:
        """Its equity was read, and nothing was wrong."""
        self._unread.discard(name)
        self._texts.pop(name, None)

    def forget(self, name: str) -> None:
        """What was wrong is no longer so; whether its equity was read shows at the next look."""
        self._texts.pop(name, None)

    def unreadable(self, name: str, text: str) -> None:
        """Its equity cannot be read."""
        self._unread.add(name)
        if self._texts.get(name) != text:
            self._texts[name] = text
            log.warning("%s", text, extra={"event": "equity_unreadable", "strategy": name})

    def readable_again(self, name: str) -> None:
        """Its file is there, and nothing in it is new."""
        if name in self._unread and self._texts.get(name, "").startswith("cannot read"):
            self.clear(name)

    def unread_before(self, name: str) -> None:
        """Nothing that was read before the start was understood."""
        self._unread.add(name)

    def note_account(self, name: str, problem: str | None, left_out: str | None = None) -> None:
        """How the last look at a strategy's account went; None: well. `left_out`: the equity was
        read, and something else was not."""
        if problem is not None:
            self.unreadable(name, problem)
            return
        before = self._texts.get(name)
        self.clear(name)
        if left_out is not None:
            self._texts[name] = left_out
            if left_out != before:
                log.warning("%s", left_out, extra={"event": "account_left_out", "strategy": name})

    def note_unfinished(self, name: str, path: Path) -> None:
        """The last line of its file has had no newline for long."""
        if name not in self._texts:
            self._texts[name] = (
                f"the last line of {path.name} does not end with a newline, so it is not read: end "
                "each line with one"
            )
            log.warning(
                "%s", self._texts[name],
                extra={"event": "equity_unfinished_line", "strategy": name},
            )  # fmt: skip

    def note_read(self, name: str, path: Path, read: CurveRead) -> None:
        """Log what a look at its file found; the worst of it is the problem."""
        self.clear(name)
        problem = ""
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
            problem = doubt_of(read.curve) or ""
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
                self._unread.add(name)
        if problem:
            self._texts[name] = problem
