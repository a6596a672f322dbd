"""Lines are found, shown once each, and followed through whatever becomes of their files."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.cli import logs as ask
from exporter.config import Config, Logs
from exporter.logs.files import DayFiles, Limits, files_of
from exporter.logs.queue_writer import Line
from exporter.logs.reader import raw_lines, stamp
from tests.unit.clocks import ManualClock

ZONE = ZoneInfo("America/New_York")
NOON = 1_790_000_000.0 - 3600


class Program:
    """Writes log files as the exporter does, while a test asks for their lines."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOON)
        self.config = Config(state=folder / "state.db", logs=Logs(directory=folder / "log"))
        self.folder = folder / "log"
        self._files = DayFiles("exporter", Limits(self.folder, ZONE, 1000))

    def log(self, message: str, **fields: object) -> None:
        data = {"timestamp": stamp(self.clock.now()), "level": "info", "logger": "a"}
        content = json.dumps({**data, "message": message, **fields}).encode() + b"\n"
        assert self._files.write([Line(self.clock.now(), "info", "a", None, content)]) == 1

    def error_log(self, *messages: str, **fields: object) -> None:
        """What the error log has of this moment."""
        self.folder.mkdir(exist_ok=True)
        day = datetime.fromtimestamp(self.clock.now(), ZONE).date()
        said = {"timestamp": stamp(self.clock.now()), "level": "error", "logger": "a"}
        with (self.folder / f"errors-{day}.jsonl").open("a") as file:
            file.writelines(json.dumps({**said, "message": m, **fields}) + "\n" for m in messages)

    def ask(self, **asked: object) -> tuple[int, list[str]]:
        """Exit status and what is printed, the time left out."""
        out = io.StringIO()
        given = {"clock": self.clock, "out": out} | asked
        status = ask.main(self.config, **given)  # type: ignore[arg-type]
        return status, [line[29:] for line in out.getvalue().splitlines()]

    def follow(self, *steps: Callable[[], object], **asked: object) -> list[str]:
        """What is printed while `steps` happen, one between two looks."""
        left = [lambda: None, *steps, lambda: None]

        def stop() -> bool:
            if not left:
                return True
            left.pop(0)()
            return False

        return self.ask(follow=True, stop=stop, **asked)[1]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(ask, "FOLLOW_SECONDS", 0.0)
    return Program(tmp_path)


def test_following_goes_on_through_rotations_midnight_and_restarts(program: Program) -> None:
    """Each line once, in its order, whatever file it is in by then."""

    def burst(start: int) -> None:
        for number in range(start, start + 40):  # several parts between two looks
            program.log(f"line {number:03d}")

    def midnight() -> None:
        program.clock.advance(43_200)
        program.log("line 080")

    def restart() -> None:
        program._files.close()
        program._files = DayFiles("exporter", Limits(program.folder, ZONE, 1000))
        program.log("line 081")

    def compress() -> None:
        for file in files_of(program.folder, "exporter"):
            if not file.open:
                packed = file.path.with_name(file.path.name + ".gz")
                packed.write_bytes(gzip.compress(file.path.read_bytes()))
                file.path.unlink()
        program.log("line 082")

    program.log("line")
    shown = program.follow(
        lambda: burst(0), lambda: burst(40), midnight, restart, compress,
        lambda: program.log("line 083"),
    )  # fmt: skip
    assert shown == ["a: line", *(f"a: line {number:03d}" for number in range(84))]


def test_following_shows_what_was_there_first_and_nothing_twice(program: Program) -> None:
    """With the same choice of lines."""
    program.log("old", task="scan")
    program.log("other", task="report")
    shown = program.follow(
        lambda: program.log("new", task="scan"), lambda: program.log("other", task="report"),
        task="scan", since="8h",
    )  # fmt: skip
    assert shown == ["a [scan]: old", "a [scan]: new"]


def test_following_may_begin_before_there_is_a_file(program: Program) -> None:
    """Nothing is there yet; then the first line is shown."""
    assert program.follow(lambda: program.log("first")) == ["a: first"]


