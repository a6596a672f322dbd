"""The table of commands, and how arguments reach what a row calls."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import exporter
from exporter.alerts.journal import Journal
from exporter.cli import main as command_line
from exporter.cli.command_table import COMMANDS, Command, OneOf
from exporter.metrics import Metrics
from exporter.state import State
from exporter.util.clock import SystemClock, iso
from tests.unit.clocks import ManualClock


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_row_names_a_function_that_accepts_its_arguments(command: Command) -> None:
    """It is imported only when the command runs: a typing error would show no earlier."""
    module, _, name = command.calls.partition(":")
    function = getattr(importlib.import_module(module), name)
    flat = [
        argument
        for each in command.arguments
        for argument in (each.arguments if isinstance(each, OneOf) else [each])
    ]
    given = [
        argument.options.get("dest") or max(argument.flags, key=len).lstrip("-").replace("-", "_")
        for argument in flat
    ]
    first = [object()] if command.config else []
    inspect.signature(function).bind(*first, **dict.fromkeys(given))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been called."""
    calls: list[tuple[Any, ...]] = []

    def call(command: Command, arguments: dict[str, Any]) -> int:
        calls.append((command.name, arguments))
        return 0

    monkeypatch.setattr(command_line, "_call", call)
    monkeypatch.delenv("QUANT_CONFIG", raising=False)
    return calls


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        (["tasks"], "exporter.yml"),
        (["--config", "a.yml", "tasks"], "a.yml"),
        (["tasks", "--config", "b.yml"], "b.yml"),
        (["--config", "a.yml", "tasks", "--config", "b.yml"], "b.yml"),
    ],
)
def test_the_config_may_be_named_before_and_after_the_verb(
    asked: list[tuple[Any, ...]], typed: list[str], config: str
) -> None:
    """The last one counts, as with every option."""
    assert command_line.main(typed) == 0
    assert asked[0][1]["config"] == Path(config)


def test_quant_config_names_the_config_unless_the_command_line_does(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a shell in any folder reaches the one exporter of this machine."""
    monkeypatch.setenv("QUANT_CONFIG", "/srv/mine.yml")
    command_line.main(["check"])
    command_line.main(["check", "--config", "other.yml"])
    assert [arguments["config"] for _, arguments in asked] == [
        Path("/srv/mine.yml"), Path("other.yml"),
    ]  # fmt: skip


def test_a_pause_needs_an_end(
    asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exactly one; wrong use is exit code 2."""
    with pytest.raises(SystemExit) as left:
        command_line.main(["pause", "scan"])
    assert left.value.code == 2
    assert "--for --until is required" in capsys.readouterr().err


def command(*arguments: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """The real command in a process."""
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments], check=False, timeout=60,
        **{"stderr": subprocess.PIPE, **how},
    )  # fmt: skip


CONFIG = """\
tasks:
  scan: {command: [sh, -c, "true"], schedule: "every 1h"}
  scalp: {command: [sh, -c, "true"], schedule: "every 1h"}
  report: {command: [sh, -c, "true"], schedule: "every 1h"}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Three tasks."""
    file = tmp_path / "exporter.yml"
    file.write_text(CONFIG)
    return str(file)


