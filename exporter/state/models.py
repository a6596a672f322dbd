"""What state holds, as plain values. Every moment is Unix seconds in UTC; None: never."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["success", "error", "timeout", "no_data", "stale_data", "crashed", "blocked"]
"""How a run ended; every run ends with exactly one. One that is blocked did not start, because a
task that it comes after did not succeed: neither a success nor a failure."""
Trigger = Literal["schedule", "catch_up", "manual", "rerun", "backfill"]
"""Why a run was started. A backfill is for a slot before the newest: how it ends says nothing about
the task as it is now."""
JSON = Any
"""What :mod:`json` reads and writes: text, numbers, lists, mappings with text keys, None."""


class StateError(Exception):
    """State cannot do what it was asked; the text says why and what to do."""


class AlreadyRunning(StateError):  # noqa: N818 - says what is the case
    """Another process is the scheduler of this state file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        who = f"another quant-exporter (pid {pid})" if pid else "another quant-exporter"
        super().__init__(
            f"{who} already uses {path}; stop it first, "
            "or give this one its own state file (`state:` in its config)"
        )


@dataclass(frozen=True, slots=True)
class TaskState:
    """What is known of one task."""

    cursor: float | None = None
    """Slots up to here are accounted for: run, missed or skipped."""
    covered_until: float | None = None
    """A success covers every slot up to its end."""
    last_success: float | None = None
    last_failure: float | None = None
    last_start: float | None = None
    consecutive_failures: int = 0
    items: float | None = None
    """How many items the newest successful run reported."""
    schedule: str = ""
    """The schedule the cursor belongs to; empty: the task is not configured now."""
    paused_until: float | None = None
    """End of the newest pause; one in the past is over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Asks for the one run of a slot. A manual run has no slot."""

    run_id: str
    task: str
    slot: float | None
    trigger: Trigger
    at: float
    for_slot: float | None = None
    params: str | None = None
    """As in :class:`Run`."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the file has it: open as long as it has no outcome."""

    run_id: str
    task: str
    slot: float | None
    trigger: Trigger
    claimed_at: float
    reopened: int = 0
    """How often it was started again after a crash."""
    outcome: Outcome | None = None
    started_at: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    items: float | None = None
    error: str | None = None
    tail: str | None = None
    """The last lines of what it wrote."""
    message: str | None = None
    """What it says of a success."""
    for_slot: float | None = None
    """The slot that it runs once more: `slot` belongs to the run that claimed it first."""
    params: str | None = None
    """JSON: what whoever started it gave it beyond the task's own `params`."""

    @property
    def its_slot(self) -> float | None:
        """The slot that it is for, whether or not it claimed it."""
        return self.for_slot if self.slot is None else self.slot


@dataclass(frozen=True, slots=True)
class Tally:
    """Runs of one task that ended alike; the newest of them was claimed at `newest`."""

    task: str
    outcome: str
    count: int
    newest: float
    run_id: str
    """Of the newest."""
    error: str | None
    """Of the newest."""


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """How long a task's runs took, in seconds."""

    task: str
    longest: float
    mean: float


@dataclass(frozen=True, slots=True)
class JournalRow:
    """Something that happened: a notification, a silence, a resolution, …"""

    id: int
    kind: str
    at: float
    fields: dict[str, JSON]


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Some rows of the journal, oldest first."""

    rows: list[JournalRow]
    unreadable: int
    """Rows that are not JSON, left out."""
    end: tuple[float, int] | None
    """After what to ask for the next page; None when this is the last one."""