def test_broken_lines_are_left_out_and_counted(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are there, and those that come."""
    program.log("good")
    (path,) = program.folder.iterdir()
    path.write_bytes(path.read_bytes() + b'{"half\n')

    def tear() -> None:
        with path.open("ab") as file:
            file.write(b"\xff\xfe\n[1]\n\n")

    assert program.follow(tear, lambda: program.log("after")) == ["a: good", "a: after"]
    assert capsys.readouterr().err == "(3 broken lines were left out)\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"level": "loud"}, "invalid level 'loud': write one of debug, info, warning, error"),
        ({"since": "8"}, "invalid duration '8'"),
        ({"since": ""}, "invalid duration ''"),
        ({"run": ""}, "--run needs a run id"),
        ({"task": " "}, "--task needs a name: none is configured"),
    ],
)
def test_wrong_use_is_said_with_what_to_write(
    program: Program, asked: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the exit status tells it from finding nothing."""
    assert program.ask(**asked) == (2, [])
    assert capsys.readouterr().err.startswith(said)


def test_finding_nothing_says_where_was_looked(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that was asked for; also when there is no folder, and for times before all time."""
    assert program.ask(task="scan", level="error", since="99999999d") == (1, [])
    assert capsys.readouterr().err == (
        f"no line of task scan of level error or above in the last 99999999d in {program.folder}; "
        "the tasks are none yet\n"
    )


def test_a_part_that_is_compressed_after_it_was_listed_is_read(program: Program) -> None:
    """Compression goes on beside whoever reads."""
    for number in range(30):
        program.log(f"line {number}")
    listed = files_of(program.folder, "exporter")
    for file in listed[:2]:
        file.path.with_name(f"{file.path.name}.gz").write_bytes(
            gzip.compress(file.path.read_bytes())
        )
        file.path.unlink()
    lines = [line for file in listed for line in raw_lines(file.path)]
    assert [json.loads(line)["message"] for line in lines] == [f"line {n}" for n in range(30)]


def test_what_others_sent_does_not_command_the_terminal(program: Program) -> None:
    """Escape codes, the one-byte kind, turned directions and forged lines, in every field."""
    evil = "\x1b[2J\x9b31m\u202e\u2066 \r\x07\x00"
    program.log(evil, logger=evil, level=evil, task=evil, timestamp=stamp(NOON - 9) + evil,
                note=evil, stack=evil, symbol=[evil], event=evil)  # fmt: skip
    out = io.StringIO()
    assert ask.main(program.config, clock=program.clock, out=out) == 0
    program.follow(lambda: program.log(evil, timestamp="0001-01-01T00:00:00Z", level=[evil]))
    shown = program.follow(lambda: program.log(evil, stack=evil), since="10m")
    text = out.getvalue() + "\n".join(shown)
    assert "\\x1b[2J\\x9b31m\\u202e\\u2066" in text
    assert not set("\x1b\x9b\u202e\u2066\r\x07\x00") & set(text)


def test_errors_of_lines_that_are_gone_come_from_the_error_log(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the others, none twice, by the same choice; and it is said which lines are gone."""
    program.error_log("one", "two", task="scan", run_id="r1")
    program.clock.advance(60)
    program.log("three", level="error", task="scan")
    program.error_log("three", task="scan")
    program.log("four")
    program.clock.advance(9)
    gone = "(lines before 2026-09-21 09:14:20 have been deleted"
    early = ["a [scan]: one  run_id=r1", "a [scan]: two  run_id=r1"]
    shown = [*early, "a [scan]: three"]
    assert program.ask() == (0, [*shown, "a: four"])
    assert capsys.readouterr().err == f"{gone}; 2 lines come from the error log)\n"
    assert program.ask(level="error", since="2m", task="scan") == (0, shown)
    assert capsys.readouterr().err == f"{gone}; 2 lines come from the error log)\n"
    assert program.ask(run="r1")[1] == early
    capsys.readouterr()
    assert program.ask(task="report")[0] == 1
    assert capsys.readouterr().err.splitlines()[0] == f"{gone})"
    assert program.follow(lambda: program.log("five")) == [*shown, "a: four", "a: five"]
    assert gone in capsys.readouterr().err


def test_nothing_is_gone_while_both_have_all(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor in a stretch of time that begins later, nor said of a run whose lines are there."""
    program.log("one", level="error")
    program.error_log("one")
    program.clock.advance(1)
    assert program.ask(since="30d") == (0, ["a: one"])
    assert capsys.readouterr().err == ""
    (path,) = program.folder.glob("exporter-*")
    path.unlink()
    program.clock.advance(7200)
    program._files.close()
    program.log("two", run_id="r2")
    program.clock.advance(60)
    assert program.ask(run="r2") == (0, ["a: two  run_id=r2"])
    assert program.ask(since="60s") == (0, ["a: two  run_id=r2"])
    assert capsys.readouterr().err == ""


def test_of_lines_that_are_all_gone_the_errors_are_shown(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file of the others is there."""
    program.error_log("one")
    program.clock.advance(60)
    assert program.ask() == (0, ["a: one"])
    assert capsys.readouterr().err == (
        "(the lines from that time have been deleted; 1 line comes from the error log)\n"
    )
