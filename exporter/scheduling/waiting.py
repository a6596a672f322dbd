"""Slots that have come, but whose ancestors (`after`) have not succeeded yet.

A slot waits without a claim: nothing has started. That it waits is kept, so that after a restart it
goes on waiting instead of being too late. When `max_wait` is over, it is recorded as `blocked`,
which is not a failure: where the ancestor's own alert is the news, the slot counts as covered, so
that no second alert follows; else the task's own deadline stays.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from exporter.metrics import Sample
from exporter.scheduling.ancestors import Ancestors, Missing
from exporter.scheduling.forecast import Forecast, Plan
from exporter.scheduling.slot_counts import SlotCounts
from exporter.util.clock import Clock, iso

log = logging.getLogger(__name__)

WAITING = "waiting"
"""Kept under this kind: the slot of each task that waits."""
Trigger = Literal["schedule", "catch_up"]


class WaitingState(Protocol):
    """What is used of :class:`exporter.state.State`."""

    def kept(self, kind: str) -> dict[str, Any]: ...
    async def keep(self, kind: str, name: str, value: Any) -> Any: ...
    async def advance(self, task: str, cursor: float) -> Any: ...


class WaitingRunner(Protocol):
    """What is used of :class:`exporter.runner.runner.Runner`."""

    def submit(self, task: str, slot: float | None, trigger: Trigger) -> Awaitable[Any]: ...
    def is_busy(self, task: str) -> bool: ...
    def is_backfilling(self, task: str) -> bool: ...
    async def block(self, task: str, slot: float, why: str, *, covered: bool) -> Any: ...


@dataclass(frozen=True)
class Held:
    """A slot that waits, since when."""

    plan: Plan
    slot: float
    trigger: Trigger
    since: float

    @property
    def until(self) -> float:
        """How long it waits at the latest."""
        task = self.plan.task
        return self.since + (task.longest_wait if task.after else task.grace)


class Waiting:
    """At most one slot a task: a newer one takes the place of the one before."""

    def __init__(
        self,
        state: WaitingState,
        runner: WaitingRunner,
        ancestors: Ancestors,
        *,
        forecast: Forecast,
        clock: Clock,
        counts: SlotCounts,
    ) -> None:
        self._state, self._runner, self._ancestors = state, runner, ancestors
        self._forecast, self._clock, self._counts = forecast, clock, counts
        self._held: dict[str, Held] = {}
        self._plans: Mapping[str, Plan] = {}

    def apply(self, plans: Mapping[str, Plan]) -> None:
        """Use the plans of a config. A slot of a schedule that is gone waits no longer."""
        self._plans = self._ancestors.plans = plans
        for name, held in list(self._held.items()):
            plan = plans.get(name)
            if plan is None or plan.key != held.plan.key:
                del self._held[name]
            else:
                self._held[name] = replace(held, plan=plan)

    def waits_for(self, task: str) -> tuple[Held, list[Missing]] | None:
        """The slot of a task that waits, and for what; None: none does."""
        held = self._held.get(task)
        return (held, self._ancestors.missing(held.plan, held.slot)) if held else None

    def patience(self, plan: Plan, slot: float) -> float:
        """How long after its time a slot that began to wait before a restart may still start."""
        since = self._since(plan, slot)
        return 0.0 if since is None else since + plan.task.longest_wait - slot

    def _since(self, plan: Plan, slot: float) -> float | None:
        kept = self._state.kept(WAITING).get(plan.name) if plan.task.after else None
        return kept["since"] if kept and kept.get("slot") == slot else None

    def samples(self) -> Iterator[Sample]:
        """Which tasks wait, of those that may."""
        for name, plan in self._plans.items():
            if plan.task.after:
                yield "quant_task_waiting", (name,), float(name in self._held)

    async def start(self, plan: Plan, slot: float, trigger: Trigger) -> None:
        """Start the slot's run, at once or once its ancestors have succeeded. Hold `plan.lock`."""
        if not plan.task.after and not self._runner.is_backfilling(plan.name):
            self._runner.submit(plan.name, slot, trigger)
            return
        held = self._held.get(plan.name)
        if held and held.slot != slot:
            await self._block(held, first="its next slot came first")
        since = self._since(plan, slot)
        since = self._clock.now() if since is None else since
        self._held[plan.name] = held = Held(plan, slot, trigger, since)
        if await self._decide(held):
            return
        missing = self._ancestors.missing(plan, slot)
        log.info(
            "%s waits: %s",
            plan.name,
            "; ".join(each.why for each in missing) or "a run of it is under way",
            extra={"event": "slot_waits", "task": plan.name, "slot": iso(slot)},
        )
        await self._state.keep(WAITING, plan.name, {"slot": slot, "since": since})

    async def look(self) -> None:
        """Whether what the slots wait for has come, or their time is over."""
        for name in list(self._held):
            plan = self._plans.get(name)
            if plan is None:
                continue  # a reload meanwhile removed it
            async with plan.lock:
                if held := self._held.get(name):
                    await self._decide(held)

    async def _decide(self, held: Held) -> bool:
        """Whether it waits no longer."""
        name, now = held.plan.name, self._clock.now()
        missing = self._ancestors.missing(held.plan, held.slot)
        if self._forecast.paused_until(name):
            del self._held[name]
            self._counts.skipped(name, "paused")
            await self._state.advance(name, held.slot)
        elif not missing and (now >= held.until or not self._runner.is_busy(name)):
            del self._held[name]
            self._runner.submit(name, held.slot, held.trigger)
        elif now >= held.until:
            await self._block(held)
        else:
            return False
        return True

    async def _block(self, held: Held, *, first: str = "") -> None:
        name = held.plan.name
        missing = self._ancestors.missing(held.plan, held.slot)
        why = "; ".join(filter(None, [first, *(each.why for each in missing)]))
        del self._held[name]
        notified = all(each.notified for each in missing)
        owes_no_other = self._forecast.first_owed(name) >= held.slot
        await self._runner.block(name, held.slot, why, covered=notified and owes_no_other)
