"""A command as a unit of its own: it goes on without a connection, and there is one at a time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from places import TOOL, ProblemError
from shell import attempt, say, tail

_UNIT = "quant-deploy.service"
_FORGET_SECONDS = 15.0


def follow(command: list[str]) -> int:
    """Run a command apart and show what it says; its exit code. Waits for one that is at work,
    but a rollback ends that rather than wait."""
    base = Path(f"/run/quant-deploy-{time.time_ns()}")
    log, result = base.with_suffix(".log"), base.with_suffix(".result")
    log.write_text("")
    try:
        _begin(command, log, result)
        with log.open() as lines:
            while _is_at_work():
                _show(lines.read())
                time.sleep(0.1)
            _show(lines.read())
        return int(result.read_text()) if result.exists() else 1
    finally:
        for file in (log, result):
            file.unlink(missing_ok=True)


def _begin(command: list[str], log: Path, result: Path) -> None:
    said, until = False, time.monotonic() + _FORGET_SECONDS
    while True:
        while _is_at_work():
            until = time.monotonic() + _FORGET_SECONDS
            if command[0] == "rollback":
                say("ending what is at work on the machine")
                attempt("systemctl", "stop", _UNIT)
            elif not said:
                say("another deploy or rollback is at work on the machine; waiting for its end")
                said = True
            time.sleep(0.5)
        begun = attempt(
            "systemd-run", "--quiet", "--collect", f"--unit={_UNIT}",
            f"--description=quant-deploy {' '.join(command)}",
            f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}",
            "python3", "-I", TOOL, "noted", result, *command,
        )  # fmt: skip
        if begun.returncode == 0:
            return
        # Somebody was faster, or systemd has not yet forgotten the one that has just ended.
        if "already" not in begun.stderr or time.monotonic() > until:
            raise ProblemError(f"systemd does not run it:\n{tail(begun)}")
        if not _is_at_work():
            attempt("systemctl", "reset-failed", _UNIT)
            time.sleep(0.2)


def _is_at_work() -> bool:
    state = attempt("systemctl", "is-active", _UNIT).stdout.strip()
    return state in ("active", "activating", "deactivating", "reloading")


def _show(text: str) -> None:
    if text:
        say(text.rstrip("\n"))


def noted(result: str, command: list[str]) -> int:
    """Run a command and leave its exit code where :func:`follow` finds it."""
    code = 1
    try:
        code = subprocess.run(["python3", "-I", str(TOOL), *command], check=False).returncode
    finally:
        draft = Path(f"{result}.draft")
        draft.write_text(str(code))
        draft.replace(result)
    return code
