"""Counts slots that get no run: missed, or skipped on purpose."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.metrics import SKIP_REASONS, Metrics


class SlotCounts:
    """The only place where they are counted, for scheduler and runner."""

    def __init__(self, metrics: Metrics) -> None:
        self._missed = metrics.counter("quant_task_missed_total")
        self._skipped = metrics.counter("quant_task_skipped_total")

    def create(self, tasks: Iterable[str]) -> None:
        """Create every series at 0, before its first event."""
        for task in tasks:
            self.missed(task, 0)
            for reason in SKIP_REASONS:
                self.skipped(task, reason, 0)

    def missed(self, task: str, number: int = 1) -> None:
        """Slots whose time and grace passed without a run."""
        self._missed.labels(task).inc(number)

    def skipped(self, task: str, reason: str, number: int = 1) -> None:
        """Slots skipped on purpose."""
        self._skipped.labels(task, reason).inc(number)
