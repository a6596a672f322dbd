"""What a limit does: pauses tasks and runs one, once, claimed on disk before it is done.

The pause is in the claim's own transaction, so a kill between them cannot happen. The run is
claimed under the id that the record has: after a kill, a run of that id was started, and none of it
was not; then it starts while it is not too late (the task's `grace`), and else a message says so.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from exporter.config import Config, LimitSettings
from exporter.limits.action_record import HELD_UNTIL, KIND, ActionRecord
from exporter.messages.message import ChannelMessage
from exporter.messages.outbox import Outbox
from exporter.runner.results import BusyError, RunningRun
from exporter.state import Run, State, StateError
from exporter.util.clock import Clock, iso

log = logging.getLogger(__name__)


class RunStarter(Protocol):
    """What actions need of the runner."""

    @property
    def running(self) -> Mapping[str, RunningRun]: ...
    def recall(self, run_id: str) -> Run | None: ...
    async def start_manual(self, task: str, *, run_id: str | None = None) -> str: ...


class Actions:
    """Every action that is not over. Use it on the loop."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        outbox: Outbox,
        runner: RunStarter,
        paused_until: Callable[[str], float | None],
    ) -> None:
        self._state, self._clock, self._outbox = state, clock, outbox
        self._runner, self._paused_until = runner, paused_until
        self._config: Config | None = None
        self.records: dict[str, ActionRecord] = {}
        self._held_back: set[str] = set()
        """Records whose run waits because its own task is paused, which has been reported."""
        self.unclaimed: dict[str, str] = {}
        """Actions that the disk did not take, by record name, and why."""

    def apply(self, config: Config) -> None:
        """Use the tasks of the running config; at the start, read what is kept."""
        if self._config is None:
            for value in self._state.kept(KIND).values():
                try:
                    record = ActionRecord.from_json(value)
                except TypeError:
                    log.error(
                        "an action of a limit cannot be read: %s", value,
                        extra={"event": "limit_action_unreadable"},
                    )  # fmt: skip
                    continue
                self.records[record.name] = record
        self._config = config

    def holder(self, task: str) -> str | None:
        """Why a task is paused by limits, in words; None when none holds it."""
        holding = [r for r in self.records.values() if r.holds and task in r.pause]
        if not holding:
            return None
        first = holding[0]
        also = "".join(f", and by {record.title}" for record in holding[1:])
        return f"paused by the limit {first.title}{also}: {first.why}"

    # --- doing

    async def act(self, limit: str, settings: LimitSettings, strategy: str, why: str) -> None:
        """Claim it, with its pause; a run follows in :meth:`go_on`. Does nothing when the limit
        has acted and not been undone and rearmed since."""
        action = settings.on_critical
        if action is None or f"{limit}|{strategy}" in self.records:
            return
        record = ActionRecord(
            limit, strategy, self._clock.now(), why, action.pause, action.run or "",
            uuid.uuid4().hex if action.run else "", action.to, action.wait,
            "claimed" if action.run else "done", before=self._pauses_by_hand(action.pause),
        )  # fmt: skip
        try:
            await self._state.hold(KIND, record.name, record.to_json(), record.pause, HELD_UNTIL)
        except StateError as error:
            await self._only_pause(record, str(error))
            return
        self.unclaimed.pop(record.name, None)
        self.records[record.name] = record
        log.critical(
            "the limit %s acts: %s; %s", record.title, record.why, self._what(record),
            extra={"event": "limit_acted", "limit": limit, "strategy": strategy},
        )  # fmt: skip
        await self._announce(record)

    async def _announce(self, record: ActionRecord) -> None:
        """Also after a kill between the claim and this."""
        text = f"{record.why}. {self._what(record)}."
        await self._tell(record, f"Limit {record.title} acted", text)
        await self._update(replace(record, told=True))
        await self._state.journal(KIND, record.at, {**record.to_json(), "what": "acted"})

    async def _only_pause(self, record: ActionRecord, why: str) -> None:
        """The disk takes no claim. A pause may be done twice and is in force in memory; a run may
        not, and waits for the disk."""
        for task in record.pause:
            await self._state.pause(task, HELD_UNTIL)
        if record.name not in self.unclaimed:
            log.critical(
                "the limit %s cannot be claimed on disk: %s; %s", record.title, why,
                f"paused in memory: {', '.join(record.pause) or 'nothing'}"
                + (f"; {record.run} is not run" if record.run else ""),
                extra={"event": "limit_not_claimed", "limit": record.limit},
            )  # fmt: skip
        self.unclaimed[record.name] = why

    def _pauses_by_hand(self, tasks: Collection[str]) -> dict[str, float]:
        now, known = self._clock.now(), self._state.tasks
        ends = {task: known[task].paused_until for task in tasks if task in known}
        return {task: end for task, end in ends.items() if end and now < end < HELD_UNTIL}

    async def go_on(self) -> None:
        """Start and watch the runs of actions that are under way."""
        for record in list(self.records.values()):
            if not record.told:
                await self._announce(record)
        for record in list(self.records.values()):
            if record.under_way:
                await self._go_on(record)

    async def _go_on(self, record: ActionRecord) -> None:
        run = self._runner.recall(record.run_id)
        try:
            run = run or await self._state.history.run(record.run_id)
        except StateError:
            return  # asked again in a moment
        if run is None:
            await self._start(record)
        elif run.outcome == "success":
            await self._end(replace(record, status="done"), f"{record.run} succeeded")
        elif run.outcome is not None:
            why = run.error or run.outcome
            await self._fail(record, f"{record.run} ended with {run.outcome}: {why}")
        elif record.status == "claimed":
            await self._update(replace(record, status="running"))

    async def _start(self, record: ActionRecord) -> None:
        task = self._config.tasks.get(record.run) if self._config else None
        if task is None:
            await self._fail(record, f"{record.run} is not configured any more")
            return
        now = self._clock.now()
        if now > record.at + record.wait + task.grace:
            await self._fail(record, f"{record.run} could not be started in time")
            return
        if now - record.at < record.wait and any(t in self._runner.running for t in record.pause):
            return  # two programs that trade at the same time are worse than a minute
        if self._paused_until(record.run) is not None:  # by hand: the grace decides
            await self._say_held_back(record, record.at + record.wait + task.grace)
            return
        if shared := await self._run_of_another(record):
            await self._update(replace(record, run_id=shared))
            return
        try:
            await self._runner.start_manual(record.run, run_id=record.run_id)
        except (BusyError, StateError) as error:
            log.warning(
                "%s is not started yet for the limit %s: %s", record.run, record.title, error,
                extra={"event": "limit_run_waits", "limit": record.limit, "task": record.run},
            )  # fmt: skip

    async def _say_held_back(self, record: ActionRecord, until: float) -> None:
        """Positions stay open as long as nobody knows that they do."""
        if record.name in self._held_back:
            return
        self._held_back.add(record.name)
        text = (
            f"{record.run} is paused, so it does not run: `quant-exporter resume {record.run}` "
            f"starts it, until {iso(until)}; after that, do it by hand"
        )
        log.critical(
            "the action of the limit %s: %s", record.title, text,
            extra={"event": "limit_run_paused", "limit": record.limit, "task": record.run},
        )  # fmt: skip
        await self._tell(
            record, f"Action of limit {record.title} waits", f"{text}.", about="paused"
        )

    async def _run_of_another(self, record: ActionRecord) -> str:
        """The run of the same task that another limit has started, if it is under way or began
        after this claim: two limits that act at once close the positions once."""
        for other in list(self.records.values()):
            if other.run != record.run or other.run_id in ("", record.run_id):
                continue
            try:
                run = self._runner.recall(other.run_id) or await self._state.history.run(
                    other.run_id
                )
            except StateError:
                continue
            if run and (run.outcome is None or run.claimed_at >= record.at):
                return other.run_id
        return ""

    async def _fail(self, record: ActionRecord, why: str) -> None:
        text = (
            f"{why}. Nothing is tried again: do it by hand, for example with "
            f"`quant-exporter run-task {record.run}`"
        )
        await self._end(replace(record, status="failed", error=why), text)

    async def _end(self, record: ActionRecord, text: str) -> None:
        """Its run is over. The message goes first: after a kill it is sent again, which its key
        makes harmless."""
        failed = record.status == "failed"
        log.log(
            logging.CRITICAL if failed else logging.WARNING,
            "the action of the limit %s: %s", record.title, text,
            extra={"event": "limit_action_failed" if failed else "limit_action_done",
                   "limit": record.limit, "strategy": record.strategy},
        )  # fmt: skip
        word = "failed" if failed else "is done"
        await self._tell(record, f"Action of limit {record.title} {word}", f"{text}.")
        await self._update(record)
        fields = {**record.to_json(), "what": record.status}
        await self._state.journal(KIND, self._clock.now(), fields)

    async def _update(self, record: ActionRecord) -> None:
        self.records[record.name] = record
        await self._state.keep(KIND, record.name, record.to_json())

    # --- undoing

    async def resume(self, limit: str) -> list[str]:
        """Undo the pauses of a limit, by hand; the tasks that run again. :class:`KeyError` when
        it holds nothing."""
        mine = [r for r in self.records.values() if r.limit == limit and r.holds]
        if not mine:
            raise KeyError(limit)
        now = self._clock.now()
        for record in mine:
            self.records[record.name] = replace(record, resumed_at=now)
        freed = {}
        for task in sorted({task for record in mine for task in record.pause}):
            if self.holder(task) is None:
                until = max((r.before.get(task, 0.0) for r in mine), default=0.0)
                freed[task] = until if until > now else None
        values = [(KIND, r.name, self.records[r.name].to_json()) for r in mine]
        await self._state.free(values, freed)
        log.warning(
            "the limit %s was resumed by hand", limit,
            extra={"event": "limit_resumed", "limit": limit},
        )  # fmt: skip
        await self._state.journal(KIND, now, {"limit": limit, "what": "resumed", "tasks": [*freed]})
        return list(freed)

    async def rearm(self, name: str) -> None:
        """The value is back: after it was resumed, the limit may act again."""
        record = self.records.get(name)
        if record is not None and not record.holds:
            del self.records[name]
            self._held_back.discard(name)
            await self._state.forget(KIND, name)

    # --- telling

    def _what(self, record: ActionRecord) -> str:
        parts = []
        if record.pause:
            parts.append(f"paused until you resume it: {', '.join(record.pause)}")
        if record.run:
            parts.append(f"runs {record.run}")
        return f"{'; '.join(parts)}. Undo: quant-exporter resume --limit {record.limit}"

    async def _tell(self, record: ActionRecord, title: str, text: str, *, about: str = "") -> None:
        known: Sequence[str] = self._outbox.channels
        to = [name for name in record.to if name in known] or list(known)
        if to:
            key = f"{KIND}|{record.name}|{record.at}|{record.status}|{record.told}{about}"
            await self._outbox.post(ChannelMessage(title, [text]), to, source=KIND, key=key)
