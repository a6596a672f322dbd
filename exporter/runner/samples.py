"""The series of tasks: those that must stand from the start, and those read at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from exporter.metrics import FAILURE_REASONS, Metrics, Sample
from exporter.state import TaskState
from exporter.util.nan import none_to_nan


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
    known: Mapping[str, TaskState],
    is_running: Callable[[str], bool],
    left: Callable[[str], int],
    *,
    memory: Callable[[str], int],
    failures: Mapping[str, Mapping[str, str]],
) -> Iterator[Sample]:
    """What is known of each configured task now."""
    for name in tasks:
        task = known.get(name) or TaskState()
        yield "quant_task_last_success_timestamp_seconds", (name,), none_to_nan(task.last_success)
        yield "quant_task_last_failure_timestamp_seconds", (name,), none_to_nan(task.last_failure)
        yield "quant_task_last_start_timestamp_seconds", (name,), none_to_nan(task.last_start)
        yield "quant_task_consecutive_failures", (name,), float(task.consecutive_failures)
        yield "quant_task_items", (name,), none_to_nan(task.items)
        yield "quant_task_running", (name,), float(is_running(name))
        yield "quant_task_left_processes", (name,), float(left(name))
        yield "quant_task_memory_bytes", (name,), float(memory(name))
        if failure := failures.get(name):
            labels = (name, failure["reason"], failure["run_id"], failure["text"])
            yield "quant_task_last_failure_info", labels, 1.0
