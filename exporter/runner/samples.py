"""The series of tasks: those that must stand from the start, and those read at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from exporter.metrics import FAILURE_REASONS, Column, Metrics, Sample
from exporter.state import TaskState
from exporter.util.nan import none_to_nan

_UNKNOWN = TaskState()


def create_series(metrics: Metrics, tasks: Iterable[str]) -> None:
    """Have every counter stand at 0, so that no series is born at its first failure."""
    for name in tasks:
        for counter in ("runs", "retries"):
            metrics.counter(f"quant_task_{counter}_total").labels(name)
        metrics.histogram("quant_task_duration_seconds").labels(name)
        for reason in FAILURE_REASONS:
            metrics.counter("quant_task_failures_total").labels(name, reason)


def samples(
    tasks: Iterable[str],
    states: Mapping[str, TaskState],
    running: Container[str],
    left: Callable[[str], int],
    *,
    memory: Callable[[str], int],
    failures: Mapping[str, Mapping[str, str]],
) -> Iterator[Sample | Column]:
    """What is known of each configured task now."""
    names = list(tasks)
    labels = [(name,) for name in names]
    known = [states.get(name) or _UNKNOWN for name in names]
    for metric, values in (
        ("last_success_timestamp_seconds", [none_to_nan(task.last_success) for task in known]),
        ("last_failure_timestamp_seconds", [none_to_nan(task.last_failure) for task in known]),
        ("last_start_timestamp_seconds", [none_to_nan(task.last_start) for task in known]),
        ("consecutive_failures", [float(task.consecutive_failures) for task in known]),
        ("items", [none_to_nan(task.items) for task in known]),
        ("running", [float(name in running) for name in names]),
        ("left_processes", [float(left(name)) for name in names]),
        ("memory_bytes", [float(memory(name)) for name in names]),
    ):
        yield Column(f"quant_task_{metric}", labels, values)
    for name in names:
        if failure := failures.get(name):
            row = (name, failure["reason"], failure["run_id"], failure["text"])
            yield "quant_task_last_failure_info", row, 1.0
