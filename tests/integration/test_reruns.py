"""`run-task` for slots of the past, one or a range, with the real exporter and the real command."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.integration.processes import ROOT, Exporter, free_port, get, wait_for

pytestmark = pytest.mark.integration

TODAY = datetime.now(UTC).date()
DAYS = [(TODAY - timedelta(n)).isoformat() for n in (4, 3, 2)]
"""Days whose slot at 00:00 has come, and is not the newest."""
CONFIG = """\
listen: 127.0.0.1:{port}
timezone: UTC
tasks:
  etl:
    command:
      - sh
      - -c
      - 'date -u -d @$QUANT_SLOT +%F >> days; echo "$QUANT_PARAM_MODE"; test ! -e broken'
    schedule: "00:00"
    json_output: true
    params: {{mode: daily}}
  slow: {{command: [sleep, "60"], schedule: "00:00"}}
  often: {{command: ["true"], schedule: "every 6h"}}
"""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder, port = tmp_path_factory.mktemp("reruns"), free_port()
    (folder / "exporter.yml").write_text(CONFIG.format(port=port))
    with Exporter(folder / "exporter.yml") as running:
        yield running.wait_ready(port)
        running.kill()  # an orderly stop would wait for `slow`


def arguments(exporter: Exporter, *words: str) -> list[str]:
    config = str(exporter.folder / "exporter.yml")
    return [sys.executable, "-m", "exporter", "run-task", "--config", config, *words]


def run_task(exporter: Exporter, *words: str) -> tuple[int, str]:
    """Exit code, and all that it printed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        arguments(exporter, *words), capture_output=True, text=True, env=env, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def done_days(exporter: Exporter) -> list[str]:
    file = exporter.folder / "days"
    return file.read_text().split() if file.exists() else []


def test_a_slot_of_the_past_runs_once_unless_it_is_asked_for_again(exporter: Exporter) -> None:
    """The command finds that slot, and the parameters, in its environment."""
    code, said = run_task(exporter, "etl", "--for", DAYS[0], "--param", "mode=full")
    assert code == 0, said
    assert "etl: success after" in said
    assert "    full" in said
    assert done_days(exporter) == [DAYS[0]]
    code, said = run_task(exporter, "etl", "--for", DAYS[0])
    assert code == 1
    assert f"etl has succeeded for its slot of {DAYS[0]}T00:00:00Z already" in said
    code, said = run_task(exporter, "etl", "--for", f"{DAYS[0]}T00:00", "--again")
    assert code == 0, said
    assert "    daily" in said
    assert done_days(exporter) == [DAYS[0]] * 2


def test_a_range_goes_on_where_it_stopped(exporter: Exporter) -> None:
    """A failure stops it, says how to go on, and what has succeeded is not run again."""
    (exporter.folder / "days").unlink(missing_ok=True)
    (exporter.folder / "broken").touch()
    whole = ("etl", "--from", DAYS[0], "--to", DAYS[-1])
    code, said = run_task(exporter, *whole)
    assert code == 1
    assert "success already" in said.splitlines()[0]
    assert "exit code 1" in said.splitlines()[1]
    assert "stopped at the first failure; 3 slots: 1 already, 1 failed" in said
    assert f"run-task etl --from {DAYS[1]}T00:00:00+00:00 --to {DAYS[2]}" in said
    (exporter.folder / "broken").unlink()
    code, said = run_task(exporter, *whole)
    assert code == 0, said
    assert said.splitlines()[-1] == "3 slots: 2 success, 1 already"
    assert done_days(exporter) == [DAYS[1], DAYS[1], DAYS[2]]
    task = exporter.metrics()
    assert task['quant_task_consecutive_failures{task="etl"}'] == 0
    assert (
        task['quant_task_last_success_timestamp_seconds{task="etl"}']
        != (task['quant_task_last_success_timestamp_seconds{task="etl"}'])
    ), "an old slot says nothing about today"


def test_ctrl_c_says_where_it_stopped_and_the_rest_can_be_run(exporter: Exporter) -> None:
    """The run that is under way continues."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = arguments(exporter, "slow", "--from", DAYS[0], "--to", DAYS[2])
    shell = subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True, env=env)
    running = 'quant_task_running{task="slow"}'
    wait_for(lambda: exporter.metrics()[running] == 1, "the first slot to run")
    shell.send_signal(signal.SIGINT)
    said, _ = shell.communicate(timeout=20)
    assert shell.returncode == 130
    assert "continues; 3 slots: none done" in said
    assert "to go on: " in said
    assert f"run-task slow --from {DAYS[0]}T00:00:00+00:00 --to {DAYS[2]}" in said
    assert exporter.metrics()[running] == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("etl", "--for", "someday"), 2, "invalid day 'someday': write 2026-11-20 or"),
        (("often", "--for", "yesterday"), 2, "often has 4 slots on yesterday: name one (--for "),
        (("etl", "--for", "2100-01-01"), 2, "etl has no slot on 2100-01-01"),
        (("etl", "--for", f"{DAYS[0]}T03:00"), 2, "has no slot on"),
        (("often", "--for", DAYS[0]), 2, f"often has 4 slots on {DAYS[0]}: name one (--for "),
        (("etl", "--from", DAYS[2], "--to", DAYS[0]), 2, f"{DAYS[0]} is before {DAYS[2]}"),
        (("often", "--from", "2020-01-01", "--to", "2026-01-01"), 2, "1000 slots are too many"),
        (("etl", "--to", DAYS[0]), 2, "--to needs --from"),
        (("etl", "--again"), 2, "--again is for --for, or --from and --to"),
        (("etl", "--for", DAYS[0], "--from", DAYS[0]), 2, "--for is one slot"),
        (("etl", "--param", "x"), 2, "invalid parameter 'x': write NAME=VALUE"),
        (("nowhere", "--for", DAYS[0]), 2, "there is no task 'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_said(
    exporter: Exporter, words: tuple[str, ...], code: int, text: str
) -> None:
    """And nothing runs."""
    before = len(done_days(exporter))
    found, said = run_task(exporter, *words)
    assert (found, text in said) == (code, True), said
    assert len(done_days(exporter)) == before


def test_a_run_by_hand_claims_a_slot_that_nobody_ran(exporter: Exporter) -> None:
    """So a schedule that looks at it later finds it claimed; a second run has none of its own."""
    with closing(sqlite3.connect(exporter.folder / "var/state.db")) as db:
        found = db.execute(
            "SELECT slot, for_slot FROM runs WHERE task = 'etl' ORDER BY claimed_at LIMIT 2"
        ).fetchall()
    slot = datetime.combine(date.fromisoformat(DAYS[0]), datetime.min.time(), UTC).timestamp()
    assert found == [(slot, None), (None, slot)]
    page = get(f"{exporter.url}/tasks/etl").decode()
    assert "backfill" in page or "success" in page
