"""What must survive a restart, in one SQLite file."""

from exporter.state.models import (
    JSON,
    AlreadyRunning,
    Claim,
    JournalPage,
    JournalRow,
    Outcome,
    Run,
    StateError,
    Tally,
    TaskState,
    TaskTimes,
    Trigger,
)
from exporter.state.store import State

__all__ = [
    "JSON",
    "AlreadyRunning",
    "Claim",
    "JournalPage",
    "JournalRow",
    "Outcome",
    "Run",
    "State",
    "StateError",
    "Tally",
    "TaskState",
    "TaskTimes",
    "Trigger",
]
