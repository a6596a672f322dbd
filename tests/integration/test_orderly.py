"""What a person does to a running exporter: reload, pause, run by hand, stop. Real processes."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.processes import ROOT, Exporter, free_port, hurried, post, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
code: [code]
stop_timeout: 20s
tasks:
  tick: {{run: "mine:tick", schedule: "every 1s"}}
  slow: {{run: "mine:slow", schedule: "00:00", timeout: 60s, params: {{seconds: 0.2}}}}
  fails: {{run: "mine:fails", schedule: "00:00"}}
{more}
"""
CODE = """\
import asyncio, os, time

async def tick(): return 1

def slow(context):
    time.sleep(context.params["seconds"])
    while os.path.exists("hold"):
        time.sleep(0.05)
    return 7

def fails(): raise ValueError("no luck")

async def deaf():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""
FAILED_RELOAD = "quant_exporter_config_last_reload_successful"


class Trader:
    """A folder with a config, the exporter on it, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.config = folder / "exporter.yml"
        (folder / "code").mkdir()
        (folder / "code/mine.py").write_text(CODE)
        self.write()
        self.exporter = self.start()

    def write(self, more: str = "") -> None:
        """The config, with further lines under `tasks:`."""
        self.config.write_text(CONFIG.format(port=self.port, more=more))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A run of `slow` that begins in it ends after it."""
        hold = self.folder / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def start(self) -> Exporter:
        """A new process; ready."""
        script = hurried(self.folder, EXIT_SECONDS=1.0)
        self.exporter = Exporter(self.config, script=script).wait_ready(self.port)
        return self.exporter

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``quant-exporter …`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "exporter", *arguments],
            cwd=self.folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def value(self, series: str) -> float:
        """One sample of now."""
        return self.exporter.metrics()[series]

    def becomes(self, series: str, is_well: Callable[[float], bool]) -> float:
        """Wait for a sample; its value then."""
        wait_for(lambda: is_well(self.exporter.metrics().get(series, float("nan"))), series)
        return self.value(series)

    def outcomes(self, task: str) -> list[str]:
        """Of the task's runs, oldest first, from the state file."""
        db = sqlite3.connect(f"file:{self.folder}/var/state.db?mode=ro", uri=True)
        query = "SELECT outcome FROM runs WHERE task = ? ORDER BY claimed_at"
        return [row[0] for row in db.execute(query, (task,))]


@pytest.fixture
def trader(tmp_path: Path) -> Iterator[Trader]:
    """Started, and ended at the end."""
    trader = Trader(tmp_path)
    yield trader
    with trader.exporter:
        pass


def runs(task: str) -> str:
    """The counter of a task's runs."""
    return f'quant_task_runs_total{{task="{task}"}}'


def test_a_new_file_is_taken_under_running_tasks_and_a_bad_one_is_not(trader: Trader) -> None:
    """Counters go on, a run goes on, what was taken out is gone, what came is there."""
    with trader.held():
        assert trader.command("run-task", "slow", "--no-wait").returncode == 0
        trader.becomes(runs("tick"), lambda count: count >= 1)
        _reload_well_and_badly(trader)
    trader.becomes(runs("slow"), lambda count: count == 1)
    # Counted first, then on its way to the disk.
    wait_for(lambda: trader.outcomes("slow") == ["success"], "the outcome to be on the disk")
    assert trader.value('quant_task_items{task="slow"}') == 7


def _reload_well_and_badly(trader: Trader) -> None:
    trader.write(more="  tick2: {schedule: soon}\n  typo: {run: 'mine:nobody', schedule: '00:00'}")
    trader.exporter.process.send_signal(signal.SIGHUP)
    trader.becomes(FAILED_RELOAD, lambda value: value == 0)
    status, answer = post(f"{trader.exporter.url}/-/reload", trader.exporter.token)
    assert status == 400
    mistakes = answer["error"].splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in mistakes] == [
        "tasks.tick2.schedule", "tasks.tick2", "tasks.typo.run",
    ]  # fmt: skip
    failed = trader.command("reload")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 3)
    before = trader.value(runs("tick"))
    trader.becomes(runs("tick"), lambda count: count > before)  # the old one goes on

    trader.write(more='  added: {run: "mine:tick", schedule: "00:00"}')
    text = trader.config.read_text()
    fails = next(line for line in text.splitlines() if "fails" in line)
    trader.config.write_text(text.replace(fails, ""))
    taken = trader.command("reload")
    assert (taken.returncode, taken.stdout) == (0, "configuration reloaded\n")
    found = trader.exporter.metrics()
    assert found[FAILED_RELOAD] == 1
    assert found[runs("tick")] >= before
    assert found[runs("added")] == 0
    assert not any('task="fails"' in series for series in found)


def test_a_run_by_hand_has_an_outcome_and_an_exit_code(trader: Trader) -> None:
    """0 well, 1 it failed, 2 wrong use; and no second run beside the first."""
    well = trader.command("run-task", "slow")
    assert (well.returncode, well.stdout[:13], well.stdout[-9:]) == (
        0,
        "slow: success",
        " 7 items\n",
    )
    failed = trader.command("run-task", "fails")
    assert failed.returncode == 1
    assert failed.stdout.endswith("ValueError: no luck\n")
    unknown = trader.command("run-task", "nobody")
    assert (unknown.returncode, unknown.stderr) == (2, "there is no task 'nobody'\n")
    with trader.held():
        assert trader.command("run-task", "slow", "--no-wait").returncode == 0
        busy = trader.command("run-task", "slow")
        assert (busy.returncode, busy.stderr) == (1, "slow is running already\n")
        table = trader.command("tasks").stdout.splitlines()
        assert [line.split()[:3] for line in table[2:4]] == [
            ["slow", "running", "success"], ["fails", "failing", "failure"],
        ]  # fmt: skip
    wait_for(lambda: trader.outcomes("slow") == ["success"] * 2, "the run to end")
    trader.exporter.kill()
    at_rest = trader.command("tasks")
    assert at_rest.returncode == 0
    assert "no exporter answers" in at_rest.stderr
    table = at_rest.stdout.splitlines()
    assert [line.split()[:3] for line in table[2:4]] == [
        ["slow", "ok", "success"], ["fails", "failing", "failure"],
    ]  # fmt: skip


