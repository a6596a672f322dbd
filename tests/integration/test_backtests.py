"""Backtests as users have them: the command, the task in a running exporter, and a kill."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from exporter.config import load
from tests.integration.processes import Exporter, Program, free_port, post, wait_for

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "exporter"]
SLOW = (
    "import time\n"
    "def f(bars, n=0):\n"
    "    time.sleep(0.1)\n"
    "    return (bars.close > bars.close.shift(n + 1)).astype(float)\n"
)
CONFIG = """\
listen: 127.0.0.1:{port}
code: [.]
sources: {{market: {{type: simulated}}}}
backtests:
  days: 20
  workers: 2
  strategies:
    slow: {{run: "slow:f", symbols: [SPY.US, BTCUSDT], interval: 4h, exchange: 24/7,
            params: {{n: 1}}, grid: {{n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}}}
tasks:
  weekend_backtest: {{run: "exporter.tasks:weekend_backtest", schedule: "sun 09:00"}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(SLOW)
    file = tmp_path / "exporter.yml"
    file.write_text(CONFIG.format(port=free_port()))
    return file


def backtest(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "backtest", *arguments, "--config", str(config)], cwd=config.parent,
        capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip


def test_a_killed_batch_goes_on_where_it_was(config: Path) -> None:
    """With -9 in the middle; nothing of it lives on, and only what is missing is computed."""
    command = [*COMMAND, "backtest", "--config", config]
    with Program(command, config.parent / "out", cwd=config.parent) as killed:
        results = config.parent / "var/backtests/results.db"

        def some() -> bool:
            if not results.exists():
                return False
            try:
                with closing(sqlite3.connect(f"file:{results}?mode=ro", uri=True)) as db:
                    return int(db.execute("SELECT count(*) FROM units").fetchone()[0]) >= 3
            except sqlite3.Error:
                return False

        wait_for(some, "the first results")
        killed.kill()
    wait_for(lambda: not servers(config), "its processes to end", 5)
    done = backtest(config, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["total"], made["done"], made["failed"]) == (20, 20, 0)
    assert 3 <= made["reused"] < 20
    assert len(made["results"]) == 20


def servers(config: Path) -> list[str]:
    """Processes of units below this test's folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"exporter.backtests.unit_server" in words:
                found.append(str((process / "cwd").readlink()))
        except OSError:
            continue
    return [folder for folder in found if folder == str(config.parent)]


def test_the_task_fills_the_metrics(config: Path) -> None:
    """In a running exporter, whose loop stays free; the shipped task has the hours of the docs."""
    port = load(config).address[1]
    name = 'quant_backtest_{}{{strategy="slow",symbol="BTCUSDT"}}'
    with Exporter(config) as exporter:
        exporter.wait_ready(port)
        assert math.isnan(exporter.metrics()[name.format("return_ratio")])
        _, answer = post(f"{exporter.url}/api/v1/tasks/weekend_backtest/run", exporter.token)
        assert answer["run_id"]
        at = name.format("last_success_timestamp_seconds")
        wait_for(lambda: exporter.metrics()[at] > 0, "the results as metrics")
        assert abs(exporter.metrics()[at] - time.time()) < 100
        items = 'quant_task_items{task="weekend_backtest"}'
        wait_for(lambda: exporter.metrics()[items] == 20, "the end of the run")
        text = "".join(file.read_text() for file in (config.parent / "var/log").iterdir())
        assert '"event":"backtest_result"' in text.replace('": "', '":"')
        assert "Backtest completed: slow BTCUSDT" in text
        stopped = time.monotonic()
        assert exporter.stop() == 0
        assert time.monotonic() - stopped < 10


def test_a_stop_in_the_middle_ends_the_batch(config: Path) -> None:
    """An orderly stop does not wait for it, and leaves no process; what is done is kept."""
    with Exporter(config) as exporter:
        exporter.wait_ready(load(config).address[1])
        post(f"{exporter.url}/api/v1/tasks/weekend_backtest/run", exporter.token)
        wait_for(lambda: servers(config), "its processes")
        exporter.process.send_signal(signal.SIGTERM)
        assert exporter.stop(40) == 0
    assert servers(config) == []


def test_the_shipped_task_and_strategies(tmp_path: Path) -> None:
    """Sunday 09:00, two hours of grace, retries, a limit; and both examples have results."""
    subprocess.run([*COMMAND, "init", str(tmp_path)], check=True, capture_output=True, cwd=ROOT)
    config = load(tmp_path / "exporter.yml")
    task = config.tasks["weekend_backtest"]
    assert (task.schedule, task.grace) == ("sun 09:00", 7200.0)
    assert task.retries > 0
    assert task.max_runtime
    assert task.may_be_interrupted
    done = backtest(tmp_path / "exporter.yml", "momentum", "--params", "window=10", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert {one["params"]["window"] for one in made["results"]} == {40, 10}
    assert all(one["error"] is None for one in made["results"])
