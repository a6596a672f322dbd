"""What becomes of workers when their daemon dies."""

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
from exporter.runner.worker.supervisor import run_process
from exporter.runner.worker.forkserver_client import Workers

async def main():
    job = {
        "env": {"PATH": "/usr/bin:/bin"}, "folder": sys.argv[1], "code": [], "level": "info",
        "command": ["sh", "-c", sys.argv[2]],
        "run": None, "about": {},
    }
    async def answer(method, arguments): return {}
    await run_process(
        Workers(), job, limit_seconds=60, stop=asyncio.Event(), answer=answer, on_lost=print
    )

asyncio.run(main())
"""

SCRIPT = "setsid sleep 62 & echo $! $$ $PPID > new; mv new pids; sleep 62"


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_nothing_outlives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """Killed with -9: the forkserver, the command, and what the command put into a session of its
    own are gone soon after."""
    house = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(house)}
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(tmp_path), SCRIPT], env=env)
    try:
        end = time.monotonic() + 20
        while not (tmp_path / "pids").exists():
            assert time.monotonic() < end, "the command did not start"
            time.sleep(0.02)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(is_alive(pid) for pid in pids)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "all to be gone", 10)


def test_nothing_outlives_a_daemon_that_did_not_listen(tmp_path: Path) -> None:
    """Killed with words of the forkserver unread, its end looks like a broken connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, far = socket.socketpair()
    job = {
        "env": {"PATH": "/usr/bin:/bin"}, "folder": str(tmp_path), "code": [], "level": "info",
        "command": ["sh", "-c", SCRIPT], "run": None, "about": {},
    }  # fmt: skip
    with (tmp_path / "said").open("w") as said:
        forkserver = subprocess.Popen(
            [sys.executable, "-m", "exporter.runner.worker.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stderr=said, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        theirs.close()
        socket.send_fds(ours, [json.dumps({"fork": 1}).encode()], [far.fileno(), said.fileno()])
        far.close()
        control.sendall(json.dumps(job).encode() + b"\n")
        wait_for((tmp_path / "pids").exists, "the command to start", 20)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        ours.close()
        assert forkserver.wait(10) == 0
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "all to be gone", 10)
    assert (tmp_path / "said").read_text() == ""
