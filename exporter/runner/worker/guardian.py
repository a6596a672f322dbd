"""One attempt's guardian: the process between the forkserver and the attempt.

It is the parent of the attempt's process and adopts whatever that leaves behind, so it knows which
processes belong to the attempt. It depends neither on the forkserver, which may die, nor on other
attempts, and it ends the attempt when the exporter is gone.

It talks to the exporter over a SOCK_SEQPACKET socket, one JSON object a packet. To the exporter:

- ``{"pid": p, "guardian": p}`` or ``{"error": text}``, once;
- ``{"main": s}`` when the attempt's own process has ended, with the status of
  :func:`os.waitstatus_to_exitcode`;
- ``{"over": …}`` when the attempt is over: ``left`` describes what it had left behind, ``alive``
  what could not be ended;
- ``{"memory": n}`` every ten seconds: bytes of all that belongs to the attempt;
- ``{"memory_kill": n}`` before that when the kernel killed a process for memory, of this attempt or
  of another in its cgroup, with what all of them may use in bytes, or 0;
- ``{"exceeded": what, "used": n}`` when it ends the attempt because of one of its limits;
- ``{"count": n}`` when the number of those that live on has changed.

It closes the socket when none is left. From the exporter: ``{"end": grace}``, seconds from SIGTERM
to SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from typing import NoReturn

from exporter.runner.worker.memory_group import MemoryGroup
from exporter.runner.worker.memory_kills import MemoryKills
from exporter.runner.worker.usage import HARD, Usage
from exporter.util.process_tree import (
    adopt_orphans,
    descendants,
    die_with_parent,
    signal_each_once,
    wake_when_a_child_ends,
)

SETTLE_SECONDS = 2.0
"""How long what the attempt started may take to end by itself once the attempt has ended: pools of
processes and their helpers do."""
KILL_SECONDS = 3.0
"""How long SIGKILL may take. What is still there then cannot be ended."""
_AGAIN_SECONDS = 5.0
_FIRST_MEASURED_SECONDS = 1.0
_MEASURED_EVERY_SECONDS = 10.0
_GONE_SECONDS = 10.0
_DESCRIBED = 5


class Guardian:
    """Use :meth:`run` in a process that was forked for it."""

    def __init__(
        self,
        sock: socket.socket,
        output: int,
        grace: float,
        *,
        may_leave: bool,
        limits: Mapping[str, float],
        group: MemoryGroup | None = None,
    ) -> None:
        self._sock, self._output = sock, output
        self._group = group
        self._memory_kills = MemoryKills()
        self._limits, self._usage = limits, Usage(limits)
        self._grace, self._may_leave = grace, may_leave
        self._main = 0
        self._status: int | None = None
        self._stage = "runs"
        self._deadline: float | None = None
        self._left: list[str] = []
        self._is_over = False
        self._count = 0
        self._measure_at = time.monotonic() + _FIRST_MEASURED_SECONDS

    def run(self, control: int, output: int) -> bool:
        """Start the attempt and watch it. True in the attempt's own process; else never returns."""
        adopt_orphans()
        wake_read, wake_write = wake_when_a_child_ends()
        me = os.getpid()
        try:
            self._main = os.fork()
        except OSError as error:
            self._send({"error": f"cannot start a process: {error.strerror}"})
            os._exit(0)
        if self._main == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (wake_read, wake_write, self._output):
                os.close(end)
            self._sock.close()
            os.setsid()
            die_with_parent()
            if os.getppid() != me:
                os._exit(1)
            return True
        os.close(control)
        os.close(output)
        self._limit_memory()  # before the exporter hears of it, and gives it its job
        self._send({"pid": self._main, "guardian": me})
        self._watch(wake_read)
        return self._leave()

    def _limit_memory(self) -> None:
        """By the kernel where that is possible, else by measuring."""
        if not self._group:
            return
        try:
            self._group.add(self._main)
        except OSError:
            self._group.remove()
            self._group = None
        else:
            self._usage = Usage({n: v for n, v in self._limits.items() if n != "memory"})

    def _watch(self, wake: int) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._pause())}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            if self._sock.fileno() in ready:
                self._read_request()
            if not self._reap():
                self._over([])
                return
            self._measure()
            self._enforce()
            self._advance()

    def _measure(self) -> None:
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + _MEASURED_EVERY_SECONDS
            self._send({"memory": sum(each.memory for each in descendants(os.getpid()))})

    def _enforce(self) -> None:
        """End what uses more than it may, also what the attempt left behind."""
        if self._stage not in ("runs", "settles", "kept"):
            return
        if time.monotonic() < self._usage.look_at or not (found := self._usage.exceeded()):
            return
        what, used = found
        self._send({"exceeded": what, "used": used})
        if what in HARD:
            self._kill()
        else:
            self._terminate()

    def _pause(self) -> float:
        """Milliseconds until there is something to look at."""
        if self._stage == "runs":
            due = min(self._measure_at, self._usage.look_at)
            return max(0.0, due - time.monotonic()) * 1000.0
        return 1000.0 if self._stage in ("kept", "stuck") else 20.0

    def _read_request(self) -> None:
        try:
            packet = self._sock.recv(4096)
        except OSError:
            packet = b""
        if not packet:
            self._exporter_gone()
        self._grace = float(json.loads(packet)["end"])
        if self._stage in ("runs", "settles"):
            self._terminate()
        elif self._stage == "terminated":  # somebody hurries: no second SIGTERM
            self._enter("terminated", self._grace)

    def _reap(self) -> bool:
        """Whether any process of the attempt is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                self._status = os.waitstatus_to_exitcode(status)
                if self._group and (found := self._group.exceeded()):
                    self._send({"exceeded": found[0], "used": found[1]})
                elif (most := self._memory_kills.limit_if_any()) is not None:
                    self._send({"memory_kill": most})
                self._send({"main": self._status})
                if self._stage == "runs":
                    self._enter("settles", SETTLE_SECONDS)

    def _enter(self, stage: str, seconds: float) -> None:
        self._stage, self._deadline = stage, time.monotonic() + seconds

    def _terminate(self) -> None:
        signal_each_once(os.getpid(), self._main, signal.SIGTERM)
        self._enter("terminated", self._grace)

    def _kill(self) -> None:
        signal_each_once(os.getpid(), self._main, signal.SIGKILL)
        self._enter("killed", KILL_SECONDS)

    def _advance(self) -> None:
        """What follows when the time of a stage is over."""
        if self._is_over:
            self._recount()
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        match self._stage:
            case "settles":
                self._left = self._described()
                if not self._left:  # all have ended, but are not reaped yet
                    return
                if self._may_leave:
                    self._stage, self._deadline = "kept", None
                    self._over([])
                else:
                    self._terminate()
            case "terminated":
                self._kill()
            case "killed" | "stuck":
                signal_each_once(os.getpid(), self._main, signal.SIGKILL)
                self._enter("stuck", _AGAIN_SECONDS)
                self._over(self._described())

    def _described(self) -> list[str]:
        below = descendants(os.getpid())
        described = [str(each) for each in below[:_DESCRIBED]]
        if more := len(below) - len(described):
            described.append(f"{more} more")
        return described

    def _over(self, alive: list[str]) -> None:
        if not self._is_over:
            self._is_over = True
            self._send({"over": self._status, "left": self._left, "alive": alive})
            self._recount()

    def _recount(self) -> None:
        count = len(descendants(os.getpid()))
        if count != self._count:
            self._count = count
            self._send({"count": count})

    def _send(self, what: dict[str, object]) -> None:
        try:
            self._sock.sendall(json.dumps(what).encode())
        except OSError:
            self._exporter_gone()

    def _exporter_gone(self) -> None:
        """Processes that may be left behind go on, and must not end because nobody reads them."""
        self._sock.close()
        if self._stage == "kept":
            self._discard_output()
        until = time.monotonic() + _GONE_SECONDS
        while self._has_children() and time.monotonic() < until:
            signal_each_once(os.getpid(), self._main, signal.SIGKILL)
            time.sleep(0.05)
        self._leave()

    def _discard_output(self) -> None:
        os.set_blocking(self._output, False)
        while self._has_children():
            select.select([self._output], [], [], 1.0)
            with contextlib.suppress(BlockingIOError):
                if not os.read(self._output, 1 << 16):
                    time.sleep(1.0)
        self._leave()

    def _leave(self) -> NoReturn:
        if self._group:
            self._group.remove()
        os._exit(0)

    @staticmethod
    def _has_children() -> bool:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True
