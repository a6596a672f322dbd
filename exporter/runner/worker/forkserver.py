"""The forkserver: a small process that forks one child an attempt and reports how each ended.

Started as ``python -m exporter.runner.worker.forkserver FD``; FD is a SOCK_SEQPACKET socket on
which each packet is one JSON object. From the daemon: ``{"fork": n}`` with two descriptors (the
child's control socket, and where its output goes), ``{"kill": pid, "signal": s}``. To the daemon:
``{"hello": p}`` with its own number, ``{"forked": n, "pid": p}`` or ``{"forked": n, "error": t}``,
``{"exit": pid, "status": s}`` with the status of :func:`os.waitstatus_to_exitcode`, and how many
processes it left behind.

It ends when the daemon does, and takes everything below it along.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys

from exporter.runner.worker import child
from exporter.runner.worker.process_tree import (
    adopt_orphans,
    descendants,
    die_with_parent,
    signal_tree,
)


class _Daemon:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.attempts: set[int] = set()

    def serve(self) -> tuple[int, int] | None:
        """Work until the daemon is gone. In a forked child: its two descriptors, at once."""
        self._say({"hello": os.getpid()})
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
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
                    message, fds, _, _ = socket.recv_fds(self.sock, 4096, 2)
                except ConnectionResetError:
                    message = b""  # it was killed before it had read all that we said
                if not message:
                    self._end()
                    return None
                asked = json.loads(message)
                if "kill" in asked:
                    # Only what was not reaped yet: the number may belong to a stranger by now.
                    if asked["kill"] in self.attempts:
                        signal_tree(asked["kill"], asked["signal"])
                elif self._fork(asked["fork"], fds):
                    os.close(wake_read)
                    os.close(wake_write)
                    return fds[0], fds[1]

    def _fork(self, number: int, fds: list[int]) -> bool:
        """True in the child."""
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"forked": number, "error": f"cannot start a process: {error.strerror}"})
            pid = -1
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.sock.close()
            os.setsid()
            die_with_parent()
            if os.getppid() != me:
                os._exit(1)
            return True
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self.attempts.add(pid)
            self._say({"forked": number, "pid": pid})
        return False

    def _reap(self) -> None:
        ended: dict[int, int] = {}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            ended[pid] = status
        attempts = self.attempts & ended.keys()
        if attempts:
            self.attempts -= attempts
            left = self._end_strays()
            for pid in attempts:
                code = os.waitstatus_to_exitcode(ended[pid])
                self._say({"exit": pid, "status": code, "left": left})

    def _end_strays(self) -> int:
        """End what attempts left behind: as their adopter we are its parent now."""
        mine = descendants({os.getpid()})
        held = {*self.attempts, *descendants(self.attempts)} if self.attempts else set()
        strays = [pid for pid in mine if pid not in held]
        for pid in strays:
            signal_tree(pid, signal.SIGKILL)
        return len(strays)

    def _say(self, what: dict[str, object]) -> None:
        try:
            self.sock.sendall(json.dumps(what).encode())
        except OSError:
            self._end()

    def _end(self) -> None:
        for pid in [*self.attempts, *descendants({os.getpid()})]:
            signal_tree(pid, signal.SIGKILL)
        os._exit(0)


def main() -> None:
    """Serve until the daemon ends; in a child, run the attempt and end as Python ends."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    # Ended by the socket alone: a signal to everything in the service must not end what drains.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    gc.freeze()
    fds = _Daemon(sock).serve()
    if fds:
        child.main(*fds)


if __name__ == "__main__":
    main()
