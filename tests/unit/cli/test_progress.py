"""Long steps of a command say that they go on, on terminals and elsewhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.cli.progress import show_count, working

ROOT = Path(__file__).parents[3]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_step_counts_its_seconds_on_a_terminal_and_leaves_no_trace() -> None:
    """What the command prints next begins in an empty line."""
    screen = Screen()
    with working("reading the logs", 0.0, screen):
        while "reading the logs … 0 s" not in screen.getvalue():
            time.sleep(0.01)
    assert screen.getvalue().endswith(f"\r{' ' * len('reading the logs … 0 s')}\r")


def test_a_step_that_knows_how_much_is_done_says_so() -> None:
    """A line that became shorter leaves nothing of the longer one."""
    screen, shares = Screen(), iter([1.0])
    with working("reading the logs", 0.0, screen, share=lambda: next(shares, 0.07)):
        while "7%" not in screen.getvalue():
            time.sleep(0.01)
    assert "\rreading the logs … 100%, 0 s\rreading the logs … 7%, 1 s  \r" in screen.getvalue()


def test_elsewhere_it_is_one_plain_line() -> None:
    """A log of cron, say."""
    file = io.StringIO()
    with working("reading the logs", 0.0, file):
        while not file.getvalue():
            time.sleep(0.01)
    assert file.getvalue() == "reading the logs …\n"


def test_a_short_step_says_nothing_and_a_failing_one_ends_its_line() -> None:
    """The error is the command's own."""
    screen = Screen()
    with pytest.raises(ValueError, match="wrong"), working("x", 60.0, screen):
        raise ValueError("wrong")
    assert screen.getvalue() == ""


def test_a_count_is_one_line_on_a_terminal_and_nothing_elsewhere() -> None:
    """It overwrites itself, so it goes past what shows control codes as text."""
    screen, file = Screen(), io.StringIO()
    for stream in (screen, file):
        for done in (1, 2):
            show_count("calendars built", done, 2, stream)
    assert screen.getvalue() == "\rcalendars built: 1 of 2\rcalendars built: 2 of 2\n"
    assert file.getvalue() == ""


def test_nobody_who_reads_it_is_no_error() -> None:
    """stderr may be closed, or a reader that left."""
    read, write = os.pipe()
    os.close(read)
    with working("x", 0.0, os.fdopen(write, "w")):
        time.sleep(0.05)


def test_ctrl_c_during_the_imports_is_no_traceback(tmp_path: Path) -> None:
    """A second is long enough to see that the wrong command was typed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.abc, os, signal, sys\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'exporter.cli.command_table':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check"], cwd=ROOT, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-2, "", "")
