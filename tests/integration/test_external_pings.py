"""Pings by the hundred a second: what was answered 200 is on disk, whatever ends the exporter."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.integration.pings import EXTERNAL_TASKS, TASKS, Traffic, lost, recorded
from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = pytest.mark.integration

CONFIG = "listen: 127.0.0.1:{port}\ntasks:\n{external}"
SLOW_DISK = """\
import sys, time
from exporter.cli.main import main
from exporter.state.writer import StateWriter

write = StateWriter._write
def slowly(self, steps):
    time.sleep(0.3)
    return write(self, steps)
StateWriter._write = slowly
sys.exit(main(["run", "--config", sys.argv[1]]))
"""


@pytest.mark.timeout(120)
def test_five_hundred_pings_a_second_on_a_slow_disk_are_all_in_state(tmp_path: Path) -> None:
    """Each write takes 0.3 s; accepted and in state are the same runs, and counted as such. A busy
    machine sends as many, more slowly."""
    port = free_port()
    config, start = tmp_path / "exporter.yml", tmp_path / "slow.py"
    config.write_text(CONFIG.format(port=port, external=EXTERNAL_TASKS))
    start.write_text(SLOW_DISK)
    with Exporter(config, script=start).wait_ready(port) as exporter:
        traffic = Traffic(exporter.url, exporter.token, random.Random(15))
        asyncio.run(traffic.run(500, pings=1500))
        assert (traffic.refused, traffic.unanswered) == (0, 0)
        assert len(traffic.ends) > 900
        runs = sum(exporter.metrics()[f'quant_task_runs_total{{task="{name}"}}'] for name in TASKS)
        assert runs == len(traffic.ends)
        assert exporter.stop() == 0
    assert lost(traffic, tmp_path) == {}
    ended = {run for run, outcome in recorded(tmp_path).items() if outcome}
    assert ended == traffic.ends.keys()


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(3, marks=pytest.mark.timeout(300)),
        pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_what_was_accepted_survives_kills(tmp_path: Path, kills: int) -> None:
    """Killed in the middle of the traffic, again and again; open runs are taken up meanwhile."""
    rng = random.Random(kills)
    config = tmp_path / "exporter.yml"
    accepted: dict[str, set[str]] = {}
    for _ in range(kills):
        port = free_port()
        config.write_text(CONFIG.format(port=port, external=EXTERNAL_TASKS))
        exporter = Exporter(config).wait_ready(port)
        traffic = Traffic(exporter.url, exporter.token, rng)

        async def until_killed(exporter: Exporter = exporter, traffic: Traffic = traffic) -> None:
            sending = asyncio.create_task(traffic.run(200, 1.5))
            await asyncio.sleep(rng.uniform(0.3, 1.4))
            exporter.kill()
            await sending

        asyncio.run(until_killed())
        wait_for(lambda exporter=exporter: exporter.process.poll() is not None, "its end")
        assert traffic.ends
        for run, outcomes in traffic.ends.items():
            accepted.setdefault(run, set()).update(outcomes)
    everything = Traffic("", "", rng, accepted)
    assert lost(everything, tmp_path) == {}
