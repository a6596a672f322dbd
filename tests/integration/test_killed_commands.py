"""The exporter killed with -9 in each state of a command's run: the story after the restart."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import textwrap
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import Exporter, free_port, get, post, wait_for
from tests.runner_bench import is_alive

pytestmark = pytest.mark.integration

SLOT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
CONFIG = """\
listen: 127.0.0.1:{port}
timezone: UTC
tasks:
  t:
    command: [sh, -c, '{command}']
    schedule: "00:00"
    timeout: {timeout}
    stop_grace: 1m
"""
KILLED_AT = """\
import os, signal, sys
from pathlib import Path
from exporter import app
{patch}
sys.exit(app.run(Path(sys.argv[1])))
"""
AT_CLAIM = """
from exporter.runner.retries import Retries
async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
Retries.run = die
"""
AT_START = """
from exporter.runner.worker.forkserver_client import Workers
spawn = Workers.spawn
async def die(*args):
    await spawn(*args)
    os.kill(os.getpid(), signal.SIGKILL)
Workers.spawn = die
"""
AT_RECORD = """
from exporter.state import State
async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
State.finish = die
"""
RUNS = "echo $$ >> ran; "
STATES = {
    "claimed": (AT_CLAIM, RUNS, "5m", 0),
    "starting": (AT_START, RUNS, "5m", 0),
    "running": ("", RUNS + "touch now; sleep 60", "5m", 1),
    "stopping": ("", RUNS + 'trap "touch now" TERM; while :; do sleep 0.1; done', "1s", 1),
    "recording": (AT_RECORD, RUNS, "5m", 1),
}


def runs(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "var/state.db")) as db:
        question = "SELECT slot, for_slot, outcome, error FROM runs ORDER BY claimed_at"
        return db.execute(question).fetchall()


def ran(folder: Path) -> list[int]:
    file = folder / "ran"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("state", STATES)
def test_a_run_that_a_kill_interrupts_is_crashed_and_runs_once(state: str, tmp_path: Path) -> None:
    """Nothing of it goes on, its slot is not run again by itself, and by hand it can be."""
    patch, command, timeout, times = STATES[state]
    port, config, script = free_port(), tmp_path / "exporter.yml", tmp_path / "killed.py"
    config.write_text(CONFIG.format(port=port, command=command, timeout=timeout))
    script.write_text(KILLED_AT.format(patch=textwrap.dedent(patch)))
    with Exporter(config, script=script) as first:
        first.wait_ready(port)
        url = f"{first.url}/api/v1/tasks/t/run"
        with contextlib.suppress(OSError):  # it may be dead before it answers
            post(url, first.token, {"slot": SLOT})
        if not patch:
            wait_for((tmp_path / "now").exists, "the run to get there")
            first.kill()
        first.process.wait(20)
    assert len(ran(tmp_path)) == times
    wait_for(lambda: not any(map(is_alive, ran(tmp_path))), "its processes to be gone")
    config.write_text(CONFIG.format(port=port, command=RUNS, timeout=timeout))
    with Exporter(config) as second:
        second.wait_ready(port)
        crashed = (SLOT, None, "crashed", "the exporter ended while the run was under way")
        wait_for(lambda: runs(tmp_path) == [crashed], "the run to be closed")
        assert len(ran(tmp_path)) == times
        assert second.metrics()['quant_task_consecutive_failures{task="t"}'] == 1
        status, _ = post(f"{second.url}/api/v1/tasks/t/run", second.token, {"slot": SLOT})
        assert status == 202
        wait_for(lambda: runs(tmp_path)[-1][2] is not None, "its second run")
        assert runs(tmp_path)[1] == (None, SLOT, "success", None)
        assert second.metrics()['quant_task_consecutive_failures{task="t"}'] == 0
        slots = json.loads(get(f"{second.url}/api/v1/tasks/t/slots?from={datetime.now(UTC):%F}"))
        assert [each["outcome"] for each in slots["slots"]] == ["success"]
