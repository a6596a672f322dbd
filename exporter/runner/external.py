"""External tasks: they run elsewhere and report when they start, succeed or fail.

A run is open from its start to its end, or until ``max_runtime`` passed without a word. An end that
finds no open run is a run too: a program may report nothing else. Runs that overlap are told apart
by a run id of the program's own (``rid``); without one, a task has a single open run.

What a ping changes in memory it changes before it first waits, so pings of one task that come at
the same time cannot lose each other. A ping is accepted once it is durable.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.config import Task
from exporter.logs.log_context import fields
from exporter.redaction.truncate import mask_window
from exporter.runner.recorder import Recorder
from exporter.runner.results import RunningRun, Store, running_of
from exporter.scheduling.slot_counts import SlotCounts
from exporter.state import Claim, Run, StateError
from exporter.tasks.outcome import ERROR_CHARS, Outcome
from exporter.util.clock import Clock
from exporter.util.units import format_duration

log = logging.getLogger(__name__)

PingKind = Literal["start", "success", "fail", "log"]


@dataclass(frozen=True, slots=True)
class Ping:
    """What a program reports about its run; `rid` tells overlapping runs apart. `started`
    and `ended`, Unix seconds, say when it really was, where that is not now."""

    kind: PingKind
    items: int | None = None
    message: str | None = None
    rid: str | None = None
    output: str = ""
    started: float | None = None
    ended: float | None = None


class External:
    """The runs of external tasks."""

    def __init__(
        self,
        state: Store,
        clock: Clock,
        new_id: Callable[[], str],
        record: Recorder,
        counts: SlotCounts,
    ) -> None:
        self._state, self._clock, self._new_id = state, clock, new_id
        self._record, self._counts = record, counts
        self._tasks: Mapping[str, Task] = {}
        self._open: dict[str, RunningRun] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._claims: dict[str, asyncio.Future[bool]] = {}
        """Starts that are on their way to the disk: whether they got there."""
        self._ending: set[asyncio.Task[Run]] = set()

    def apply(self, tasks: Mapping[str, Task]) -> None:
        """Use the tasks as configured."""
        self._tasks = tasks

    @property
    def open_runs(self) -> list[RunningRun]:
        """The runs under way, of all tasks."""
        return list(self._open.values())

    async def ping(self, task: str, ping: Ping) -> str:
        """Take in what the program reports; the run's id. Raises :class:`StateError` when it is
        not durable, so that the program reports it again."""
        if ping.kind == "log":
            return self._log(task, ping)
        if ping.kind == "start":
            return await self._start(task, ping)
        if ping.kind == "success":
            items = math.nan if ping.items is None else float(ping.items)
            outcome = Outcome("success", items=items, tail=ping.output)
        else:
            text = mask_window(" ".join((ping.message or "").split()), ERROR_CHARS)
            text = text or "reported a failure without a message"
            outcome = Outcome("error", text, tail=ping.output)
        return await self._end(task, ping, outcome)

    def take_up(self, run: Run) -> None:
        """A run that was open when the exporter ended; its program knows nothing of that."""
        self._watch(running_of(run, self._clock))

    def close(self) -> None:
        """Stop watching; the runs stay open and are taken up at the next start."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _log(self, task: str, ping: Ping) -> str:
        """A line of the log, and nothing else."""
        known = self._find(task, ping.rid)
        run_id = known.run_id if known else ""
        with fields(task=task, run_id=run_id):
            log.info("reports: %s", ping.output or "nothing", extra={"event": "ping_log"})
        return run_id

    async def _start(self, task: str, ping: Ping) -> str:
        rid = ping.rid
        known = self._find(task, rid)
        if known is not None:
            self._watch(known)  # its time counts from now
            if rid is None:
                self._say_overlap(known)
            claiming = self._claims.get(known.run_id)
            if claiming is not None and not await asyncio.shield(claiming):
                raise StateError("the run's start could not be kept")
            return known.run_id
        run = self._new_run(task, ping)
        self._say_parallel(run)
        self._watch(run)
        claiming = self._claims[run.run_id] = asyncio.get_running_loop().create_future()
        try:
            await self._state.claim(Claim(run.run_id, task, None, "manual", run.started_at))
            claiming.set_result(True)
        except StateError:
            if self._open.get(run.run_id) is run:
                self._forget(run)
            if rid is not None and await self._has_ended(run.run_id):
                return run.run_id  # reported again after its end
            raise
        finally:
            del self._claims[run.run_id]
            if not claiming.done():
                claiming.set_result(False)
        return run.run_id

    async def _end(self, task: str, ping: Ping, outcome: Outcome) -> str:
        rid = ping.rid
        found = self._find(task, rid)
        run = found or self._new_run(task, ping)
        if found is not None:
            self._forget(found)
        try:
            await self._record.accept(run, outcome, ping.ended)
        except BaseException:
            if found is not None and self._find(task, rid) is None:
                self._watch(found)  # the program will report again
            raise
        self._forget(run)  # reported twice at once, one of them in vain: it may be open again
        return run.run_id

    def _find(self, task: str, rid: str | None) -> RunningRun | None:
        if rid is not None:
            return self._open.get(_run_id(task, rid))
        unnamed = (r for r in self._open.values() if r.task == task and not _has_rid(r))
        return next(unnamed, None)

    def _new_run(self, task: str, ping: Ping) -> RunningRun:
        run_id = self._new_id() if ping.rid is None else _run_id(task, ping.rid)
        now, began = self._clock.now(), self._clock.monotonic()
        started = next((t for t in (ping.started, ping.ended) if t is not None), now)
        return RunningRun(run_id, task, None, "manual", started, began - (now - started))

    def _watch(self, run: RunningRun) -> None:
        """The run is open, and its `max_runtime` counts: from its start, or again from now."""
        passed = 0.0 if run.run_id in self._open else self._clock.monotonic() - run.began
        self._forget(run)
        self._open[run.run_id] = run
        limit = self._tasks[run.task].max_runtime_seconds
        self._timers[run.run_id] = asyncio.get_running_loop().call_later(
            max(0.0, limit - passed), self._time_out, run, limit
        )

    def _forget(self, run: RunningRun) -> None:
        self._open.pop(run.run_id, None)
        timer = self._timers.pop(run.run_id, None)
        if timer:
            timer.cancel()

    def _time_out(self, run: RunningRun, limit: float) -> None:
        self._forget(run)
        text = f"reported nothing for {format_duration(limit)} after its start"
        ending = asyncio.ensure_future(self._record(run, Outcome("timeout", text), attempts=1))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _say_overlap(self, run: RunningRun) -> None:
        self._counts.skipped(run.task, "overlap")
        log.warning(
            "%s reports a start while a run is open: runs that overlap need a `rid` each",
            run.task,
            extra={"event": "start_overlaps", "task": run.task, "run_id": run.run_id},
        )

    def _say_parallel(self, run: RunningRun) -> None:
        """Runs with ids of their own may overlap; whoever did not mean them to should know."""
        others = [other for other in self._open.values() if other.task == run.task]
        if others:
            log.warning(
                "%s starts while %d other %s open",
                run.task,
                len(others),
                "run is" if len(others) == 1 else "runs are",
                extra={"event": "runs_overlap", "task": run.task, "run_id": run.run_id},
            )

    async def _has_ended(self, run_id: str) -> bool:
        run = await self._state.history.run(run_id)
        return run is not None and run.outcome is not None


def _run_id(task: str, rid: str) -> str:
    """A program may use one id for several tasks."""
    return f"{rid}.{task}"


def _has_rid(run: RunningRun) -> bool:
    return run.run_id.endswith(f".{run.task}")
