"""Runs: at most one a slot, one at a time a task, each ending with exactly one outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.config import Config, Task
from exporter.logs.log_context import fields
from exporter.metrics import Metrics
from exporter.runner.attempts import Attempts
from exporter.runner.by_hand import NOW, ByHand
from exporter.runner.external import External, Ping
from exporter.runner.jobs import Jobs
from exporter.runner.left_behind import LeftBehind
from exporter.runner.process_outcome import STOPPED
from exporter.runner.recorder import Recorder, slot_field
from exporter.runner.results import BusyError, RunningRun, Store, running_of
from exporter.runner.retries import Retries
from exporter.runner.samples import TaskSeries, create_series
from exporter.runner.service_watch import ServiceWatch
from exporter.runner.systemd import Systemd
from exporter.scheduling.slot_counts import SlotCounts
from exporter.state import Claim, Run, StateError, Trigger
from exporter.tasks.base_context import Services
from exporter.tasks.outcome import Outcome
from exporter.util.clock import Clock

log = logging.getLogger(__name__)


class Runner:
    """Runs the configured tasks. Use it on the loop alone."""

    def __init__(
        self,
        state: Store,
        metrics: Metrics,
        clock: Clock,
        services: Services,
        rng: random.Random | None = None,
        *,
        mask: Callable[[str], str] = str,
        folder: Path | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self.tasks: Mapping[str, Task] = {}
        self._state, self._metrics, self._clock = state, metrics, clock
        self._rng = rng or random.Random()
        self._counts = SlotCounts(metrics)
        self._record = Recorder(state, metrics, clock, mask)
        lost = metrics.counter("quant_log_dropped_total")
        self._attempts = Attempts(
            clock, services, folder or Path.cwd(), lost.inc, LeftBehind(state)
        )
        self._external = External(state, clock, self._new_id, self._record, self._counts)
        self.service_watch = ServiceWatch(
            state, metrics, clock, self._new_id, record=self._record,
            calendar=services.calendar, systemd=systemd,
        )  # fmt: skip
        self._running: dict[str, RunningRun] = {}
        self._jobs = Jobs(self._attempts, clock, self._running)
        self.when_ended: list[Callable[[], None]] = []
        """Called after each run, once its outcome is in state."""
        self._retries = Retries(
            self._attempts, metrics, clock, self._rng, mask=mask, draining=self._jobs.draining
        )
        series = TaskSeries()
        metrics.add_reader(
            lambda: series.read(
                self.tasks,
                state.tasks,
                self._occupied(),
                left=self._attempts.left.counts(),
                memory=self._attempts.workers.memory_by_task(),
                failures=self._record.failures(),
            )
        )

    @property
    def running(self) -> Mapping[str, RunningRun]:
        """Runs under way, by task; external ones too."""
        return {**{run.task: run for run in self._external.open_runs}, **self._running}

    def _occupied(self) -> set[str]:
        """Tasks with a run under way, or with one that is recorded but could not be ended."""
        stuck = {*self._attempts.uncancellable, *self._attempts.left.tasks}
        return {*self.running, *(task for task in stuck if self._attempts.still_there(task))}

    def is_busy(self, task: str) -> bool:
        """A run of it is under way, or an earlier one could not be ended."""
        return task in self.running or self._attempts.still_there(task) is not None

    async def block(self, task: str, slot: float, why: str, *, covered: bool) -> None:
        """Record that a slot gets no run because of another task, and why. `covered`: nobody need
        hear of it."""
        self._counts.skipped(task, "blocked")
        now = self._clock.now()
        run = Run(
            self._new_id(), task, slot, "schedule", now, outcome="blocked", ended_at=now, error=why
        )
        await self._record.block(run, covered=covered)

    def recall(self, run_id: str) -> Run | None:
        """A run under way or just ended, also when no disk knows of it; None for older ones."""
        for run in (*self._running.values(), *self._external.open_runs):
            if run.run_id == run_id:
                return run.to_run()
        return self._record.newest.get(run_id)

    @property
    def helper_pid(self) -> int | None:
        """The process that forks the workers, once it runs."""
        return self._attempts.workers.helper_pid

    def apply(self, config: Config) -> None:
        """Take the tasks as configured; running ones go on as they began."""
        self.tasks = dict(config.tasks)
        self._record.known = frozenset(self.tasks)
        self._attempts.apply(config)
        self._external.apply(self.tasks)
        self.service_watch.apply(self.tasks)
        if any(task.kind in ("run", "command") for task in self.tasks.values()):
            self._attempts.workers.start()
        create_series(self._metrics, self.tasks)

    def submit(self, task: str, slot: float | None, trigger: Trigger) -> asyncio.Task[Run | None]:
        """Claim the slot, run the task, record the outcome. The result is None when it did not run:
        it overlaps, the slot is claimed already, or no claim would be durable. Raises KeyError."""
        return self._begin(Claim(self._new_id(), task, slot, trigger, self._clock.now()))

    def is_backfilling(self, task: str) -> bool:
        """A run of it for a slot of the past is under way: its schedule goes before the next."""
        run = self._running.get(task)
        return run is not None and run.trigger == "backfill"

    async def start_manual(
        self, task: str, wanted: ByHand = NOW, *, run_id: str | None = None
    ) -> str:
        """Start a run now, for a slot if one is named; its run_id, which may be given. Raises
        :class:`BusyError` or :class:`StateError`."""
        known = self.tasks[task]  # a reload may remove it meanwhile
        if known.kind == "external":
            raise BusyError(f"{task} runs elsewhere; start it there")
        if service := known.service:
            raise BusyError(f"{task} is a service: systemctl start {service}")
        if why := self._why_not(task):
            raise BusyError(why)
        claim = wanted.claim(run_id or self._new_id(), task, self._clock.now())
        run = self._open(claim)
        try:
            claim = await wanted.for_its_slot(claim, self._state)
            run.slot, run.for_slot = claim.slot, claim.for_slot
            if not await self._claim(claim, known):
                raise BusyError(f"{task} has just been started for that slot by its schedule")
        except BaseException:
            del self._running[task]
            raise
        self._jobs.keep(asyncio.create_task(self._run(run, known)))
        return claim.run_id

    async def recover(self) -> None:
        """Close the runs that a dead process left open, or start them again where that is asked."""
        self._attempts.left.restore()
        # Programs may have reported a start already.
        external = {run.run_id for run in self._external.open_runs}
        under_way = external | {run.run_id for run in self._running.values()}
        for run in self._state.open_runs():
            if run.run_id in under_way:
                continue
            task = self.tasks.get(run.task)
            if task and task.kind == "external":
                self._external.take_up(run)
            elif task and self._may_rerun(run, task):
                await self._rerun(run, task)
            else:
                await self._record(
                    running_of(run, self._clock),
                    Outcome("crashed", "the exporter ended while the run was under way"),
                    attempts=max(run.attempts, 1),
                )

    async def ping(self, task: str, ping: Ping) -> str:
        """An external task reports on its run; the run's id. Raises KeyError for a task that is
        not external, and :class:`StateError` when it is not durable."""
        if self.tasks[task].kind != "external":
            raise KeyError(task)
        run_id = await self._external.ping(task, ping)
        self._tell_ended()
        return run_id

    def stop_now(self) -> None:
        """End whatever still runs, without waiting for it."""
        self._jobs.stop_now()

    async def drain(self, timeout: float) -> None:
        """Start nothing more, let running ones finish for `timeout` seconds, then end them. Those
        that must not be interrupted are waited for, as long as their `max_runtime` lasts."""
        await self._jobs.drain(timeout, self.tasks)
        self._external.close()
        self._attempts.left.close()
        self._attempts.workers.close()

    # --- one run

    def _begin(self, claim: Claim) -> asyncio.Task[Run | None]:
        task = self.tasks[claim.task]
        why = "it runs elsewhere" if task.kind == "external" else self._why_not(claim.task)
        if why:
            return self._jobs.keep(asyncio.create_task(self._left_out(claim, why)))
        run = self._open(claim)
        return self._jobs.keep(asyncio.create_task(self._claimed_run(claim, run, task)))

    def _open(self, claim: Claim) -> RunningRun:
        # Before the claim is durable already: a second slot may come while it is written.
        run = RunningRun(
            claim.run_id, claim.task, claim.slot, claim.trigger, claim.at, self._clock.monotonic(),
            for_slot=claim.for_slot, params=claim.params,
        )  # fmt: skip
        self._running[claim.task] = run
        return run

    def _why_not(self, task: str) -> str | None:
        if self._jobs.draining.is_set():
            return "the exporter is stopping"
        if task in self._running:
            return f"{task} is running already"
        return self._attempts.still_there(task)

    async def _left_out(self, claim: Claim, why: str) -> None:
        overlap = claim.task in self._running or self._attempts.still_there(claim.task)
        log.log(
            logging.WARNING if overlap else logging.INFO,
            "%s is not started: %s",
            claim.task,
            why,
            extra={"event": "run_left_out", "task": claim.task, **slot_field(claim.slot)},
        )
        # A slot that comes while the exporter stops is caught up by the next one.
        if overlap and claim.slot is not None and not self._jobs.draining.is_set():
            self._counts.skipped(claim.task, "overlap")
            with contextlib.suppress(StateError):
                await self._state.advance(claim.task, claim.slot)

    async def _claim(self, claim: Claim, task: Task) -> bool:
        """Raises :class:`StateError` when the run may not start without a durable claim."""
        try:
            return await self._state.claim(claim)
        except StateError:
            if task.idempotent:
                return True
            raise

    async def _claimed_run(self, claim: Claim, run: RunningRun, task: Task) -> Run | None:
        try:
            mine = await self._claim(claim, task)
        except StateError as error:
            self._running.pop(claim.task, None)
            log.error(
                "%s is not started: without a durable claim it might run twice: %s",
                claim.task,
                error,
                extra={"event": "run_not_claimed", "task": claim.task, **slot_field(claim.slot)},
            )
            if claim.slot is not None:
                self._counts.missed(claim.task)
                with contextlib.suppress(StateError):
                    await self._state.advance(claim.task, claim.slot)
            return None
        except BaseException:
            self._running.pop(claim.task, None)
            raise
        if not mine:
            self._running.pop(claim.task, None)
            return None
        return await self._run(run, task)

    async def _run(self, run: RunningRun, task: Task) -> Run:
        with fields(task=run.task, run_id=run.run_id):
            log.info(
                "started",
                extra={"event": "run_started", "trigger": run.trigger, **slot_field(run.its_slot)},
            )
            outcome = Outcome("error", STOPPED)
            try:
                outcome = await self._retries.run(run, task)
            finally:
                # Also when cancelled: a run that was claimed is closed, whatever happens.
                self._running.pop(run.task, None)
                result = await self._record(run, outcome, attempts=run.attempt)
                self._tell_ended()
            return result

    def _tell_ended(self) -> None:
        for call in self.when_ended:
            call()

    def _may_rerun(self, run: Run, task: Task) -> bool:
        if not task.rerun_after_crash or self._why_not(run.task):
            return False
        return self._clock.now() - (run.claimed_at if run.slot is None else run.slot) <= task.grace

    async def _rerun(self, run: Run, task: Task) -> None:
        running = running_of(run, self._clock)
        if running.trigger != "backfill":
            running.trigger = "rerun"
        self._running[run.task] = running
        try:
            await self._state.reopen(run.run_id)
        except StateError as error:
            del self._running[run.task]
            await self._record(
                running, Outcome("crashed", f"and could not be started again: {error}"), attempts=1
            )
            return
        self._jobs.keep(asyncio.create_task(self._run(running, task)))

    def _new_id(self) -> str:
        """Sorts by time; unique also after a restart or when the clock was set back."""
        return f"{int(self._clock.now() * 1000):012x}-{self._rng.getrandbits(32):08x}"
