"""Runs that a person starts: now, or once more for a slot of the past."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.runner.results import BusyError, Store
from exporter.state import Claim, Trigger
from exporter.util.clock import iso


@dataclass(frozen=True)
class ByHand:
    """What is asked for."""

    slot: float | None = None
    is_newest: bool = True
    """It is the task's newest slot: how it ends says how the task is now."""
    again: bool = False
    """Also when it has succeeded already."""
    params: Mapping[str, Any] = field(default_factory=dict)

    def claim(self, run_id: str, task: str, at: float) -> Claim:
        """Without the slot; :meth:`for_its_slot` adds it."""
        trigger: Trigger = "manual" if self.is_newest else "backfill"
        params = json.dumps(self.params) if self.params else None
        return Claim(run_id, task, None, trigger, at, params=params)

    async def for_its_slot(self, claim: Claim, state: Store) -> Claim:
        """The first run of a slot claims it, so that none follows by schedule. Raises
        :class:`BusyError` when it has succeeded, and :class:`~exporter.state.StateError`."""
        if self.slot is None:
            return claim
        before = await state.history.runs_for(claim.task, self.slot, self.slot)
        good = next((run for run in before if run.outcome == "success"), None)
        if good and not self.again:
            raise BusyError(
                f"{claim.task} has succeeded for its slot of {iso(self.slot)} already (run "
                f"{good.run_id}); `--again` runs it once more"
            )
        return replace(claim, for_slot=self.slot) if before else replace(claim, slot=self.slot)


NOW = ByHand()
"""A run now, for no slot."""
