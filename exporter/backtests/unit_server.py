"""A process that forks one process for each group of units, so that none sees what another did.

Started as ``python -m exporter.backtests.unit_server FD MEMORY``; FD is a stream socket. From the
executor comes a group, as 8 bytes of length and a pickle. Back go lines of JSON: ``{"pid": p}``
when its process was forked, the results one by one, and ``{"end": s}`` with the status of
:func:`os.waitstatus_to_exitcode` when that process, and all that it started, is over.

It ends when the executor does, and its forks with it.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import resource
import signal
import socket
import sys
import time
from typing import Any

import pandas as pd  # noqa: F401  loaded once, before the forks

from exporter.backtests import unit
from exporter.util.nan import json_safe
from exporter.util.process_tree import adopt_orphans, descendants, die_with_parent

_KILL_SECONDS = 3.0


def main() -> None:
    """Serve until the executor ends."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    memory = int(sys.argv[2])
    die_with_parent()
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the executor, which ends us
    gc.freeze()
    stream = sock.makefile("rb")
    while len(head := stream.read(8)) == 8:
        body = stream.read(int.from_bytes(head, "big"))
        pid = os.fork()
        if pid == 0:
            _run(sock, pickle.loads(body), memory)  # noqa: S301  from our own executor
        _send(sock, {"pid": pid})
        _, status = os.waitpid(pid, 0)
        _end_the_rest()
        _send(sock, {"end": os.waitstatus_to_exitcode(status)})


def _run(sock: socket.socket, group: unit.UnitGroup, memory: int) -> None:
    """In the fork; never returns."""
    try:
        os.setsid()
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        limit = _data_bytes() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for result in unit.compute(group):
            _send(sock, vars(result))
            if result.error is not None:
                break  # what it did to this process, no other unit shall see
    finally:
        os._exit(0)


def _data_bytes() -> int:
    """What of our address space counts against RLIMIT_DATA now; proc(5), VmData."""
    with open("/proc/self/status") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _send(sock: socket.socket, what: dict[str, Any]) -> None:
    sock.sendall(json.dumps(json_safe(what), separators=(",", ":"), default=str).encode() + b"\n")


def _end_the_rest() -> None:
    """Whatever the group left behind is now a child of ours."""
    until = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for each in descendants(os.getpid()):
                try:
                    os.kill(each.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue
            time.sleep(0.002)


if __name__ == "__main__":
    main()
