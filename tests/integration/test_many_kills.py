"""Killed again and again, wherever it is: while it starts, claims, runs, records."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = pytest.mark.integration

KILLS = 10
TASKS = ("plain", "coroutine", "command")
CONFIG = """\
listen: 127.0.0.1:{port}
code: [code]
tasks:
  plain: {{run: "probe:plain", schedule: "every 1s", grace: 20s}}
  coroutine: {{run: "probe:coroutine", schedule: "every 1s", grace: 20s}}
  command:
    command: [sh, -c, "echo $QUANT_SLOT $QUANT_RUN_ID >> command.slots"]
    schedule: "every 1s"
"""
PROBE = """\
import asyncio, os, time

def note(name, context):
    fd = os.open(f"{name}.slots", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{context.slot:.0f} {context.run_id}\\n".encode())
    os.close(fd)

def plain(context):
    note("plain", context)
    time.sleep(0.15)

async def coroutine(context):
    note("coroutine", context)
    await asyncio.sleep(0.15)
"""


@pytest.mark.timeout(240)
def test_no_slot_runs_twice_and_every_start_has_its_claim(tmp_path: Path) -> None:
    """What a task did is never unknown to the state file, and never done again."""
    port = free_port()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/probe.py").write_text(PROBE)
    (tmp_path / "exporter.yml").write_text(CONFIG.format(port=port))
    chance = random.Random(20261125)
    successes: dict[str, float] = {}
    for number in range(KILLS):
        exporter = Exporter(tmp_path / "exporter.yml")
        if number % 2:
            exporter.wait_ready(port)
            successes = _not_earlier(exporter, successes)
            time.sleep(chance.uniform(0.0, 1.2))
        else:
            time.sleep(chance.uniform(0.2, 2.5))
        exporter.kill()
    with Exporter(tmp_path / "exporter.yml").wait_ready(port) as exporter:
        _not_earlier(exporter, successes)
        ready = time.time()
        for name in TASKS:
            wait_for(lambda name=name: _slots(tmp_path, name)[-1:] > [ready + 1], f"{name} to run")
        assert exporter.stop() == 0
        assert "Traceback" not in exporter.output()
    for name in TASKS:
        _check(tmp_path, name)
    assert not list((tmp_path / "var").glob("*.corrupt-*"))


def _check(folder: Path, name: str) -> None:
    ran = dict(line.split() for line in (folder / f"{name}.slots").read_text().splitlines())
    twice = [slot for slot, count in Counter(_slots(folder, name)).items() if count > 1]
    assert not twice, f"{name} ran twice in {twice}"
    db = sqlite3.connect(folder / "var/state.db")
    rows = db.execute("SELECT slot, run_id, outcome FROM runs WHERE task = ?", (name,)).fetchall()
    claimed = {f"{slot:.0f}": run_id for slot, run_id, _ in rows}
    assert {slot: claimed.get(slot) for slot in ran} == ran
    outcomes = Counter(outcome for *_, outcome in rows)
    assert set(outcomes) <= {"success", "crashed"}
    assert outcomes["crashed"] <= KILLS
    assert outcomes["success"] >= 2


def _slots(folder: Path, name: str) -> list[float]:
    file = folder / f"{name}.slots"
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(line.split()[0]) for line in lines]


def _not_earlier(exporter: Exporter, before: dict[str, float]) -> dict[str, float]:
    """The times of success; none went back."""
    found = {
        series: value
        for series, value in exporter.metrics().items()
        if series.startswith("quant_task_last_success_timestamp_seconds{") and value == value
    }
    assert all(found[series] >= value for series, value in before.items()), (before, found)
    return found
