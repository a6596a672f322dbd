"""Counts slots that get no run: missed, or skipped on purpose."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.metrics import SKIP_REASONS, Metrics


class SlotCounts:
    """The only place where they are counted, for scheduler and runner."""

    def __init__(self, metrics: Metrics) -> None:
        self._missed = metrics.counter("quant_task_missed_total")
        self._skipped = metrics.counter("quant_task_skipped_total")

    def create(self, tasks: Mapping[str, bool]) -> None:
        """Create every series at 0, before its first event: by task, and whether it runs after
        others, since no other task is ever blocked."""
        for task, comes_after in tasks.items():
            self.missed(task, 0)
            for reason in SKIP_REASONS:
                if reason != "blocked" or comes_after:
                    self.skipped(task, reason, 0)

    def missed(self, task: str, number: int = 1) -> None:
        """Slots whose time and grace passed without a run."""
        self._missed.labels(task).inc(number)

    def skipped(self, task: str, reason: str, number: int = 1) -> None:
        """Slots skipped on purpose."""
        self._skipped.labels(task, reason).inc(number)
