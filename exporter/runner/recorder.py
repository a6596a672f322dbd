"""The one place where a run's outcome is recorded: metrics, log, state and journal."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from exporter.metrics import Metrics
from exporter.redaction.truncate import head
from exporter.runner.results import RunningRun, RunResult, Store
from exporter.state import Run, RunEnd, StateError
from exporter.tasks.outcome import ERROR_CHARS, Outcome
from exporter.util.clock import Clock, iso
from exporter.util.nan import nan_to_none

log = logging.getLogger(__name__)

_REMEMBERED = 100


class Recorder:
    """Call it once for each run that was claimed."""

    def __init__(
        self, state: Store, metrics: Metrics, clock: Clock, mask: Callable[[str], str]
    ) -> None:
        self.known: frozenset[str] = frozenset()
        """The configured tasks; one that is not has no series."""
        self.newest: dict[str, Run] = {}
        """The runs that ended last, by id, whether or not the disk took them."""
        self._state, self._metrics, self._clock, self._mask = state, metrics, clock, mask

    async def __call__(self, run: RunningRun, outcome: Outcome, *, attempts: int) -> RunResult:
        """Record how the run ended. A state that cannot be written is said, not raised."""
        duration = max(0.0, self._clock.monotonic() - run.began)
        result = RunResult(
            run.run_id,
            run.task,
            run.slot,
            outcome.kind,
            run.started_at,
            self._clock.now(),
            attempts,
            outcome.items,
            _utf8(head(outcome.error, ERROR_CHARS, self._mask)) if outcome.error else None,
            _utf8(self._mask(outcome.tail)),
        )
        if run.task in self.known:
            self._count(result, duration)
        self._remember(run, result)
        _log_end(result, duration)
        try:
            await self._write(run, result, duration)
        except StateError as error:
            log.error(
                "the outcome of %s is not on disk: %s",
                run.run_id,
                error,
                extra={"event": "run_not_recorded", "task": run.task, "run_id": run.run_id},
            )
        return result

    def _remember(self, run: RunningRun, result: RunResult) -> None:
        self.newest[run.run_id] = Run(
            run.run_id,
            run.task,
            run.slot,
            run.trigger,
            run.started_at,
            outcome=result.outcome,
            started_at=result.started_at,
            ended_at=result.ended_at,
            attempts=result.attempts,
            items=nan_to_none(result.items),
            error=result.error,
            tail=result.tail or None,
        )
        while len(self.newest) > _REMEMBERED:
            del self.newest[next(iter(self.newest))]

    def _count(self, result: RunResult, duration: float) -> None:
        task = result.task
        self._metrics.counter("quant_task_runs_total").labels(task).inc()
        if result.outcome != "success":
            self._metrics.counter("quant_task_failures_total").labels(task, result.outcome).inc()
        if result.outcome != "crashed":  # how long that took, nobody knows
            self._metrics.histogram("quant_task_duration_seconds").labels(task).observe(duration)

    async def _write(self, run: RunningRun, result: RunResult, duration: float) -> None:
        items = nan_to_none(result.items)
        end = RunEnd(
            result.run_id,
            result.task,
            result.slot,
            result.outcome,
            result.started_at,
            result.ended_at,
            result.attempts,
            items,
            result.error,
            result.tail or None,
            run.trigger,
        )
        await self._state.finish(end)
        fields = {
            "run_id": result.run_id,
            "task": result.task,
            "slot": result.slot,
            "trigger": run.trigger,
            "outcome": result.outcome,
            "items": items,
            "duration_seconds": round(duration, 3),
            "error": result.error,
        }
        await self._state.journal("run", result.ended_at, fields)


def _utf8(text: str) -> str:
    """As the state can keep it: a file's name that is no UTF-8 brings lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def slot_field(slot: float | None) -> dict[str, str]:
    """The slot as a field of a log line; none for a run without one."""
    return {} if slot is None else {"slot": iso(slot)}


def _log_end(result: RunResult, duration: float) -> None:
    extra = {
        "event": "run_ended",
        "task": result.task,
        "run_id": result.run_id,
        "outcome": result.outcome,
        "duration_seconds": round(duration, 3),
        "attempts": result.attempts,
        **slot_field(result.slot),
    }
    if not math.isnan(result.items):
        extra["items"] = result.items
    if result.outcome == "success":
        log.info("ended well after %.1f s", duration, extra=extra)
    else:
        if result.error:
            extra["error_message"] = result.error
        log.error(
            "ended with %s after %.1f s: %s%s",
            result.outcome,
            duration,
            result.error,
            f"\n{result.tail}" if result.tail else "",
            extra=extra,
        )
