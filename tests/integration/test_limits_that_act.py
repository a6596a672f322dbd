"""Limits that act, in a real exporter that is killed at the worst moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, Exporter, Prometheus, free_port, get, post, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
metrics: {{positions: {{labels: [strategy]}}}}
tasks:
  rebalance: {{command: [sleep, "600"], schedule: "00:00", interruptible: true}}
  flatten: {{command: [sh, -c, "echo flat >> flattened; sleep {flat}"], schedule: "00:00"}}
  signals: {{command: ["true"], schedule: "every 1s"}}
limits:
  positions:
    max: {{critical: 20}}
    confirm_for: 0s
    on_critical: {{pause: [rebalance, signals], run: flatten, wait: {wait}}}
"""


class Account:
    """An exporter with a limit, and what was traded."""

    def __init__(self, folder: Path, *, wait: str = "0s", flat: float = 0) -> None:
        self.folder, self.port = folder, free_port()
        text = CONFIG.format(port=self.port, wait=wait, flat=flat)
        (folder / "exporter.yml").write_text(text)

    def start(self) -> Exporter:
        return Exporter(self.folder / "exporter.yml").__enter__().wait_ready(self.port)

    @property
    def flattened(self) -> int:
        file = self.folder / "flattened"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def running() -> list[Exporter]:
    made: list[Exporter] = []
    yield made
    for exporter in made:
        exporter.__exit__(None, None, None)


def breach(exporter: Exporter) -> None:
    for value in (25, 26):
        body = {"name": "positions", "value": value, "labels": {"strategy": "m"}}
        assert post(f"{exporter.url}/api/v1/metrics", exporter.token, body)[0] == 200


def paused(exporter: Exporter, task: str = "rebalance") -> bool:
    return exporter.metrics()[f'quant_task_paused{{task="{task}"}}'] == 1


def test_it_acts_without_prometheus_and_is_undone_by_hand(
    tmp_path: Path, running: list[Exporter]
) -> None:
    """Pause, run, page; over a restart; a resume of the task alone is refused."""
    account = Account(tmp_path)
    exporter = account.start()
    running.append(exporter)
    breach(exporter)
    wait_for(lambda: account.flattened == 1 and paused(exporter), "the action")
    assert paused(exporter, "signals")
    assert "positions (m) acted" in get(f"{exporter.url}/").decode()
    status, answer = post(f"{exporter.url}/api/v1/resume", exporter.token, {"task": "signals"})
    assert status == 409
    assert "paused by the limit positions (m): positions of m is 26" in answer["error"]
    status, _ = post(
        f"{exporter.url}/api/v1/pause", exporter.token, {"task": "signals", "for": "1s"}
    )
    assert status == 409
    exporter.stop()
    running[0] = exporter = account.start()
    assert paused(exporter, "signals")
    breach(exporter)
    said = subprocess.run(
        [sys.executable, "-m", "exporter", "resume", "--limit=positions",
         f"--config={tmp_path / 'exporter.yml'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout.startswith("positions: rebalance, signals no longer paused by it"), said
    wait_for(lambda: not paused(exporter, "signals"), "the resume")
    breach(exporter)
    assert account.flattened == 1


def test_a_kill_between_claim_and_run_neither_loses_nor_doubles_it(
    tmp_path: Path, running: list[Exporter]
) -> None:
    """The run waits for one that is under way; the kill comes meanwhile."""
    account = Account(tmp_path, wait="4s")
    exporter = account.start()
    running.append(exporter)
    assert post(f"{exporter.url}/api/v1/tasks/rebalance/run", exporter.token)[0] == 202
    breach(exporter)
    wait_for(lambda: paused(exporter), "the claim")
    exporter.kill()
    assert account.flattened == 0
    running[0] = exporter = account.start()
    assert paused(exporter)
    wait_for(lambda: account.flattened == 1, "the run after the kill")
    exporter.kill()
    running[0] = exporter = account.start()
    assert paused(exporter)
    name = 'quant_limit_action_failed{limit="positions",strategy="m"}'
    wait_for(lambda: exporter.metrics().get(name) is not None, "the limit")
    assert account.flattened == 1


def test_a_kill_in_the_run_is_said_and_it_is_not_run_again(
    tmp_path: Path, running: list[Exporter]
) -> None:
    """Half of the positions may be closed: a person decides."""
    account = Account(tmp_path, flat=600)
    exporter = account.start()
    running.append(exporter)
    breach(exporter)
    wait_for(lambda: account.flattened == 1, "the run")
    exporter.kill()
    running[0] = exporter = account.start()
    name = 'quant_limit_action_failed{limit="positions",strategy="m"}'
    wait_for(lambda: exporter.metrics().get(name) == 1, "the failure")
    assert paused(exporter)
    assert (
        "The action of the limit positions (m) failed: flatten ended with crashed"
        in get(f"{exporter.url}/").decode()
    )
    assert account.flattened == 1


def test_replay_says_what_really_happened(tmp_path: Path, running: list[Exporter]) -> None:
    """One odd value did nothing, two acted once; on the history of a real Prometheus."""
    account = Account(tmp_path)
    config = tmp_path / "exporter.yml"
    with Prometheus(tmp_path / "prometheus", [f"127.0.0.1:{account.port}"]) as prometheus:
        config.write_text(f"prometheus_url: {prometheus.url}\n" + config.read_text())
        exporter = account.start()
        running.append(exporter)

        def say(value: float) -> None:
            body = {"name": "positions", "value": value, "labels": {"strategy": "m"}}
            assert post(f"{exporter.url}/api/v1/metrics", exporter.token, body)[0] == 200
            seen = 'quant_limit_value{limit="positions"}'
            wait_for(
                lambda: (r := prometheus.query(seen)) and float(r[0]["value"][1]) == value,
                f"{value} in Prometheus",
            )

        for value in (5, 25, 6):
            say(value)
        assert account.flattened == 0
        for value in (27, 28):
            say(value)
        wait_for(lambda: account.flattened == 1, "the action")
        say(7)
        replay = subprocess.run(
            [sys.executable, "-m", "exporter", "replay", "--since=5m", "--step=1s",
             f"--config={config}"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "limits that act (positions) would have acted 1 times:" in replay.stdout, replay
    assert "positions of m at 28: pause rebalance, signals; run flatten" in replay.stdout
