"""The pure steps of state, where memory and file could drift apart."""

from __future__ import annotations

from dataclasses import replace

from exporter.state import Claim, Run, TaskState, snapshot, sql
from exporter.state.snapshot import Contents

T = 1_790_000_000.0
OPEN = snapshot.claim(Contents(), Claim("r1", "scan", T, "schedule", T))


def test_a_run_that_is_started_again_counts_it_in_memory_too() -> None:
    """Each time; a run that is not open stays unknown."""
    twice = snapshot.reopen(snapshot.reopen(OPEN, "r1"), "r1")
    assert twice.open_runs["r1"].reopened == 2
    assert snapshot.reopen(OPEN, "r2") is OPEN


def test_merging_keeps_the_items_of_the_newest_success() -> None:
    """Of memory when a run succeeded since, of the file otherwise."""
    disk = Contents(tasks={"scan": TaskState(last_success=T, items=3)})
    for newer, items in (
        (TaskState(last_success=T + 60, last_start=T + 50, items=5), 5),
        (TaskState(last_failure=T + 60, last_start=T + 50), 3),
        (TaskState(), 3),
    ):
        merged = snapshot.merge(disk, Contents(tasks={"scan": newer}))
        assert merged.tasks["scan"].items == items


def test_a_claim_that_was_withdrawn_while_the_file_was_away_leaves_it() -> None:
    """And one that was made meanwhile comes into it."""
    run = Run("r2", "scan", T + 60, "schedule", T + 60)
    newer = replace(OPEN, open_runs={"r2": run})
    statements = list(sql.difference_of_open_runs(OPEN, newer))
    assert [statement.split()[0] for statement, _ in statements] == ["INSERT", "DELETE"]
    assert [values[0] for _, values in statements] == ["r2", "r1"]
    assert list(sql.difference_of_open_runs(OPEN, OPEN)) == []


def test_a_file_that_can_be_read_again_keeps_the_newest_of_each_moment() -> None:
    """What the disk knew and what happened meanwhile are both true."""
    disk = Contents(tasks={
        "a": TaskState(cursor=5.0, covered_until=4.0, last_success=3.0, last_failure=9.0,
                       last_start=8.0, consecutive_failures=2, items=7.0, paused_until=50.0),
    })  # fmt: skip
    quiet = Contents(tasks={"a": TaskState(cursor=10.0, schedule="s")})
    merged = snapshot.merge(disk, quiet).tasks["a"]
    assert (merged.last_success, merged.last_failure, merged.last_start) == (3.0, 9.0, 8.0)
    assert (merged.cursor, merged.covered_until, merged.paused_until) == (10.0, 4.0, 50.0)
    assert (merged.consecutive_failures, merged.items, merged.schedule) == (2, 7.0, "s")
    ran = TaskState(cursor=10.0, last_success=11.0, last_start=10.5, items=1.0)
    merged = snapshot.merge(disk, Contents(tasks={"a": ran})).tasks["a"]
    assert (merged.last_success, merged.last_failure, merged.consecutive_failures) == (11.0, 9.0, 0)
    assert merged.items == 1.0
    assert snapshot.merge(Contents(), Contents(tasks={"new": ran})).tasks["new"] == ran


def test_a_clock_that_is_set_back_lowers_a_task_that_is_not_known_too() -> None:
    """A reload may have added it a moment ago."""
    assert snapshot.lower(Contents(), "new", 5.0).tasks["new"].cursor is None
    known = Contents(tasks={"a": TaskState(cursor=9.0, covered_until=3.0)})
    assert snapshot.lower(known, "a", 5.0).tasks["a"] == TaskState(cursor=5.0, covered_until=3.0)
