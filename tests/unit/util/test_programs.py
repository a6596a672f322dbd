"""Why a program cannot be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.util.programs import why_not_startable

FIRST_LINES = {
    "crlf": (b"#!/bin/sh\r\necho\r\n", "{place} has Windows line ends"),
    "gone": (b"#!/opt/gone/python -u\n", "{place} is to be run by /opt/gone/python, which"),
    "no line": (b"echo hi\n", "{place} does not say what runs it: begin it with a line such as"),
    "empty": (b"", "{place} is empty: begin it with"),
    "of another machine": (b"MZ\x90\0\x03\0", "{place} is not a program of this machine"),
    "a script": (b"#!/bin/sh\necho hi\n", None),
    "its interpreter by env": (b"#!/usr/bin/env python3\n", None),
    "a binary": (b"\x7fELF\x02\x01\0\0", None),
}


@pytest.mark.parametrize(("text", "why"), FIRST_LINES.values(), ids=FIRST_LINES)
def test_its_first_bytes_say_what_runs_it(tmp_path: Path, text: bytes, why: str | None) -> None:
    """All of these are `no such file` or `exec format error` to the kernel."""
    place = tmp_path / "bot"
    place.write_bytes(text)
    place.chmod(0o755)
    found = why_not_startable("./bot", tmp_path, None)
    assert (found is None) == (why is None)
    assert (found or "").startswith((why or "").format(place=place))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("~/bot.sh", "~/bot.sh is not expanded, since no shell reads it"),
        ("$HOME/bot.sh", "$HOME/bot.sh is not expanded"),
        ("echo a | grep b", "there is no program 'echo a | grep b': write each argument by itself"),
        ("./bot.sh --live", "there is no program './bot.sh --live': write each argument"),
        ("no-such-program", "there is no program 'no-such-program' on the PATH"),
        ("./nowhere.sh", "there is no file "),
        ("./folder", "{folder}/folder is not a file but a folder"),
        ("./plain", "{folder}/plain may not be executed; chmod +x {folder}/plain"),
        ("with space.sh", None),
        ("sh", None),
    ],
)
def test_what_is_not_a_program_says_what_to_write(
    tmp_path: Path, program: str, why: str | None
) -> None:
    """Found on the PATH, or by its path."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    spaced = tmp_path / "with space.sh"
    spaced.write_text("#!/bin/sh\n")
    spaced.chmod(0o755)
    found = why_not_startable(program, tmp_path, f"/bin:/usr/bin:{tmp_path}")
    assert (found is None) == (why is None)
    assert (found or "").startswith((why or "").format(folder=tmp_path))
