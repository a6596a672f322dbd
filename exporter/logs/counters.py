"""Counts written lines by level, logger and event; and those that were dropped."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from exporter.logs.queue_writer import Line
from exporter.metrics import LOG_LEVELS, Metrics

MOST_NAMES = 200
"""Different loggers or events that become series of their own; more count as "other"."""

log = logging.getLogger(__name__)


class Counts:
    """Turns written lines into the ``quant_log_*`` counters. Called from the writer's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._records = metrics.counter("quant_log_records_total")
        self._errors = metrics.counter("quant_log_errors_total")
        self._events = metrics.counter("quant_log_events_total")
        self._dropped = metrics.counter("quant_log_dropped_total")
        self._names: dict[str, set[str]] = {"logger": set(), "event": set()}
        self._dropped_unreported = 0
        for level in LOG_LEVELS:
            self._records.labels(level)

    def written(self, lines: Sequence[Line]) -> None:
        """Count lines that are in the file."""
        for level, count in Counter(line.level for line in lines).items():
            self._records.labels(level).inc(count)
        errors = Counter(line.logger for line in lines if line.level in ("error", "critical"))
        for logger, count in errors.items():
            self._errors.labels(self._known("logger", logger)).inc(count)
        for event, count in Counter(line.event for line in lines if line.event).items():
            self._events.labels(self._known("event", event)).inc(count)
        if self._dropped_unreported and lines:
            dropped, self._dropped_unreported = self._dropped_unreported, 0
            log.error(
                "%d log lines could not be written and were dropped",
                dropped,
                extra={"event": "log_lines_lost", "lost": dropped},
            )

    def lost(self, count: int) -> None:
        """Count lines that were dropped."""
        self._dropped.inc(count)
        self._dropped_unreported += count

    def _known(self, label: str, name: str) -> str:
        names = self._names[label]
        if name not in names:
            if len(names) >= MOST_NAMES:
                return "other"
            names.add(name)
        return name
