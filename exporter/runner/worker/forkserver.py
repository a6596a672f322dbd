"""The forkserver: a small process that forks one guardian an attempt, which forks the attempt.

Started as ``python -m exporter.runner.worker.forkserver FD``; FD is a SOCK_SEQPACKET socket on
which each packet is one JSON object. From the exporter: ``{"grace": s, "may_leave": b, "limits":
{…}}`` with four descriptors: the attempt's control socket, where its output goes, the other end of
that, and the guardian's socket. To the exporter, once: ``{"hello": p, "groups": b}`` with its own
number, and whether the kernel enforces limits of memory (:mod:`.memory_group`).

It ends when the exporter does. Guardians end by themselves; see :mod:`.guardian`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from exporter.runner.worker import child
from exporter.runner.worker.guardian import Guardian
from exporter.runner.worker.memory_group import divide_own_group, make_group
from exporter.util.process_tree import (
    adopt_orphans,
    descendants,
    wake_when_a_child_ends,
)

DESCRIPTORS = 4
_LEAVE_SECONDS = 1.0


class _Server:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.guardians: set[int] = set()
        self.group = divide_own_group()

    def serve(self) -> tuple[int, int] | None:
        """Work until the exporter is gone. In an attempt's process: its two descriptors."""
        try:
            hello = {"hello": os.getpid(), "groups": self.group is not None}
            self.sock.sendall(json.dumps(hello).encode())
        except OSError:
            return None
        wake_read, wake_write = wake_when_a_child_ends()
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake_read in ready:
                os.read(wake_read, 4096)
                self._reap()
            if self.sock.fileno() in ready:
                try:
                    message, fds, _, _ = socket.recv_fds(self.sock, 4096, DESCRIPTORS)
                except ConnectionResetError:
                    message = b""  # the exporter was killed before it had read everything
                if not message:
                    self._wait_for_guardians()
                    self._kill_orphans()
                    return None
                if self._fork(fds):
                    os.close(wake_read)
                    os.close(wake_write)
                    return self._attempt(json.loads(message), fds)

    def _fork(self, fds: list[int]) -> bool:
        """True in the new process."""
        try:
            pid = os.fork()
        except OSError as error:
            error_message = {"error": f"cannot start a process: {error.strerror}"}
            with socket.socket(fileno=fds[3]) as guard:
                guard.send(json.dumps(error_message).encode())
            fds, pid = fds[:3], -1
        if pid == 0:
            return True
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self.guardians.add(pid)
        return False

    def _attempt(self, wanted: dict[str, Any], fds: list[int]) -> tuple[int, int]:
        """In the guardian, which becomes two: only the attempt's process comes back."""
        signal.set_wakeup_fd(-1)
        self.sock.close()
        os.setsid()
        control, output, output_read, guard = fds
        limits = wanted["limits"]
        group = make_group(self.group, limits.get("memory"))
        guardian = Guardian(
            socket.socket(fileno=guard),
            output_read,
            float(wanted["grace"]),
            may_leave=bool(wanted["may_leave"]),
            limits=limits,
            group=group,
        )
        guardian.run(control, output)
        return control, output

    def _reap(self) -> None:
        killed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            killed |= pid in self.guardians and status != 0
            self.guardians.discard(pid)
        if killed:
            self._kill_orphans()

    def _wait_for_guardians(self) -> None:
        """They end by themselves now, unless what they guard may be left; none becomes a zombie."""
        until = time.monotonic() + _LEAVE_SECONDS
        while self.guardians and time.monotonic() < until:
            self._reap()
            time.sleep(0.01)

    def _kill_orphans(self) -> None:
        """What a guardian that was killed could not end: we are its parent now."""
        me = os.getpid()
        below = descendants(me)
        ours = {each.pid for each in below if each.parent == me and each.pid not in self.guardians}
        for each in below:  # nearest first: a parent's fate is known before its children's
            if each.parent in ours:
                ours.add(each.pid)
        for pid in ours:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def main() -> None:
    """Serve until the exporter ends; in an attempt's process, run it and end as Python ends."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    # Ended by the socket alone: a signal to everything in the service must not end what drains.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    gc.freeze()
    fds = _Server(sock).serve()
    if fds:
        child.main(*fds)


if __name__ == "__main__":
    main()