def test_check_says_the_same_to_programs(config: str) -> None:
    """With every mistake and its place."""
    done = command("check", "--json", "--config", config, stdout=subprocess.PIPE)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    notices = found.pop("notices")
    assert sorted(notices) == ["report", "scalp", "scan"]
    assert notices["scan"].startswith("warning: chat after 1 failed run, at the latest ")
    schedules = found.pop("schedules")
    assert schedules["scan"]["words"] == "every 1h from midnight (America/New_York)"
    assert [at % 3600 for at in schedules["scan"]["next_slots"]] == [0.0] * 5
    assert list(schedules) == ["scan", "scalp", "report"]
    assert found == {
        "file": config, "ok": True, "mistakes": [], "notes": [], "suggested_limits": {},
        "tasks": ["report", "scalp", "scan"], "feeds": [], "strategies": [],
    }  # fmt: skip
    Path(config).write_text("tasks: {scan: {schedul: x}}\n")
    done = command("check", "--json", "--config", config, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (2, False)
    assert "tasks.scan.schedul" in [mistake["place"] for mistake in found["mistakes"]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_stdout_is_a_sentence(config: str) -> None:
    """No traceback, and not taken for success."""
    with Path("/dev/full").open("wb") as full:
        done = command("check", "--config", config, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"the output cannot be written: No space left on device\n"


def test_a_reader_that_leaves_is_no_traceback(config: str) -> None:
    """As `quant-exporter … | head` does."""
    read, write = os.pipe()
    os.close(read)
    done = command("check", "--config", config, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("line", "completed"),
    [("quant-exporter rel", ["reload"]), ("quant-exporter run-task sca", ["scalp", "scan"])],
)
def test_a_shell_completes_commands_and_tasks(
    config: str, tmp_path: Path, line: str, completed: list[str]
) -> None:
    """As bash asks: by environment, answered in a file."""
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": line,
        "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n", "QUANT_CONFIG": config,
    }  # fmt: skip
    done = command(env={**os.environ, **asked})
    assert done.returncode == 0, done.stderr
    assert [word.strip() for word in answer.read_text().splitlines()] == completed


def test_a_shell_can_be_taught(config: str) -> None:
    """`eval "$(quant-exporter completion bash)"`."""
    said = command("completion", "bash", stdout=subprocess.PIPE).stdout
    assert b"complete " in said and b"quant-exporter" in said


def test_no_command_prints_what_a_terminal_obeys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, a bell, a title, turned writing: in names and errors they are text."""
    odd = "\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u2066 \x9b2J\r"

    def say(path: Path, **_: object) -> int:
        print(odd)
        print(odd, file=sys.stderr)
        return 0

    monkeypatch.setattr("exporter.cli.tasks.tasks", say)
    assert command_line.main(["tasks"]) == 0
    for text in capsys.readouterr():
        assert text.isascii()
        assert text.rstrip("\n").isprintable()
        assert "\\x1b[31mred" in text


def test_tasks_says_one_task_s_schedule_in_words_with_its_next_slots(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its row; slots within a pause are left out."""
    row = {
        "name": "scan", "state": "paused", "last_outcome": None, "last_end": None,
        "next_slot": None, "schedule": "every 1h", "paused_until": 1_795_600_000.0,
    }  # fmt: skip
    monkeypatch.setattr("exporter.cli.tasks.client.call", lambda *_: {"tasks": [row]})
    monkeypatch.setattr("exporter.cli.tasks.SystemClock", lambda: ManualClock(1_795_500_000.0))
    assert command_line.main(["tasks", "--config", config, "scan"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "every 1h from midnight (America/New_York): Wed 2026-11-25 05:00 EST, "
        "Wed 2026-11-25 06:00 EST, Wed 2026-11-25 07:00 EST, Wed 2026-11-25 08:00 EST, "
        "Wed 2026-11-25 09:00 EST"
    )
    assert command_line.main(["tasks", "--config", config, "scam"]) == 2
    assert "there is no task 'scam': did you mean scan?" in capsys.readouterr().err


def test_check_notes_an_alert_that_reached_nobody(config: str) -> None:
    """From the journal, whether or not an exporter runs."""

    async def journalled() -> None:
        state = State.open(Path(config).parent / "var/state.db", SystemClock())
        journal = Journal(state, Metrics(CollectorRegistry()), SystemClock())
        alert = {
            "labels": {"alertname": "X"}, "annotations": {}, "status": "firing",
            "startsAt": iso(time.time()), "endsAt": iso(time.time()), "fingerprint": "f",
        }  # fmt: skip
        await journal.record("slack", {"alerts": [alert]})
        failed = {"integration": "slack", "attempts": 1.0, "receivers": ["slack"]}
        await journal.delivery("failed", failed, counts=True)
        await state.close()

    (Path(config).parent / "var").mkdir()
    asyncio.run(journalled())
    done = command("check", "--config", config, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert f"{config}: note: alerts: slack accepts nothing since " in done.stdout.decode()
    assert f"{config}: note: alerts: Nobody was notified of X " in done.stdout.decode()


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    """Libraries make errors of their own of it, or abort; the shell is asked in their place."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt as error:\n"
        "    raise RuntimeError('the library is broken') from error\n"
    )
    code = "from exporter.cli.main import _imported; _imported('slow:call')"
    path = f"{Path(exporter.__file__).parents[1]}:{tmp_path}"
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_a_closed_stdout_is_no_traceback(config: str) -> None:
    """`>&-`, as init scripts have it: what is printed must not go into the file opened next."""
    shell = f"exec '{sys.executable}' -m exporter check --config '{config}' <&- >&-"
    done = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
