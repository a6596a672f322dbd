"""The real exporter on a state that is broken: full, read-only, damaged. It says so, serves
/metrics, runs nothing twice, and heals by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, hurried, post, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
state: disk/state.db
logs: {{directory: log}}
code: [code]
tasks:
  trades: {{run: "mine:note_slot", schedule: "every 1s", severity: critical}}
  looks: {{run: "mine:look", schedule: "every 1s", idempotent: true}}
"""
CODE = """\
def note_slot(context):
    with open("trades.slots", "a") as file:
        print(f"{context.slot:.0f}", file=file)

async def look(): return 1
"""
HEALTHY = "quant_state_healthy"


class Machine:
    """A folder with a config, and a disk of its own for the state."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk, self.port = folder, folder / "disk", free_port()
        self.disk.mkdir()
        (folder / "code").mkdir()
        (folder / "code/mine.py").write_text(CODE)
        (folder / "exporter.yml").write_text(CONFIG.format(port=self.port))

    def start(self) -> Exporter:
        """Ready."""
        script = hurried(self.folder, TOKEN_RETRY=1.0)
        return Exporter(self.folder / "exporter.yml", script=script).wait_ready(self.port)

    def mount(self, options: str) -> None:
        """A small file system; skips where that is not allowed."""
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.disk)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a small file system needs root and the right to mount")

    def trades(self) -> list[str]:
        """The slots that the task which must not run twice noted."""
        file = self.folder / "trades.slots"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With its disk gone at the end."""
    made = Machine(tmp_path)
    yield made
    subprocess.run(["umount", "-l", str(made.disk)], capture_output=True, check=False)


def becomes(exporter: Exporter, series: str, is_well: Callable[[float], bool]) -> None:
    """Wait for a sample."""
    wait_for(lambda: is_well(exporter.metrics()[series]), series)


@pytest.mark.parametrize("broken", ["full", "read-only"])
def test_a_disk_that_takes_nothing_from_the_start(machine: Machine, broken: str) -> None:
    """Only what may run without a claim runs; when the disk is back all of it does, and whoever
    reads the token may write."""
    machine.mount("size=1m")
    if broken == "full":
        with (machine.disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(machine.disk)], check=True)
    with machine.start() as exporter:
        becomes(exporter, 'quant_task_runs_total{task="looks"}', lambda count: count >= 2)
        found = exporter.metrics()
        assert found[HEALTHY] == 0
        assert found['quant_task_missed_total{task="trades"}'] >= 1
        assert machine.trades() == []
        assert "cannot be written" in exporter.output() or "is full" in exporter.output()
        assert post(f"{exporter.url}/api/v1/resume", "a guess")[0] == 401
        if broken == "full":
            (machine.disk / "filler").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(machine.disk)], check=True)
        wait_for(lambda: len(machine.trades()) >= 2, "the task to run again")
        wait_for((machine.disk / "token").exists, "the token")
        token = (machine.disk / "token").read_text().strip()
        assert post(f"{exporter.url}/api/v1/resume", token)[0] == 200
        assert exporter.stop() == 0
    assert len(set(machine.trades())) == len(machine.trades())


def test_a_damaged_file_is_set_aside_and_nothing_is_caught_up(machine: Machine) -> None:
    """It is never deleted; what may have run already does not run again."""
    with machine.start() as exporter:
        wait_for(lambda: len(machine.trades()) >= 2, "the task to run")
        exporter.kill()
    damaged = os.urandom(50_000)
    for file in machine.disk.glob("state.db-*"):
        file.unlink()
    (machine.disk / "state.db").write_bytes(damaged)
    before = len(machine.trades())
    with machine.start() as exporter:
        assert exporter.metrics()[HEALTHY] == 0
        wait_for(lambda: len(machine.trades()) >= before + 2, "the task to run again")
        (aside,) = machine.disk.glob("state.db.corrupt-*")
        assert aside.read_bytes() == damaged
        assert "was damaged; it was set aside" in exporter.output()
        assert exporter.metrics()['quant_task_missed_total{task="trades"}'] == 0
        aside.unlink()
        becomes(exporter, HEALTHY, lambda value: value == 1)
    assert len(set(machine.trades())) == len(machine.trades())


@pytest.mark.parametrize("lost", ["log", "log and mark"])
def test_a_state_without_its_log_runs_nothing_twice(machine: Machine, lost: str) -> None:
    """Killed, and the write-ahead log is gone (a cleanup, a copy of state.db alone): what ran since
    is unknown, so nothing is caught up; it is said, and unhealthy until somebody has looked."""
    with machine.start() as exporter:
        wait_for(lambda: len(machine.trades()) >= 3, "the task to run")
        exporter.kill()
    (machine.disk / "state.db-wal").unlink()
    if lost == "log and mark":
        (machine.disk / "state.db-mark").unlink()
    before = len(machine.trades())
    with machine.start() as exporter:
        assert exporter.metrics()[HEALTHY] == 0
        assert "has lost its newest changes" in exporter.output()
        wait_for(lambda: len(machine.trades()) >= before + 2, "the task to run again")
        assert exporter.metrics()['quant_task_missed_total{task="trades"}'] == 0
        (note,) = machine.disk.glob("state.db.corrupt-*-lost")
        note.unlink()
        becomes(exporter, HEALTHY, lambda value: value == 1)
        assert exporter.stop() == 0
    assert len(set(machine.trades())) == len(machine.trades())
