"""A command as a unit of its own: it goes on without a connection, and there is one at a time."""

from __future__ import annotations

import fcntl
import subprocess
import time
from pathlib import Path

from places import TOOL, ProblemError
from shell import attempt, say, tail

_UNITS = "quant-deploy*.service"
_LOCK = Path("/run/quant-deploy.lock")
_ASK_EVERY_SECONDS = 1.0


def follow(command: list[str]) -> int:
    """Run a command apart and show what it says; its exit code. Waits for one that is at work,
    but a rollback ends that rather than wait."""
    base = Path(f"/run/quant-deploy-{time.time_ns()}")
    log, result = base.with_suffix(".log"), base.with_suffix(".result")
    log.write_text("")
    try:
        unit = _begin(command, log, result)
        with log.open() as lines:
            asked = time.monotonic()
            while True:
                _show(lines.read())
                # systemd need not be asked often: whatever ends in order leaves its result.
                if result.exists() or time.monotonic() - asked > _ASK_EVERY_SECONDS:
                    if not _is_at_work(unit):
                        break
                    asked = time.monotonic()
                time.sleep(0.05)
            _show(lines.read())
        return int(result.read_text()) if result.exists() else 1
    finally:
        for file in (log, result):
            file.unlink(missing_ok=True)


def _begin(command: list[str], log: Path, result: Path) -> str:
    """Start it as quant-deploy.service, or, while systemd has not forgotten the last one of that
    name, under another; the unit's name."""
    said, names = False, ["quant-deploy", f"quant-deploy-{time.time_ns()}"]
    while True:
        while _is_at_work():
            if command[0] == "rollback":
                say("ending what is at work on the machine")
                attempt("systemctl", "stop", _UNITS)
            elif not said:
                say("another deploy or rollback is at work on the machine; waiting for its end")
                said = True
            time.sleep(0.5)
        for name in names:
            begun = attempt(
                "systemd-run", "--quiet", "--collect", f"--unit={name}.service",
                f"--description=quant-deploy {' '.join(command)}",
                f"--property=StandardOutput=append:{log}",
                f"--property=StandardError=append:{log}",
                "python3", "-I", TOOL, "noted", result, *command,
            )  # fmt: skip
            if begun.returncode == 0:
                return f"{name}.service"
            if "already" not in begun.stderr:
                raise ProblemError(f"systemd does not run it:\n{tail(begun)}")
            if _is_at_work():  # somebody was faster
                break


def _is_at_work(units: str = _UNITS) -> bool:
    states = "--state=active,activating,deactivating,reloading"
    return bool(attempt("systemctl", "list-units", "--no-legend", states, units).stdout.strip())


def _show(text: str) -> None:
    if text:
        say(text.rstrip("\n"))


def noted(result: str, command: list[str]) -> int:
    """Run a command and leave its exit code where :func:`follow` finds it."""
    code = 1
    lock = _LOCK.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time, whatever its unit is called
    try:
        code = subprocess.run(["python3", "-I", str(TOOL), *command], check=False).returncode
    finally:
        draft = Path(f"{result}.draft")
        draft.write_text(str(code))
        draft.replace(result)
    return code
