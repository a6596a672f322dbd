"""What must outlive the process, in one SQLite file."""

from exporter.state.records import (
    JSON,
    AlreadyRunning,
    Claim,
    JournalRow,
    Outcome,
    Run,
    RunEnd,
    StateError,
    TaskState,
    Trigger,
)

__all__ = [
    "JSON",
    "AlreadyRunning",
    "Claim",
    "JournalRow",
    "Outcome",
    "Run",
    "RunEnd",
    "StateError",
    "TaskState",
    "Trigger",
]
