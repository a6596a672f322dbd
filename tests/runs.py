"""Runs that ended, as state is given them."""

from __future__ import annotations

from typing import Any

from exporter.state import Run


def ended(
    run_id: str,
    task: str,
    slot: float | None,
    outcome: Any,
    started_at: float,
    ended_at: float,
    **more: Any,
) -> Run:
    """A run that was claimed by its schedule at the moment at which it started."""
    values = {"trigger": "schedule", "claimed_at": started_at, "attempts": 1, **more}
    return Run(
        run_id, task, slot, outcome=outcome, started_at=started_at, ended_at=ended_at, **values
    )