def test_a_pause_skips_counts_survives_a_kill_and_ends_by_itself(trader: Trader) -> None:
    """Of one task; the pause of all is ended by hand."""
    paused, skipped = (
        'quant_task_paused{task="tick"}',
        'quant_task_skipped_total{reason="paused",task="tick"}',
    )
    assert trader.command("pause", "tick", "--for", "1h").returncode == 0
    trader.becomes(skipped, lambda count: count >= 2)
    assert trader.value(paused) == 1
    assert trader.value('quant_task_paused{task="slow"}') == 0
    refused = trader.command("run-task", "tick")
    assert (refused.returncode, refused.stderr) == (1, "tick is paused; end the pause first\n")

    trader.exporter.kill()
    trader.start()
    assert trader.value(paused) == 1
    trader.becomes(skipped, lambda count: count >= 2)
    assert trader.value(runs("tick")) == 0
    assert trader.value('quant_task_missed_total{task="tick"}') == 0

    assert trader.command("pause", "tick", "--for", "2s").returncode == 0  # the new one counts
    trader.becomes(runs("tick"), lambda count: count >= 1)
    assert trader.value(paused) == 0

    assert trader.command("pause", "--for", "1h").returncode == 0
    assert trader.value('quant_task_paused{task="slow"}') == 1
    assert trader.command("resume").returncode == 0
    count = trader.value(runs("tick"))
    trader.becomes(runs("tick"), lambda now: now > count)

    # The file is being mended: what is right in it leads to the exporter all the same.
    trader.write(more="  odd: {command: [x], schedule: soon}")
    for said in (trader.command("pause", "slow", "--for", "1h"), trader.command("resume", "slow")):
        assert said.returncode == 0
        assert "tasks.odd.schedule" in said.stderr
        assert "continuing with the part that is right" in said.stderr


def test_a_stop_lets_what_runs_finish_and_leaves_nothing_behind(trader: Trader) -> None:
    """SIGTERM: not ready, nothing new starts, the run ends well, exit code 0."""
    with trader.held():
        assert trader.command("run-task", "slow", "--no-wait").returncode == 0
        trader.becomes('quant_task_running{task="slow"}', lambda value: value == 1)
        children = psutil.Process(trader.exporter.process.pid).children(recursive=True)
        assert children
        trader.exporter.process.terminate()
        wait_for(lambda: "stopping" in trader.exporter.output(), "the stop to begin")
        late = post(f"{trader.exporter.url}/api/v1/tasks/fails/run", trader.exporter.token)
        assert late == (409, {"error": "the exporter is stopping"})
    assert trader.exporter.process.wait(30) == 0
    assert trader.outcomes("slow") == ["success"]
    assert not any(child.is_running() for child in children)


def test_a_coroutine_that_ignores_its_end_does_not_keep_the_exporter(trader: Trader) -> None:
    """It is said, and an orderly stop comes to its end all the same."""
    trader.write(more="  deaf: {run: 'mine:deaf', schedule: '00:00', timeout: 1s}")
    assert trader.command("reload").returncode == 0
    assert "timeout" in trader.command("run-task", "deaf").stdout
    assert "goes on although it was cancelled" in trader.exporter.output()
    trader.exporter.process.terminate()
    assert trader.exporter.process.wait(60) == 0


def test_a_second_signal_does_not_wait(trader: Trader) -> None:
    """Ctrl-C twice: the run is ended, recorded, and the exit is orderly all the same."""
    with trader.held():
        assert trader.command("run-task", "slow", "--no-wait").returncode == 0
        trader.becomes('quant_task_running{task="slow"}', lambda value: value == 1)
        began = time.monotonic()
        trader.exporter.process.send_signal(signal.SIGINT)
        wait_for(lambda: "waiting for slow" in trader.exporter.output(), "the stop to begin")
        trader.exporter.process.send_signal(signal.SIGINT)
        assert trader.exporter.process.wait(15) == 0
    assert time.monotonic() - began < 20  # `stop_timeout`
    assert trader.outcomes("slow") == ["error"]


def test_a_second_exporter_is_refused_and_says_why(trader: Trader) -> None:
    """The same state, or the same address: the first goes on, the second says what to do."""
    second = trader.command("run")
    assert second.returncode == 1
    pid = trader.exporter.process.pid
    assert "cannot start" in second.stderr
    assert str(pid) in second.stderr
    other = trader.folder / "other.yml"
    other.write_text(trader.config.read_text() + "state: elsewhere/state.db\n")
    taken = trader.command("run", "--config", "other.yml")
    assert taken.returncode == 1
    assert f"cannot listen on 127.0.0.1:{trader.port}" in taken.stderr
    assert "another exporter" in taken.stderr
    count = trader.value(runs("tick"))
    trader.becomes(runs("tick"), lambda now: now > count)
