"""What the end of a process means for its attempt."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace

from exporter.runner.headline import headline
from exporter.runner.worker.supervisor import ProcessEnd
from exporter.tasks.outcome import Outcome
from exporter.util.units import format_duration

STOPPED = "stopped at shutdown"
_SHELL_SIGNALS = 128


def stopped_outcome() -> Outcome:
    """The exporter stops, and the attempt had to."""
    return Outcome("error", STOPPED)


def timeout_outcome(limit: float) -> Outcome:
    """It took too long."""
    return Outcome("timeout", f"did not end within {format_duration(limit)}", retryable=True)


def outcome_of(ended: ProcessEnd, limit: float, *, is_command: bool) -> Outcome:
    """What it reported counts if it came in time; processes that it left behind count always."""
    outcome = _of_main(ended, limit, is_command=is_command)
    if ended.alive:
        stuck = f"could not be ended: {_list(ended.alive)}"
        outcome = replace(outcome, error=_and(outcome.error, stuck), retryable=False)
        if outcome.kind == "success":
            outcome = replace(outcome, kind="error")
    elif ended.left and ended.left_was_ended:
        outcome = _with_left(outcome, ended.left)
    return outcome.with_tail(ended.tail)


def _of_main(  # noqa: PLR0911  one line for each way to end
    ended: ProcessEnd, limit: float, *, is_command: bool
) -> Outcome:
    match ended:
        case ProcessEnd(how="stopped"):
            return stopped_outcome()
        case ProcessEnd(how="timeout"):
            return timeout_outcome(limit)
        case ProcessEnd(report=Outcome() as report):
            return _with_headline(report, ended.tail)
        case ProcessEnd(status=None):
            return _error("its process was lost: the one that guards it was killed")
        case ProcessEnd(status=int(status)) if status < 0:
            return _error(f"was ended by {_signal_name(-status)}")
        case ProcessEnd(status=status) if not is_command:
            return _error(f"the process ended (exit code {status}) before the function returned")
        case ProcessEnd(status=0):
            return Outcome("success")
    why = headline(ended.tail)
    return _error(f"exit code {ended.status}{_in_a_shell(ended.status)}{f': {why}' if why else ''}")


def _in_a_shell(status: int | None) -> str:
    """A shell exits with 128 and the signal that ended its command."""
    name = _signal_name((status or 0) - _SHELL_SIGNALS)
    return f" ({name} in a shell)" if name.startswith("SIG") else ""


def _with_headline(report: Outcome, tail: str) -> Outcome:
    """A function that prints why and calls sys.exit is like a command that does."""
    why = headline(tail) if report.exit_code is not None else ""
    return replace(report, error=f"{report.error}: {why}") if why else report


def _with_left(outcome: Outcome, left: Sequence[str]) -> Outcome:
    one = len(left) == 1
    text = (
        f"left {len(left)} {'process' if one else 'processes'} behind, which "
        f"{'was' if one else 'were'} ended: {_list(left)}"
    )
    if outcome.kind != "success":
        return replace(outcome, error=_and(outcome.error, text))
    advice = (
        "run it in the foreground with a `timeout` that is long enough, or let it live with "
        "`may_leave_processes: true`"
    )
    return Outcome("error", f"{text}; {advice}")


def _and(error: str | None, more: str) -> str:
    return f"{error}; {more}" if error else more


def _list(processes: Sequence[str]) -> str:
    return ", ".join(processes)


def _error(text: str) -> Outcome:
    return Outcome("error", text, retryable=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
