"""What the end of a process means for its attempt."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.runner.headline import headline
from exporter.runner.said_lines import Said
from exporter.runner.worker.supervisor import LINGER_SECONDS, ProcessEnd
from exporter.tasks.outcome import Kind, Outcome
from exporter.util.units import format_duration, format_size

STOPPED = "stopped at shutdown"
_SHELL_SIGNALS = 128
_LINGERED = (
    f"returned, but its process did not end within {format_duration(LINGER_SECONDS)} (a thread "
    "that it started, or what it does at its exit) and was ended: return when all is done, with a "
    "`timeout` that is long enough"
)


def stopped_outcome() -> Outcome:
    """The exporter stops, and the attempt had to."""
    return Outcome("error", STOPPED)


def timeout_outcome(limit: float) -> Outcome:
    """It took too long."""
    return Outcome("timeout", f"did not end within {format_duration(limit)}", retryable=True)


@dataclass(frozen=True)
class ExitCodes:
    """What a command's exit codes mean: all others are errors."""

    success: Collection[int] = (0,)
    nothing: Collection[int] = ()
    retry: Collection[int] | None = None
    """The only ones after which it is tried again; None: every one that is not a success."""

    def outcome(self, status: int, tail: str, message: str | None = None) -> Outcome:
        """Of a command that ended by itself, or (negative) by a signal. `message` is its own
        reason; else its output is searched for one."""
        if status in self.success:
            return Outcome("success")
        code = _SHELL_SIGNALS - status if status < 0 else status
        retryable = self.retry is None or code in self.retry
        if status < 0:
            return Outcome("error", f"was ended by {_signal_name(-status)}", retryable=retryable)
        why = message or headline(tail)
        text = f"exit code {status}{_in_a_shell(status)}" + (f": {why}" if why else "")
        kind: Kind = "no_data" if status in self.nothing else "error"
        return Outcome(kind, text, retryable=retryable)


def outcome_of(
    ended: ProcessEnd,
    limit: float,
    codes: ExitCodes | None,
    limits: Mapping[str, float] | None = None,
) -> Outcome:
    """What it reported counts if it came in time; processes that it left behind count always.
    `codes` are a command's; None: it is a function. `limits` are what it might use."""
    outcome = _of_limit(ended, limits or {}) or _of_main(ended, limit, codes)
    if ended.memory_kill is not None and ended.how == "itself" and outcome.kind != "success":
        outcome = _with_memory_kill(outcome, ended.status, ended.memory_kill)
    if ended.alive:
        stuck = f"could not be ended: {_list(ended.alive)}"
        outcome = replace(outcome, error=_and(outcome.error, stuck), retryable=False)
        if outcome.kind == "success":
            outcome = replace(outcome, kind="error")
    elif ended.left and ended.left_was_ended:
        outcome = _with_left(outcome, ended.left)
    if ended.said:
        outcome = _with_said(outcome, ended.said)
    return outcome.with_tail(ended.tail)


def _with_said(outcome: Outcome, said: Said) -> Outcome:
    if outcome.kind == "success":
        return replace(outcome, items=said.items, message=said.message)
    if said.message and said.message not in (outcome.error or ""):
        return replace(outcome, error=_and(outcome.error, f"it last said: {said.message}"))
    return outcome


def _of_main(  # noqa: PLR0911  one line for each way to end
    ended: ProcessEnd, limit: float, codes: ExitCodes | None
) -> Outcome:
    match ended:
        case ProcessEnd(how="stopped"):
            return stopped_outcome()
        case ProcessEnd(how="timeout"):
            return timeout_outcome(limit)
        case ProcessEnd(how="lingered", report=Outcome(kind="success")):
            return Outcome("error", _LINGERED)
        case ProcessEnd(report=Outcome() as report):
            return _with_headline(report, ended.tail)
        case ProcessEnd(status=None):
            return _error("its process was lost: the one that guards it was killed")
        case ProcessEnd(status=int(status)) if codes is not None:
            said = ended.said.message if ended.said else None
            return codes.outcome(status, ended.tail, said)
        case ProcessEnd(status=int(status)) if status < 0:
            return _error(f"was ended by {_signal_name(-status)}")
    return _error(f"the process ended (exit code {ended.status}) before the function returned")


def _of_limit(ended: ProcessEnd, limits: Mapping[str, float]) -> Outcome | None:
    """Trying again would not help: it would use as much."""
    what, used = ended.exceeded or ("", 0.0)
    if ended.status == -signal.SIGXCPU and "cpu" in limits:
        what, used = "cpu", limits["cpu"]
    elif ended.how != "limit":
        return None
    allowed = limits[what]
    match what:
        case "memory":
            text = f"used more than {format_size(allowed)} of memory"
            if used > allowed:  # it was measured
                text += f" ({format_size(used)})"
        case "cpu":
            text = f"used more than {format_duration(allowed)} of CPU time"
        case "processes":
            text = f"ran more than {allowed:.0f} processes at once ({used:.0f})"
        case _:
            text = f"printed more than {format_size(allowed)}; the rest is cut"
    return Outcome("error", f"killed: {text}")


def _with_memory_kill(outcome: Outcome, status: int | None, most: float) -> Outcome:
    """It may have been another process than the one that ended, or another task's."""
    limit = f": everything in its container or service may use {format_size(most)}" if most else ""
    if status in (-signal.SIGKILL, _SHELL_SIGNALS + signal.SIGKILL):
        return replace(outcome, error=f"killed for memory{limit}")
    return replace(outcome, error=_and(outcome.error, f"a process was killed for memory{limit}"))


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
