"""The real exporter, a TickDB-speaking server, a real Prometheus, and kill -9."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.processes import (
    Exporter,
    Program,
    Prometheus,
    answers,
    free_port,
    get,
    wait_for,
)

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
timezone: UTC
code: [code]
sources:
  market:
    type: tickdb
    url: http://127.0.0.1:{market}/v1
    api_key_env: KEY
    requests_per_minute: 600
feeds:
  coins: {{source: market, symbols: [BTCUSDT, ETHUSDT], interval: 1m, exchange: 24/7, poll: 2s}}
tasks:
  quick: {{run: "probe:quick", schedule: "every 2s", grace: 1m}}
  slow: {{run: "probe:slow", schedule: "every 5s", grace: 1m, timeout: 30s}}
  coroutine: {{run: "probe:coroutine", schedule: "every 3s", grace: 1m}}
"""

PROBE = """\
import asyncio
import os
import time


def note(name, context, what):
    fd = os.open(f"{name}.slots", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what} {context.slot:.0f}\\n".encode())
    os.close(fd)


def quick(context):
    note("quick", context, "start")
    bars = context.latest(["BTCUSDT"], "1m")["BTCUSDT"]
    return len(bars)


def slow(context):
    note("slow", context, "start")
    time.sleep(3)
    note("slow", context, "end")
    return 1


async def coroutine(context):
    note("coroutine", context, "start")
    await asyncio.sleep(0.2)
    return 1
"""


def lines(folder: Path, name: str, what: str) -> list[int]:
    """The slots that a task noted."""
    file = folder / f"{name}.slots"
    text = file.read_text() if file.exists() else ""
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith(what)]


def total(samples: list[tuple[float, float]]) -> float:
    """A counter over restarts: what it rose by, resets counted from 0."""
    rise, before = 0.0, 0.0
    for _, value in samples:
        rise += value - before if value >= before else value
        before = value
    return rise


@pytest.mark.timeout(300)
def test_no_slot_runs_twice_and_none_within_grace_is_lost_when_it_is_killed(tmp_path: Path) -> None:
    """Killed in the middle of a run, started again four seconds later."""
    port, market = free_port(), free_port()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/probe.py").write_text(PROBE)
    config = tmp_path / "exporter.yml"
    config.write_text(CONFIG.format(port=port, market=market))
    env = {"KEY": "a-key-for-tests"}
    simulate = [sys.executable, "-m", "exporter", "simulate"]
    address = f"127.0.0.1:{market}"
    with (
        Program(
            [*simulate, "--listen", address, "--key", env["KEY"]], tmp_path / "market.out"
        ) as server,
        Prometheus(tmp_path / "prometheus", [f"127.0.0.1:{port}"]) as prometheus,
    ):
        wait_for(
            lambda: answers(f"http://{address}/") or "refused" not in server.output(), "market"
        )
        first = Exporter(config, env).wait_ready(port)
        with first:
            wait_for(lambda: len(lines(tmp_path, "slow", "end")) >= 1, "a slow run to end")
            wait_for(
                lambda: len(lines(tmp_path, "slow", "start")) > len(lines(tmp_path, "slow", "end")),
                "a slow run to be under way",
            )
            time.sleep(1.2)  # a scrape sees it running
            first.kill()
        killed = time.time()
        broken = lines(tmp_path, "slow", "start")[-1]
        time.sleep(4)
        with Exporter(config, env).wait_ready(port) as second:
            ready = time.time()
            wait_for(
                lambda: max(lines(tmp_path, "slow", "end"), default=0) > ready, "a later slow run"
            )
            wait_for(lambda: max(lines(tmp_path, "quick", "start")) > ready + 4, "later quick runs")
            time.sleep(2.5)
            check(tmp_path, prometheus, killed, ready, broken)
            assert env["KEY"] not in get(f"{second.url}/metrics").decode()
            assert second.stop() == 0
        for log in tmp_path.rglob("*.log"):
            assert env["KEY"] not in log.read_text(errors="replace"), log


def check(folder: Path, prometheus: Prometheus, killed: float, ready: float, broken: int) -> None:
    """Slots from the tasks' own notes, everything else from Prometheus."""
    for name, every, lasts in (("quick", 2, 1), ("slow", 5, 4), ("coroutine", 3, 1)):
        ran = lines(folder, name, "start")
        twice = [slot for slot, count in Counter(ran).items() if count > 1]
        assert not twice, f"{name} ran twice in {twice}"
        expected = set(range(min(ran), max(ran) + 1, every))
        left_out = sorted(expected - set(ran))
        # Of those missed while it was down the newest within grace was started once. A slot may
        # have come between the moment it caught up and the moment it was seen ready: then that one
        # was.
        newest = [slot for slot in sorted(expected) if slot <= ready][-2:]
        assert set(newest) & set(ran), (name, newest, left_out)
        # A late start may still run when the next slot comes: that one is left out as an overlap.
        assert all(killed - every <= slot <= ready + lasts for slot in left_out), (name, left_out)
        # Each other one is told of once: missed, or (a late start was still running) skipped.
        missed = prometheus.samples(f'quant_task_missed_total{{task="{name}"}}')
        overlap = prometheus.samples(f'quant_task_skipped_total{{task="{name}",reason="overlap"}}')
        told = total(missed) + total(overlap)
        assert told == len(left_out), (name, left_out, missed[-1], overlap[-1])
        success = prometheus.samples(f'quant_task_last_success_timestamp_seconds{{task="{name}"}}')
        values = [value for _, value in success if value == value]
        assert values == sorted(values), f"{name}: a success time went backwards"
        assert values[-1] > ready
    crashed = prometheus.samples('quant_task_failures_total{task="slow",reason="crashed"}')
    assert total(crashed) == 1
    assert broken in lines(folder, "slow", "start")
    assert broken not in lines(folder, "slow", "end")
    bars = prometheus.samples(
        'quant_data_last_bar_timestamp_seconds{feed="coins",symbol="BTCUSDT"}'
    )
    ends = [value for _, value in bars if value == value]
    assert ends
    assert ends == sorted(ends)
    assert prometheus.query('quant_data_overdue_seconds{symbol="BTCUSDT"} > 0') == []
