"""State in memory, as the runner needs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.state import Claim, Run, StateError, TaskState, snapshot
from exporter.state.snapshot import Contents


class MemoryStore:
    """Changes its contents by the same steps as the real state, and notes what it was given.
    ``durable = False`` refuses claims."""

    def __init__(self) -> None:
        self._contents = Contents()
        self.claims: list[Claim] = []
        self.ends: list[Run] = []
        self.kept_values: dict[str, dict[str, Any]] = {}
        self.rows: list[tuple[str, float, dict[str, Any]]] = []
        self.advanced: list[tuple[str, float]] = []
        self.durable = True
        self.history = self

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        return self._contents.tasks

    @property
    def open(self) -> dict[str, Run]:
        """Runs without an end. A test may put one here."""
        return self._contents.open_runs  # type: ignore[return-value]

    def open_runs(self) -> list[Run]:
        return list(self.open.values())

    async def claim(self, claim: Claim) -> bool:
        if not self.durable:
            raise StateError("the disk is full")
        slots = {(c.task, c.slot) for c in self.claims if c.slot is not None}
        if (claim.task, claim.slot) in slots:
            self._contents = snapshot.advance(self._contents, claim.task, claim.slot)
            return False
        self.claims.append(claim)
        self._contents = snapshot.claim(self._contents, claim)
        return True

    async def advance(self, task: str, cursor: float) -> None:
        self.advanced.append((task, cursor))
        self._contents = snapshot.advance(self._contents, task, cursor)

    async def finish(self, end: Run) -> None:
        self.ends.append(end)
        self._contents = snapshot.finish(self._contents, end, math.inf)

    async def block(self, end: Run, *, covered: bool) -> None:
        self.ends.append(end)
        self._contents = snapshot.block(self._contents, end, covered=covered)

    async def finish_durably(self, end: Run) -> bool:
        if not self.durable:
            raise StateError("the disk is full")
        if end.run_id in {known.run_id for known in self.ends}:
            return False
        await self.finish(end)
        return True

    async def run(self, run_id: str) -> Run | None:
        found = (end for end in self.ends if end.run_id == run_id)
        return next(found, self.open.get(run_id))

    async def runs_for(self, task: str, begin: float, end: float) -> list[Run]:
        known = [*self.open.values(), *self.ends]
        return [
            run
            for run in known
            if run.task == task and run.its_slot is not None and begin <= run.its_slot <= end
        ]

    async def reopen(self, run_id: str) -> bool:
        known = run_id in self.open
        self._contents = snapshot.reopen(self._contents, run_id)
        return known

    def kept(self, kind: str) -> dict[str, Any]:
        return dict(self.kept_values.get(kind, {}))

    async def keep(self, kind: str, name: str, value: Any) -> None:
        self.kept_values.setdefault(kind, {})[name] = value

    async def journal(self, kind: str, at: float, fields: dict[str, Any]) -> None:
        self.rows.append((kind, at, fields))
