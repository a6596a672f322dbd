"""All attempts of one run, and the pauses between them."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable

from exporter.config import Task
from exporter.metrics import Metrics
from exporter.redaction.truncate import truncate_masked
from exporter.runner.attempts import Attempts
from exporter.runner.results import RunningRun
from exporter.tasks.base_context import About
from exporter.tasks.outcome import ERROR_CHARS, Outcome
from exporter.util.backoff import backoff_cap, backoff_pause
from exporter.util.clock import Clock

log = logging.getLogger(__name__)


class Retries:
    """The retry rule of runs. `draining` is set once nothing more may be started."""

    def __init__(
        self,
        attempts: Attempts,
        metrics: Metrics,
        clock: Clock,
        rng: random.Random,
        *,
        mask: Callable[[str], str],
        draining: asyncio.Event,
    ) -> None:
        self._attempts, self._clock, self._rng, self._mask = attempts, clock, rng, mask
        self._retried = metrics.counter("quant_task_retries_total")
        self._draining = draining

    async def run(self, run: RunningRun, task: Task) -> Outcome:
        """Until one succeeds, none may help, or `max_runtime` or the exporter ends."""
        ends = run.began + task.max_runtime_seconds
        while True:
            left = ends - self._clock.monotonic()
            about = About(
                run.task, run.run_id, run.its_slot, run.attempt,
                {**task.params, **json.loads(run.params or "{}")}, task.source, task.exchange,
            )  # fmt: skip
            outcome = await self._attempts.run(task, about, max(min(task.timeout, left), 0.01))
            retry = run.attempt - 1
            if outcome.kind == "success" or not outcome.retryable or retry >= task.retries:
                return outcome
            if self._attempts.still_there(run.task):
                return outcome
            cap = backoff_cap(task.backoff, retry)
            pause = backoff_pause(cap, self._rng, outcome.retry_after_seconds)
            if self._clock.monotonic() + pause >= ends or self._draining.is_set():
                return outcome
            log.warning(
                "attempt %d of %d ended with %s, the next follows in %.1f s: %s",
                run.attempt,
                task.retries + 1,
                outcome.kind,
                pause,
                truncate_masked(outcome.error or "", ERROR_CHARS, self._mask),
                extra={"event": "run_retry", "attempt": run.attempt, "outcome": outcome.kind},
            )
            try:
                await asyncio.wait_for(self._draining.wait(), pause)
            except TimeoutError:
                pass
            else:
                return outcome
            run.attempt += 1
            self._retried.labels(run.task).inc()
