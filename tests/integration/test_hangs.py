"""An event loop that hangs: the process ends, and the next one says why and has lost nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, get, post

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
hang_timeout: 1s
code: [code]
strategies:
  trend: {{}}
tasks:
  sleeps: {{run: "stuck:sleeps", schedule: "sun 03:00"}}
  keeps_the_interpreter: {{run: "stuck:keeps_the_interpreter", schedule: "sun 03:00"}}
  aborts: {{run: "stuck:aborts", schedule: "sun 03:00"}}
"""
STUCK = """\
import ctypes
import os
import time


async def sleeps(context):
    time.sleep(60)


async def keeps_the_interpreter(context):
    ctypes.PyDLL(None).sleep(60)  # no other thread of Python runs meanwhile


async def aborts(context):
    os.abort()
"""


ENDS = {
    "sleeps": (1, "its event loop hung in sleeps ("),
    "keeps_the_interpreter": (1, "its event loop hung in keeps_the_interpreter ("),
    "aborts": (-6, "it was aborted in aborts ("),
}
CRASH = "quant_exporter_last_crash_timestamp_seconds"
EQUITY = 'quant_strategy_equity{strategy="trend"}'


def test_a_hung_exporter_ends_and_the_next_one_says_why(tmp_path: Path) -> None:
    """In the log and in a metric; the runs and an equity point of before are there."""
    port = free_port()
    config = tmp_path / "exporter.yml"
    config.write_text(CONFIG.format(port=port))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/stuck.py").write_text(STUCK)
    with Exporter(config) as first:
        first.wait_ready(port)
        assert not first.metrics()[CRASH] > 0
        point = f"{first.url}/api/v1/strategies/trend/equity"
        assert post(point, first.token, {"equity": 1000})[0] == 200
        first.stop()
    reason = ""
    for task, (code, why) in ENDS.items():
        with Exporter(config) as hangs:
            hangs.wait_ready(port)
            assert reason in hangs.output()
            with suppress(OSError):  # it may hang before it answers
                assert post(f"{hangs.url}/api/v1/tasks/{task}/run", hangs.token)[0] == 202
            assert hangs.process.wait(20) == code
        reason = f"the exporter was started again: {why}"
    with Exporter(config) as last:
        last.wait_ready(port)
        assert reason in last.output()
        assert task in (tmp_path / "var/last-crash.txt").read_text()
        metrics = last.metrics()
        assert metrics[CRASH] > 1_700_000_000
        assert metrics[EQUITY] == 1000
        for each in ENDS:
            assert "the exporter ended while the run was under way" in page(last, each)
        assert last.stop() == 0
    assert (tmp_path / "var/crash.txt").read_text() == ""
    assert (tmp_path / "var/last-crash.txt").stat().st_mode & 0o777 == 0o600


def page(exporter: Exporter, task: str) -> str:
    """Of a task."""
    return get(f"{exporter.url}/tasks/{task}").decode()
