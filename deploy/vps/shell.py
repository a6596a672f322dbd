"""Programs run by a fixed argument list, and the few questions systemd is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import syslog
from collections.abc import Sequence
from pathlib import Path

from places import CREDENTIALS, USER, ProblemError


def say(text: str) -> None:
    """One line for the person at the other end; gone when nobody reads any more."""
    try:
        print(text, flush=True)
    except OSError:
        # The connection may die half-way; the work on the machine must not.
        sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115


def journal(text: str) -> None:
    """One line in systemd's journal: ``journalctl -t quant-deploy``."""
    syslog.openlog("quant-deploy")
    syslog.syslog(text.replace("\n", " "))


def run(*command: str | Path, stdin: str | None = None, timeout: float = 1800) -> str:
    """Run to its end and return what it printed. Raises :class:`ProblemError` when it fails."""
    result = attempt(*command, stdin=stdin, timeout=timeout)
    if result.returncode:
        raise ProblemError(f"{_shown(command)} failed ({result.returncode}):\n{tail(result)}")
    return result.stdout


def attempt(
    *command: str | Path, stdin: str | None = None, timeout: float = 1800, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to its end, whatever the end is."""
    return subprocess.run(
        [str(c) for c in command],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        env=os.environ | {"LC_ALL": "C.UTF-8"},  # what is read here is read in English
    )


def as_service(*command: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run as the exporter's user, with its credentials and its view of the machine."""
    given = [f"--property=LoadCredential={c.name}:{c}" for c in credentials()]
    return attempt(
        "systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--property=User={USER}",
        "--property=UMask=0027", "--property=ProtectHome=yes", "--property=PrivateTmp=yes",
        "--property=ProtectSystem=strict", *given, "--", *command, timeout=timeout,
    )  # fmt: skip


def credentials() -> list[Path]:
    """The secrets on this machine, by name."""
    return sorted(p for p in CREDENTIALS.iterdir() if p.is_file()) if CREDENTIALS.is_dir() else []


def shows(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit, as systemd shows them."""
    asked = ",".join(properties)
    lines = run("systemctl", "show", unit, f"--property={asked}").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def is_active(unit: str) -> bool:
    """Whether the unit runs."""
    return attempt("systemctl", "is-active", "--quiet", unit).returncode == 0


def tail(result: subprocess.CompletedProcess[str], lines: int = 30) -> str:
    """The last words of a program that failed."""
    said = [*result.stdout.strip().splitlines(), *result.stderr.strip().splitlines()]
    return "\n".join(f"  {line}" for line in said[-lines:])


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(str(c) for c in command[:4])
