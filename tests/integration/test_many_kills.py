"""Killed again and again, wherever it is: while it starts, claims, runs, records, answers.

``QUANT_SOAK_KILLS`` says how often in `make soak` (500).
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.pings import EXTERNAL_TASKS, Traffic, lost
from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = pytest.mark.integration

SCHEDULED = ("plain", "coroutine", "command")
MANY = int(os.environ.get("QUANT_SOAK_KILLS", "500"))
PINGS_PER_SECOND = 200.0
CONFIG = """\
listen: 127.0.0.1:{port}
code: [code]
tasks:
  plain: {{run: "probe:plain", schedule: "every 1s", grace: 20s}}
  coroutine: {{run: "probe:coroutine", schedule: "every 1s", grace: 20s}}
  command:
    command: [sh, -c, "echo $QUANT_SLOT $QUANT_RUN_ID >> command.slots"]
    schedule: "every 1s"
{external}"""
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


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kills", [20, pytest.param(MANY, marks=pytest.mark.soak)])
def test_no_slot_runs_twice_and_nothing_accepted_is_lost(
    tmp_path: Path, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """What a task did is never unknown to the state file, and never done again; what a program was
    answered is in it."""
    port = free_port()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/probe.py").write_text(PROBE)
    config = tmp_path / "exporter.yml"
    config.write_text(CONFIG.format(port=port, external=EXTERNAL_TASKS))
    chance = random.Random(20261125)
    with Exporter(config).wait_ready(port) as first:
        traffic = Traffic(first.url, first.token, random.Random(4711))
        first.kill()
    began = time.monotonic()
    sending = threading.Thread(target=lambda: asyncio.run(traffic.run(PINGS_PER_SECOND)))
    sending.start()
    try:
        _kill_again_and_again(config, port, kills, chance)
        with Exporter(config).wait_ready(port) as exporter:
            ready = time.time()
            for name in SCHEDULED:
                wait_for(
                    lambda name=name: _slots(tmp_path, name)[-1:] > [ready + 1], f"{name} to run"
                )
            traffic.over.set()
            sending.join()
            assert exporter.stop() == 0
            assert "Traceback" not in exporter.output()
    finally:
        traffic.over.set()
        sending.join()
    took = time.monotonic() - began
    record_property(
        "measured", f"{kills} kills in {took:.0f} s: {traffic.accepted} pings accepted, "
        f"{traffic.refused} refused, {traffic.unanswered} unanswered",
    )  # fmt: skip
    assert traffic.accepted > 20 * kills
    assert lost(traffic, tmp_path) == {}
    for name in SCHEDULED:
        _check(tmp_path, name, kills)
    assert not list((tmp_path / "var").glob("*.corrupt-*"))


def _kill_again_and_again(config: Path, port: int, kills: int, chance: random.Random) -> None:
    """At any moment from its first line on; every second time once it is ready."""
    successes: dict[str, float] = {}
    for number in range(kills):
        exporter = Exporter(config)
        if number % 2:
            exporter.wait_ready(port)
            successes = _not_earlier(exporter, successes)
            time.sleep(chance.uniform(0.0, 1.0))
        else:
            time.sleep(chance.uniform(0.2, 2.0))
        exporter.kill()


def _check(folder: Path, name: str, kills: int) -> None:
    ran = dict(line.split() for line in (folder / f"{name}.slots").read_text().splitlines())
    twice = [slot for slot, count in Counter(_slots(folder, name)).items() if count > 1]
    assert not twice, f"{name} ran twice in {twice}"
    db = sqlite3.connect(folder / "var/state.db")
    rows = db.execute("SELECT slot, run_id, outcome FROM runs WHERE task = ?", (name,)).fetchall()
    claimed = {f"{slot:.0f}": run_id for slot, run_id, _ in rows}
    assert {slot: claimed.get(slot) for slot in ran} == ran
    outcomes = Counter(outcome for *_, outcome in rows)
    assert set(outcomes) <= {"success", "crashed"}
    assert outcomes["crashed"] <= kills + 1
    assert outcomes["success"] >= 2


def _slots(folder: Path, name: str) -> list[float]:
    file = folder / f"{name}.slots"
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(line.split()[0]) for line in lines]


def _not_earlier(exporter: Exporter, before: dict[str, float]) -> dict[str, float]:
    """The times of success; none went back."""
    found = {
        series: value
        for series, value in wait_for(lambda: _scraped(exporter), "a scrape").items()
        if series.startswith("quant_task_last_success_timestamp_seconds{") and value == value
    }
    assert all(found[series] >= value for series, value in before.items()), (before, found)
    return found


def _scraped(exporter: Exporter) -> dict[str, float]:
    try:
        return exporter.metrics()
    except OSError:  # a machine that is busier than a request's patience
        return {}
