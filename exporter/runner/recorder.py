"""The one place where a run's outcome is recorded: metrics, log, state and journal."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from exporter.metrics import Metrics
from exporter.redaction.truncate import LONGEST_TEXT, drop_partial_start, truncate_masked
from exporter.runner.results import RunningRun, Store
from exporter.runner.said_lines import MESSAGE_CHARS
from exporter.scheduling.ancestors import BLOCKED, FAILURE
from exporter.state import Run, StateError
from exporter.tasks.outcome import ERROR_CHARS, Outcome
from exporter.util.clock import Clock, iso
from exporter.util.nan import nan_to_none

log = logging.getLogger(__name__)

FAILURE_CHARS = 200
_REMEMBERED = 100
_TAIL_IN_LOG = LONGEST_TEXT - ERROR_CHARS - 500
"""Characters. Whatever is longer would lose its end in the log, not its beginning."""


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
        self._failures: dict[str, dict[str, str]] = {}

    async def __call__(self, running: RunningRun, outcome: Outcome, *, attempts: int) -> Run:
        """Record how the run ended. A state that cannot be written is logged, not raised."""
        run, duration = self._ended(running, outcome, attempts)
        self._tell(run, duration)
        try:
            await self._state.finish(run)
            await self._journal(run, duration)
        except StateError as error:
            log.error(
                "the outcome of %s is not on disk: %s",
                run.run_id,
                error,
                extra={"event": "run_not_recorded", "task": run.task, "run_id": run.run_id},
            )
        return run

    async def accept(
        self, running: RunningRun, outcome: Outcome, ended_at: float | None = None
    ) -> None:
        """Record an end that a program reports, now or as of `ended_at`: once, however often it
        does, and only durably. Raises :class:`StateError`; then nothing is recorded."""
        run, duration = self._ended(running, outcome, attempts=1, ended_at=ended_at)
        if not await self._state.finish_durably(run):
            await self._compare(run)
            return
        self._tell(run, duration)
        with suppress(StateError):  # the run is in state; the journal only lists it
            await self._journal(run, duration)

    async def _compare(self, run: Run) -> None:
        """A run has one outcome, the first; what says otherwise later is at least in the log."""
        known = await self._state.history.run(run.run_id)
        if known is not None and known.outcome not in (None, run.outcome):
            log.warning(
                "%s reports %s of a run that has ended with %s, which stays: give each run a `rid`",
                run.task, run.outcome, known.outcome,
                extra={"event": "run_ended_twice", "task": run.task, "run_id": run.run_id},
            )  # fmt: skip

    async def block(self, run: Run, *, covered: bool) -> None:
        """Record a slot that got no run because of another task."""
        run = replace(run, error=truncate_masked(run.error or "", ERROR_CHARS, self._mask))
        self._remember(run)
        log.warning(
            "%s is blocked: %s",
            run.task,
            run.error,
            extra={"event": "run_blocked", "task": run.task, "run_id": run.run_id,
                   **slot_field(run.slot)},
        )  # fmt: skip
        await self._state.block(run, covered=covered)
        blocked = {"slot": run.slot, "at": run.ended_at, "run_id": run.run_id, "why": run.error}
        await self._state.keep(BLOCKED, run.task, blocked)
        await self._journal(run, 0.0)

    def _ended(
        self, running: RunningRun, outcome: Outcome, attempts: int, ended_at: float | None = None
    ) -> tuple[Run, float]:
        """The run with its end, and how long it took in seconds."""
        now = self._clock.now()
        late = 0.0 if ended_at is None else now - ended_at
        duration = max(0.0, self._clock.monotonic() - running.began - late)
        run = replace(
            running.to_run(),
            outcome=outcome.kind,
            ended_at=now - late,
            attempts=attempts,
            items=nan_to_none(outcome.items),
            error=_utf8(truncate_masked(outcome.error, ERROR_CHARS, self._mask))
            if outcome.error
            else None,
            tail=_utf8(self._mask(outcome.tail)) or None,
            message=_utf8(truncate_masked(outcome.message, MESSAGE_CHARS, self._mask))
            if outcome.message
            else None,
        )
        return run, duration

    def failures(self) -> dict[str, dict[str, str]]:
        """By task, `reason`, `run_id` and `text` of its newest failure, whether or not the disk
        took it."""
        return {**self._state.kept(FAILURE), **self._failures}

    def _tell(self, run: Run, duration: float) -> None:
        # Of a slot of the past nobody is to hear when the newest one is what fails.
        is_failure = run.outcome not in ("success", None) and run.trigger != "backfill"
        if is_failure and not self._has_newer_failure(run):
            text = " ".join((run.error or "").split())
            if len(text) > FAILURE_CHARS:  # it is masked already
                text = f"{text[: FAILURE_CHARS - 1]}…"
            self._failures[run.task] = {
                "reason": str(run.outcome), "run_id": run.run_id, "text": text
            }  # fmt: skip
        if run.task in self.known:
            self._count(run, duration)
        self._remember(run)
        _log_end(run, duration)

    def _has_newer_failure(self, run: Run) -> bool:
        """Whether this one was reported late."""
        known = self.newest.get(self._failures.get(run.task, {}).get("run_id", ""))
        return (
            known is not None
            and (run.ended_at or math.inf) < (known.ended_at or 0.0) <= self._clock.now()
        )

    def _remember(self, run: Run) -> None:
        self.newest[run.run_id] = run
        while len(self.newest) > _REMEMBERED:
            del self.newest[next(iter(self.newest))]

    def _count(self, run: Run, duration: float) -> None:
        self._metrics.counter("quant_task_runs_total").labels(run.task).inc()
        if run.outcome != "success":
            self._metrics.counter("quant_task_failures_total").labels(run.task, run.outcome).inc()
        if run.outcome != "crashed":  # nobody knows how long that took
            histogram = self._metrics.histogram("quant_task_duration_seconds")
            histogram.labels(run.task).observe(duration)

    async def _journal(self, run: Run, duration: float) -> None:
        fields = {
            "run_id": run.run_id,
            "task": run.task,
            "slot": run.its_slot,
            "trigger": run.trigger,
            "outcome": run.outcome,
            "items": run.items,
            "duration_seconds": round(duration, 3),
            "error": run.error,
            "message": run.message,
        }
        await self._state.journal("run", run.ended_at or self._clock.now(), fields)
        failure = self._failures.get(run.task)
        if failure and failure["run_id"] == run.run_id:
            await self._state.keep(FAILURE, run.task, failure)


def _utf8(text: str) -> str:
    """As the state can keep it: a file name that is not UTF-8 contains lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def slot_field(slot: float | None) -> dict[str, str]:
    """The slot as a field of a log line; none for a run without one."""
    return {} if slot is None else {"slot": iso(slot)}


def _log_end(run: Run, duration: float) -> None:
    extra = {
        "event": "run_ended",
        "task": run.task,
        "run_id": run.run_id,
        "outcome": run.outcome,
        "duration_seconds": round(duration, 3),
        "attempts": run.attempts,
        **slot_field(run.its_slot),
    }
    if run.items is not None:
        extra["items"] = run.items
    if run.error:
        extra["error_message"] = run.error
    log.log(
        logging.INFO if run.outcome == "success" else logging.ERROR,
        "ended with %s after %.1f s%s%s",
        run.outcome,
        duration,
        f": {run.error or run.message}" if run.error or run.message else "",
        f"\n{_last_of(run.tail)}" if run.tail else "",
        extra=extra,
    )


def _last_of(tail: str) -> str:
    """As much of its end as a log line holds: the end says why a run failed."""
    return tail if len(tail) <= _TAIL_IN_LOG else drop_partial_start(tail[-_TAIL_IN_LOG:])
