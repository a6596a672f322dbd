"""Pings by the hundred a second: what was answered 200 is on disk, whatever ends the exporter."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sqlite3
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = pytest.mark.integration

TASKS = ("orders", "prices", "fills")
CONFIG = """\
listen: 127.0.0.1:{port}
tasks:
  orders: {{external: true, schedule: "every 1h"}}
  prices: {{external: true, schedule: "every 1h"}}
  fills: {{external: true, schedule: "every 1h"}}
"""
SLOW_DISK = """\
import sys, time
from exporter.cli.main import main
from exporter.state.writer import StateWriter

write = StateWriter._write
def slowly(self, steps):
    time.sleep(0.7)
    return write(self, steps)
StateWriter._write = slowly
sys.exit(main(["run", "--config", sys.argv[1]]))
"""


@dataclass
class Traffic:
    """Sends pings at a steady pace, and notes the ends that were accepted."""

    url: str
    token: str
    rng: random.Random
    ends: dict[str, set[str]] = field(default_factory=dict)
    """Run id to the outcomes that were accepted for it."""
    refused: int = 0
    unanswered: int = 0

    async def run(self, rate: float, seconds: float = math.inf, pings: int | None = None) -> None:
        """For so long, or so many."""
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = aiohttp.TCPConnector(limit=200)  # the exporter keeps 256 open
        async with aiohttp.ClientSession(headers=headers, connector=limits) as session:
            began, sent = time.monotonic(), []
            for number in itertools.count() if pings is None else range(pings):
                at = began + number / rate
                if at > began + seconds:
                    break
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                sent.append(asyncio.create_task(self._ping(session)))
            await asyncio.gather(*sent)

    async def _ping(self, session: aiohttp.ClientSession) -> None:
        kind = self.rng.choice(("start", "success", "fail", "fail"))
        named = self.rng.random() < 0.3
        query = {"rid": str(uuid.UUID(int=self.rng.getrandbits(128)))} if named else {}
        path = f"{self.url}/api/v1/tasks/{self.rng.choice(TASKS)}/{kind}"
        try:
            async with session.post(path, params=query) as answer:
                body = await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.unanswered += 1
            return  # killed meanwhile: nothing was promised
        if answer.status != 200:
            self.refused += 1
        elif kind != "start":
            outcome = "success" if kind == "success" else "error"
            self.ends.setdefault(body["run_id"], set()).add(outcome)


def recorded(folder: Path) -> dict[str, str]:
    """Run id to outcome of every run that ended, as the file has it."""
    db = sqlite3.connect(folder / "var/state.db")
    try:
        return dict(db.execute("SELECT run_id, outcome FROM runs WHERE outcome IS NOT NULL"))
    finally:
        db.close()


def lost(traffic: Traffic, folder: Path) -> dict[str, set[str]]:
    """Accepted ends that the file does not have."""
    found = recorded(folder)
    return {run: said for run, said in traffic.ends.items() if found.get(run) not in said}


@pytest.mark.timeout(120)
def test_five_hundred_pings_a_second_on_a_slow_disk_are_all_in_state(tmp_path: Path) -> None:
    """Each write takes 0.7 s; accepted and in state are the same runs, and counted as such. A busy
    machine sends as many, more slowly."""
    port = free_port()
    config, start = tmp_path / "exporter.yml", tmp_path / "slow.py"
    config.write_text(CONFIG.format(port=port))
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
    assert recorded(tmp_path).keys() == traffic.ends.keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_what_was_accepted_survives_kills(tmp_path: Path, kills: int) -> None:
    """Killed in the middle of the traffic, again and again; open runs are taken up meanwhile."""
    rng = random.Random(kills)
    config = tmp_path / "exporter.yml"
    accepted: dict[str, set[str]] = {}
    for _ in range(kills):
        port = free_port()
        config.write_text(CONFIG.format(port=port))
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
