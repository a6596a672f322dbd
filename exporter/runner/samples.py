"""The series of tasks: those that must stand from the start, and those read at a scrape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from exporter.metrics import FAILURE_REASONS, Column, Metrics, Sample
from exporter.state import TaskState
from exporter.util.nan import none_to_nan

_UNKNOWN = TaskState()
_TO_ALL = re.compile(r"@(?=everyone\b|here\b|channel\b)")


def create_series(metrics: Metrics, tasks: Iterable[str]) -> None:
    """Set every counter to 0, so that no series first appears with a failure."""
    for name in tasks:
        for counter in ("runs", "retries"):
            metrics.counter(f"quant_task_{counter}_total").labels(name)
        metrics.histogram("quant_task_duration_seconds").labels(name)
        for reason in FAILURE_REASONS:
            metrics.counter("quant_task_failures_total").labels(name, reason)


class TaskSeries:
    """Of all configured tasks; kept from scrape to scrape while nothing changes."""

    def __init__(self) -> None:
        self._known: Any = None
        self._series = list[Sample | Column]()

    def read(
        self,
        tasks: Iterable[str],
        states: Mapping[str, TaskState],
        running: Set[str],
        *,
        left: Mapping[str, int],
        memory: Mapping[str, int],
        failures: Mapping[str, Mapping[str, str]],
    ) -> list[Sample | Column]:
        """What is known of each task now: processes that are `left` and bytes of `memory` where
        there are any, and the newest failure."""
        names = list(tasks)
        found = [states.get(name) or _UNKNOWN for name in names]
        known = (names, found, running, left, memory, failures)
        if known != self._known:
            series = _series(names, found, running, left=left, memory=memory, failures=failures)
            self._known, self._series = known, list(series)
        return self._series


def _series(
    names: Sequence[str],
    found: Sequence[TaskState],
    running: Set[str],
    *,
    left: Mapping[str, int],
    memory: Mapping[str, int],
    failures: Mapping[str, Mapping[str, str]],
) -> Iterator[Sample | Column]:
    labels = [(name,) for name in names]
    for metric, values in (
        ("last_success_timestamp_seconds", [none_to_nan(task.last_success) for task in found]),
        ("last_failure_timestamp_seconds", [none_to_nan(task.last_failure) for task in found]),
        ("last_start_timestamp_seconds", [none_to_nan(task.last_start) for task in found]),
        ("consecutive_failures", [float(task.consecutive_failures) for task in found]),
        ("items", [none_to_nan(task.items) for task in found]),
        ("running", [float(name in running) for name in names]),
        ("left_processes", [float(left.get(name, 0)) for name in names]),
        ("memory_bytes", [float(memory.get(name, 0)) for name in names]),
    ):
        yield Column(f"quant_task_{metric}", labels, values)
    for name in names:
        if failure := failures.get(name):
            text = _for_chats(failure["text"])
            row = (name, failure["reason"], failure["run_id"], text)
            yield "quant_task_last_failure_info", row, 1.0


def _for_chats(text: str) -> str:
    """An alert carries it there, and nothing can be escaped on the way: Slack makes a link of
    ``<Response [500]>`` and a call to all of ``<!channel>``, as Discord does of ``@everyone``."""
    return _TO_ALL.sub("@\u200b", text.replace("<", "‹").replace(">", "›"))
