"""Why a program cannot be started, where the kernel only says that there is no such file.

Standard library alone: the process that is to become the program asks, too.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_SHELL_WORDS = re.compile(r"[|&;<>]|\s")
_FIRST_LINE_BYTES = 256


def why_not_startable(program: str, folder: Path, search: str | None) -> str | None:
    """What is wrong with `program`, started in `folder` with `search` as its PATH, and what to do;
    None: nothing that can be seen."""
    if program.startswith("~") or "$" in program:
        return f"{program} is not expanded, since no shell reads it: write the whole path"
    path = folder / program if "/" in program else _on_the_path(program, search)
    if path is None or not path.exists():
        return _not_found(program, path)
    return _why_not_executable(path) or _why_not_a_program(path)


def _not_found(program: str, path: Path | None) -> str:
    if _SHELL_WORDS.search(program):
        return (
            f"there is no program {program!r}: write each argument by itself, as [ls, -l], and "
            "what a shell is to read as [sh, -c, 'one | other']"
        )
    if path is None:
        return f"there is no program {program!r} on the PATH; install it"
    return f"there is no file {path}; create it or correct the path"


def _why_not_executable(path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is not a file but a folder, or the like: name a program"
    if not path.stat().st_mode & 0o111:
        return f"{path} may not be executed; chmod +x {path}"
    if not os.access(path, os.X_OK):
        return f"{path} may not be executed by this user, or from the disk that it is on"
    return None


def _on_the_path(program: str, search: str | None) -> Path | None:
    found = shutil.which(program, path=search)
    return Path(found) if found else None


def _why_not_a_program(path: Path) -> str | None:
    """What its first bytes say; nothing where they cannot be read, as of a set-uid program."""
    try:
        with path.open("rb") as file:
            line, feed, _ = file.read(_FIRST_LINE_BYTES).partition(b"\n")
    except OSError:
        return None
    if line.startswith(b"#!"):
        return _why_no_interpreter(path, line, whole=bool(feed))
    if line.startswith(b"\x7fELF"):
        return None
    if b"\0" in line:
        return f"{path} is not a program of this machine: build it here"
    text = "is empty" if not line and not feed else "does not say what runs it"
    return f"{path} {text}: begin it with a line such as #!/bin/sh"


def _why_no_interpreter(path: Path, line: bytes, *, whole: bool) -> str | None:
    words = line[2:].decode("utf-8", "replace").split()
    if line.endswith(b"\r") and whole:
        return f"{path} has Windows line ends, so that its first line names no program: dos2unix it"
    if not words or Path(words[0]).exists():
        return None
    return (
        f"{path} is to be run by {words[0]}, which is not there: correct its first line, or make "
        "that virtual environment again"
    )
