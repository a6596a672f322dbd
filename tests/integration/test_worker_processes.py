"""What becomes of worker processes when the exporter dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, wait_for

pytestmark = pytest.mark.integration

DAEMON = """
import asyncio, sys
from exporter.runner.worker.supervisor import Patience, run_process
from exporter.runner.worker.forkserver_client import Workers

async def main():
    job = {
        "env": {"PATH": "/usr/bin:/bin"}, "folder": sys.argv[1], "code": [], "level": "info",
        "command": ["sh", "-c", sys.argv[2]],
        "run": None, "about": {}, "limits": {},
    }
    async def answer(method, arguments): return {}
    workers = Workers()
    workers.start()
    print(workers.helper_pid, flush=True)
    patience = Patience(60, 5, False, asyncio.Event(), asyncio.Event())
    tell = dict.fromkeys(("on_lost", "on_left", "on_began"), print)
    await run_process(workers, job, patience, answer=answer, **tell)

asyncio.run(main())
"""

SCRIPT = "setsid sleep 62 & echo $! $$ $PPID > new; mv new pids; sleep 62"
"""Writes what must be gone: the command, its guardian, what it put into a session of its own."""


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("first", ["the exporter", "the helper"])
def test_nothing_outlives_an_exporter_that_is_killed(tmp_path: Path, first: str) -> None:
    """Killed with -9: the command, and what it put into a session of its own, are gone soon after;
    also when the helper that started them had died before."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(tmp_path), SCRIPT], env=env, stdout=subprocess.PIPE
    )
    try:
        assert daemon.stdout
        helper = int(daemon.stdout.readline())
        wait_for((tmp_path / "pids").exists, "the command to start", 20)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        if first == "the helper":
            os.kill(helper, signal.SIGKILL)
            wait_for(lambda: not is_alive(helper), "the helper to be gone", 10)
        time.sleep(0.2)
        assert all(is_alive(pid) for pid in pids)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.communicate()
    wait_for(lambda: not any(is_alive(pid) for pid in [*pids, helper]), "all to be gone", 10)


def test_nothing_outlives_an_exporter_that_did_not_listen(tmp_path: Path) -> None:
    """Killed with words of the forkserver unread, its end looks like a broken connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, far = socket.socketpair()
    guard, guard_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job = {
        "env": {"PATH": "/usr/bin:/bin"}, "folder": str(tmp_path), "code": [], "level": "info",
        "command": ["sh", "-c", SCRIPT], "run": None, "about": {}, "limits": {},
    }  # fmt: skip
    with (tmp_path / "said").open("w") as said:
        forkserver = subprocess.Popen(
            [sys.executable, "-m", "exporter.runner.worker.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stderr=said, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        theirs.close()
        wanted = json.dumps({"grace": 5.0, "may_leave": False, "limits": {}}).encode()
        fds = [far.fileno(), said.fileno(), said.fileno(), guard_far.fileno()]
        socket.send_fds(ours, [wanted], fds)
        far.close()
        guard_far.close()
        control.sendall(json.dumps(job).encode() + b"\n")
        wait_for((tmp_path / "pids").exists, "the command to start", 20)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        guard.close()
        ours.close()
        assert forkserver.wait(10) == 0
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "all to be gone", 10)
    assert (tmp_path / "said").read_text() == ""
