"""State in memory, as the runner needs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exporter.state import Claim, Run, StateError, TaskState


class MemoryStore:
    """Claims and ends of runs in dictionaries; ``durable = False`` refuses claims."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskState] = {}
        self.claims: list[Claim] = []
        self.open: dict[str, Run] = {}
        self.ends: list[Run] = []
        self.rows: list[tuple[str, float, dict[str, Any]]] = []
        self.advanced: list[tuple[str, float]] = []
        self.durable = True

    def open_runs(self) -> list[Run]:
        return list(self.open.values())

    async def claim(self, claim: Claim) -> bool:
        if not self.durable:
            raise StateError("the disk is full")
        slots = {(c.task, c.slot) for c in self.claims if c.slot is not None}
        if (claim.task, claim.slot) in slots:
            return False
        self.claims.append(claim)
        self.open[claim.run_id] = Run(claim.run_id, claim.task, claim.slot, claim.trigger, claim.at)
        return True

    async def advance(self, task: str, cursor: float) -> None:
        self.advanced.append((task, cursor))

    async def finish(self, end: Run) -> None:
        self.open.pop(end.run_id, None)
        self.ends.append(end)
        known = self.tasks.get(end.task, TaskState())
        if end.outcome == "success":
            known = replace(known, last_success=end.ended_at, items=end.items)
        else:
            failures = known.consecutive_failures + 1
            known = replace(known, last_failure=end.ended_at, consecutive_failures=failures)
        self.tasks[end.task] = known

    async def reopen(self, run_id: str) -> bool:
        return run_id in self.open

    async def journal(self, kind: str, at: float, fields: dict[str, Any]) -> None:
        self.rows.append((kind, at, fields))
