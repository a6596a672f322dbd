"""What the end of a process means for its attempt."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.runner.process_outcome import ExitCodes, outcome_of
from exporter.runner.worker.supervisor import ProcessEnd
from exporter.tasks.outcome import Outcome

BOT = "process 7 (bot, of quant)"
GUARD = "its process was lost: the one that guards it was killed"


@pytest.mark.parametrize(
    ("end", "kind", "error", "retryable"),
    [
        ({"status": 0}, "success", None, False),
        ({"status": 3}, "error", "exit code 3: no broker", True),
        ({"status": 3, "tail": ""}, "error", "exit code 3", True),
        ({"status": 137, "tail": ""}, "error", "exit code 137 (SIGKILL in a shell)", True),
        ({"status": 143}, "error", "exit code 143 (SIGTERM in a shell): no broker", True),
        ({"status": 128, "tail": ""}, "error", "exit code 128", True),
        ({"status": 255, "tail": ""}, "error", "exit code 255", True),
        ({"status": -9}, "error", "was ended by SIGKILL", True),
        ({"status": -9, "memory_kill": 0.0}, "error", "killed for memory", True),
        ({"status": 137, "memory_kill": 2e9}, "error",
         "killed for memory: everything in its container or service may use 2 GB", True),
        ({"status": 1, "tail": "", "memory_kill": 0.0}, "error",
         "exit code 1; a process was killed for memory", True),
        ({"status": 0, "memory_kill": 2e9}, "success", None, False),
        ({"status": -9, "how": "timeout", "memory_kill": 2e9}, "timeout", "did not end within 5s",
         True),
        ({"status": -99}, "error", "was ended by signal 99", True),
        ({"status": None}, "error", GUARD, True),
        ({"status": 0, "how": "timeout"}, "timeout", "did not end within 5s", True),
        ({"status": 0, "how": "stopped"}, "error", "stopped at shutdown", False),
        ({"status": 0, "alive": [BOT]}, "error", f"could not be ended: {BOT}", False),
        ({"status": None, "how": "timeout", "alive": [BOT, BOT]}, "timeout",
         f"did not end within 5s; could not be ended: {BOT}, {BOT}", False),
        ({"status": 3, "left": [BOT]}, "error",
         f"exit code 3: no broker; left 1 process behind, which was ended: {BOT}", True),
        ({"status": 0, "left": [BOT], "left_was_ended": False}, "success", None, False),
    ],
)  # fmt: skip
def test_the_end_of_a_command_is_its_outcome(
    end: dict[str, Any], kind: str, error: str | None, retryable: bool
) -> None:
    """Also of one that left something behind, or could not be ended."""
    given = {"how": "itself", "report": None, "tail": "no broker", **end}
    outcome = outcome_of(ProcessEnd(**given), 5.0, ExitCodes())
    assert (outcome.kind, outcome.error, outcome.retryable) == (kind, error, retryable)
    assert outcome.tail == given["tail"]


def test_a_success_that_left_processes_behind_is_none() -> None:
    """It says what to do, and is not tried again: the same would be left again."""
    end = ProcessEnd("itself", 0, None, "", [BOT, "2 more"])
    outcome = outcome_of(end, 5.0, ExitCodes())
    assert (outcome.kind, outcome.retryable) == ("error", False)
    assert outcome.error == (
        f"left 2 processes behind, which were ended: {BOT}, 2 more; run it in the foreground with "
        "a `timeout` that is long enough, or let it live with `may_leave_processes: true`"
    )


def test_what_a_function_reported_counts() -> None:
    """Its exit code does not; without a report something ended it."""
    report = Outcome("success", items=3.0)
    assert outcome_of(ProcessEnd("itself", -9, report, ""), 5.0, None) == report
    lost = outcome_of(ProcessEnd("itself", 0, None, ""), 5.0, None)
    assert lost.error == "the process ended (exit code 0) before the function returned"
    assert lost.retryable


def test_a_function_that_calls_sys_exit_is_told_by_what_it_printed() -> None:
    """As a command is; a report without an exit code is left as it is."""
    exited = Outcome("error", "called sys.exit(3)", exit_code=3)
    end = ProcessEnd("itself", 0, exited, "FATAL no broker\nbye")
    assert outcome_of(end, 5.0, None).error == "called sys.exit(3): FATAL no broker"
    raised = Outcome("error", "ValueError: 1")
    end = ProcessEnd("itself", 0, raised, "FATAL no broker")
    assert outcome_of(end, 5.0, None).error == "ValueError: 1"


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(0, "success", False), (1, "success", False), (3, "no_data", False), (75, "error", True),
     (2, "error", False), (-15, "error", True), (-9, "error", False)],
)  # fmt: skip
def test_a_task_says_what_its_exit_codes_mean(status: int, kind: str, retryable: bool) -> None:
    """A signal counts as a shell has it, 128 and its number; a timeout is tried again anyway."""
    codes = ExitCodes(success=(0, 1), nothing=(3,), retry=(75, 128 + 15))
    outcome = outcome_of(ProcessEnd("itself", status, None, "no bars"), 5.0, codes)
    assert (outcome.kind, outcome.retryable) == (kind, retryable)
    assert outcome_of(ProcessEnd("timeout", None, None, ""), 5.0, codes).retryable
