"""What people see: colours on a terminal alone, priorities for systemd's journal."""

from __future__ import annotations

import logging
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Logs
from exporter.logs.formatters import Readable
from exporter.logs.queue_writer import Line
from exporter.logs.setup import Logging
from exporter.logs.terminal import PAUSE_SECONDS, Terminal, style_of
from exporter.metrics import Metrics
from tests.unit.clocks import ManualClock


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A real one: the side that a person sees, and the side that is written to."""
    seen, written = pty.openpty()
    yield seen, written
    os.close(seen)
    os.close(written)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def shown(fd: int, read: int, folder: Path, log: logging.Logger) -> str:
    """What a program that logs a warning with a stack shows there."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()
    logs = Logging(
        Logs(directory=folder), "UTC", ManualClock(), Metrics(CollectorRegistry()), terminal_fd=fd
    )
    logs.start()
    try:
        try:
            raise KeyError("x")
        except KeyError:
            log.exception("it broke", extra={"n": 2**70, "event": "x"})
        assert logs.flush()
    finally:
        logs.stop()
        root.setLevel(level)
        root.handlers[:] = handlers
    # A terminal hands over what was written bit by bit; the stack is the end of it.
    text = os.read(read, 100_000)
    while b"KeyError: 'x'" not in text:
        text += os.read(read, 100_000)
    return text.decode()


def test_colours_are_for_terminals_that_want_them(
    terminal: tuple[int, int], pipe: tuple[int, int], tmp_path: Path
) -> None:
    """Not for pipes and files, not with NO_COLOR, not for a dumb terminal."""
    _, tty = terminal
    assert style_of(tty, {"TERM": "xterm"}) == "colour"
    assert style_of(tty, {"TERM": "xterm", "NO_COLOR": "1"}) == "plain"
    assert style_of(tty, {"TERM": "xterm", "NO_COLOR": ""}) == "colour"
    assert style_of(tty, {"TERM": "dumb"}) == "plain"
    assert style_of(pipe[1], {"TERM": "xterm"}) == "plain"
    with (tmp_path / "file").open("w") as file:
        assert style_of(file.fileno(), {"TERM": "xterm"}) == "plain"
    assert style_of(999, {"TERM": "xterm"}) == "plain"


def test_the_journal_is_known_by_the_stream_it_reads(
    pipe: tuple[int, int], terminal: tuple[int, int]
) -> None:
    """The variable is inherited by programs whose output goes elsewhere: those are not deceived."""
    status = os.fstat(pipe[1])
    stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "TERM": "xterm"}
    assert style_of(pipe[1], stream) == "journal"
    assert style_of(terminal[1], stream) == "colour"
    assert style_of(pipe[1], {"JOURNAL_STREAM": "1:2"}) == "plain"


def test_on_a_terminal_a_line_is_coloured_and_readable(
    terminal: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd values, too: here they are written by another hand than in the file."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(terminal[1], terminal[0], tmp_path, logging.getLogger("exporter.x"))
    assert text.startswith("\x1b[31m14:13:20 ERROR   \x1b[0m x: it broke")
    assert str(2**70) in text
    assert "    KeyError: 'x'" in text


def test_under_systemd_each_line_has_its_priority(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the lines of a stack; without time, which the journal has, and without colours."""
    status = os.fstat(pipe[1])
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    lines = shown(pipe[1], pipe[0], tmp_path, logging.getLogger("exporter.x")).splitlines()
    assert lines[0].startswith("<3>x: it broke  ")
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
    for level, number in (("debug", 7), ("info", 6), ("warning", 4), ("critical", 2)):
        said = Readable(ZoneInfo("UTC"), "journal").text({"level": level, "message": "<0>\n<0>m"})
        assert re.findall(r"^<\d>", said, re.MULTILINE) == [f"<{number}>"] * 2


def test_lines_that_nobody_could_be_shown_are_told_of() -> None:
    """A terminal that went away stops nothing; when it is back, it hears how many there were."""
    read, write = os.pipe()
    place = Terminal(write, Readable(ZoneInfo("UTC"), "plain"))
    content = b'{"level": "info", "logger": "a", "message": "text"}\n'
    line = Line(0.0, "info", "a", None, content)
    os.close(write)
    assert place.write([line, line]) == 2
    assert (place.unseen, place.trouble) == (2, "Bad file descriptor")
    os.close(read)
    read, again = os.pipe()
    if again != write:
        os.dup2(again, write)
        os.close(again)
    place.write([line])
    first, second = os.read(read, 1000).decode().splitlines()
    assert first == "(2 lines were not shown here; they are in the log file)"
    assert second.endswith("a: text")
    os.close(read)
    os.close(write)


def test_many_lines_are_shown_a_few_at_a_time(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever logs need not wait; all of them, in their order."""
    pauses: list[float] = []
    monkeypatch.setattr("exporter.logs.terminal.time.sleep", pauses.append)
    place = Terminal(pipe[1], Readable(ZoneInfo("UTC"), "plain"))
    contents = [b'{"level": "info", "logger": "a", "message": "%d"}\n' % n for n in range(25)]
    assert place.write([Line(0.0, "info", "a", None, content) for content in contents]) == 25
    said = os.read(pipe[0], 10_000).decode().splitlines()
    assert [line.rpartition(" ")[2] for line in said] == [str(n) for n in range(25)]
    assert pauses == [PAUSE_SECONDS] * 2


def test_an_alert_is_a_sentence_on_the_terminal_and_json_in_the_file() -> None:
    """The whole alert beside its own sentence made a line of a screen."""
    data = {
        "level": "info", "logger": "exporter.alerts.journal", "event": "alert_notification",
        "message": "slack was notified: QuantTaskFailing is firing",
        "alert": {"labels": {"alertname": "QuantTaskFailing"}}, "alertname": "QuantTaskFailing",
        "severity": "critical", "status": "firing", "receiver": "slack", "fingerprint": "1f",
        "starts_at": "2026-11-24T02:00:00Z",
    }  # fmt: skip
    said = Readable(ZoneInfo("UTC"), "journal").text(data)
    assert said == "<6>alerts.journal: slack was notified: QuantTaskFailing is firing\n"
    other = {"level": "info", "logger": "exporter.x", "message": "m", "status": "200"}
    assert Readable(ZoneInfo("UTC"), "journal").text(other).endswith("m  status=200\n")
