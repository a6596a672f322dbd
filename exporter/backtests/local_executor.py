"""Units in processes of this machine, each with limits of time and memory.

A group of units is computed by one process, which :mod:`.unit_server` forks. A unit that fails, or
that is ended here, costs itself alone: those of its group that come after it get another process.
So does a unit that failed in a process which others had used before it; it counts only when it
fails again.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.backtests.unit import UnitGroup, UnitResult
from exporter.util.process_tree import descendants
from exporter.util.units import format_duration

log = logging.getLogger(__name__)

OnResult = Callable[[UnitResult], None]

_PROJECT = Path(__file__).resolve().parents[2]
_TICK_SECONDS = 0.25
_DIED = "the process that starts units died"
_START_SECONDS = 60.0
"""How long a server may take to load pandas on a busy machine."""
_NICENESS = 10
"""The exporter's own slots come first."""
_MOST_LINE = 256 << 20


class ExecutorError(Exception):
    """Units cannot be computed at all; the message says why."""


class LocalExecutor:
    """Computes groups in `workers` processes at a time. Use :meth:`close` at the end."""

    def __init__(
        self,
        workers: int,
        *,
        timeout: float,
        memory: int,
        environment: Mapping[str, str] = os.environ,
        keep: bool = False,
    ) -> None:
        """With `keep` its processes stay for the next run, until :meth:`close`."""
        self._keep = keep
        self.workers, self._timeout, self._memory = workers, timeout, memory
        self._environment = environment
        self._slots: list[_Slot] = []

    def run(self, groups: Iterable[UnitGroup], on_result: OnResult) -> None:
        """Compute all; each unit is reported once, in any order. Raises :class:`ExecutorError`."""
        waiting = deque(groups)
        selector = selectors.DefaultSelector()
        for kept in self._slots:  # from the run before
            selector.register(kept.sock, selectors.EVENT_READ, kept)
        try:
            while waiting or any(slot.group for slot in self._slots):
                self._fill(waiting, selector)
                for key, _ in selector.select(_TICK_SECONDS):
                    slot: _Slot = key.data
                    left = slot.read(on_result)
                    if left:
                        waiting.appendleft(left)
                    if not slot.is_alive:
                        selector.unregister(key.fileobj)
                        self._slots.remove(slot)
                for slot in self._slots:
                    slot.check_limits()
        except BaseException:
            self.close()
            raise
        finally:
            selector.close()
            if not self._keep:
                self.close()

    def _fill(self, waiting: deque[UnitGroup], selector: selectors.BaseSelector) -> None:
        while waiting:
            slot = next((slot for slot in self._slots if slot.group is None), None)
            if slot is None:
                if len(self._slots) >= self.workers:
                    return
                slot = _Slot(self._timeout, self._memory, self._environment)
                self._slots.append(slot)
                selector.register(slot.sock, selectors.EVENT_READ, slot)
            slot.start(waiting.popleft())

    def close(self) -> None:
        """End every process, whatever it does."""
        for slot in self._slots:
            slot.end()
        self._slots.clear()


class _Slot:
    """One server, and the group that it has now."""

    def __init__(self, timeout: float, memory: int, environment: Mapping[str, str]) -> None:
        self._timeout, self._memory = timeout, memory
        self.sock, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, [str(_PROJECT), environment.get("PYTHONPATH")]))
        command = [sys.executable, "-P", "-m", "exporter.backtests.unit_server"]
        with theirs:
            self._server = subprocess.Popen(
                ["nice", "-n", str(_NICENESS), *command, str(theirs.fileno()), str(memory)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                # One thread each: as many processes as there are cores compute.
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment,
                     "PYTHONPATH": path},
                start_new_session=True,
            )  # fmt: skip
        self.is_alive = True
        self.group: UnitGroup | None = None
        self._answered = False
        self._results = 0
        self._failed = False
        """The newest unit of the process failed, and so ended the process."""
        self._began = 0.0
        self._process: int | None = None
        self._killed_for: str | None = None
        self._buffer = bytearray()

    def start(self, group: UnitGroup) -> None:
        """Send the group to be computed. If a server has died, the next read notices."""
        self.group, self._results, self._failed, self._killed_for = group, 0, False, None
        self._began = time.monotonic()
        body = pickle.dumps(group, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self.sock.sendall(len(body).to_bytes(8, "big") + body)
        except OSError:
            self._killed_for = _DIED

    def read(self, on_result: OnResult) -> UnitGroup | None:
        """Handle what has arrived. Returns what of a group is left to compute."""
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        if not data or len(self._buffer) > _MOST_LINE:
            return self._died(on_result)
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            try:
                message = json.loads(line)
                if self._handle(message, on_result):
                    return self._ended(_how(int(message["end"])), on_result)
            except (ValueError, TypeError, KeyError) as error:
                log.warning("a unit's process sent nonsense: %s", type(error).__name__)
                return self._died(on_result)
        return None

    def _handle(self, message: dict[str, Any], on_result: OnResult) -> bool:
        """True at the end of the group's process."""
        self._answered = True
        match message:
            case {"pid": int(pid)}:
                self._began = time.monotonic()
                try:
                    self._process = os.pidfd_open(pid)
                except OSError:  # it has ended already
                    self._process = None
            case {"end": int()}:
                return True
            case {"number": int(number)} if self.group and self._expected() == number:
                self._began = time.monotonic()
                result = _result(message)
                self._failed = result.error is not None
                if not self._failed or self._results == 0:
                    self._results += 1
                    on_result(result)
            case _:
                raise ValueError("unexpected message")
        return False

    def _expected(self) -> int | None:
        if self.group is None or self._results >= len(self.group.trials):
            return None
        return self.group.trials[self._results].number

    def check_limits(self) -> None:
        """End a unit that has used up its time, or with what it started more than its memory."""
        if self.group is None or self._killed_for:
            return
        taken = time.monotonic() - self._began
        if self._process is None:
            if taken > _START_SECONDS + self._timeout:
                self._killed_for = "its process could not be started"
                self._server.kill()
        elif taken > self._timeout:
            self._kill(f"took longer than {format_duration(self._timeout)}")
        elif taken > 2 * _TICK_SECONDS and self._used() > self._memory:
            self._kill(f"used more than {self._memory / 1e6:,.0f} MB of memory")

    def _used(self) -> int:
        """What the group's processes use beyond what they share with the server."""
        below = descendants(self._server.pid)
        shared = next((each.memory for each in descendants(os.getpid())
                       if each.pid == self._server.pid), 0)  # fmt: skip
        return sum(max(0, each.memory - shared) for each in below)

    def _kill(self, why: str) -> None:
        self._killed_for = why
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _ended(self, how: str, on_result: OnResult) -> UnitGroup | None:
        """The group's process is over: a unit that it had begun has failed."""
        group, self.group = self.group, None
        if self._process is not None:
            os.close(self._process)
            self._process = None
        if group is None:
            return None
        left = group.trials[self._results :]
        if left and not self._failed and (self._killed_for or self._results == 0):
            took = time.monotonic() - self._began
            on_result(UnitResult(left[0].number, error=self._killed_for or how, seconds=took))
            left = left[1:]
        return replace(group, trials=left) if left else None

    def _died(self, on_result: OnResult) -> UnitGroup | None:
        had_answered = self._answered
        self._killed_for = self._killed_for or _DIED
        self.end()
        if not had_answered:
            raise ExecutorError(
                "no process for units can be started: see the lines above, and the memory that is "
                "free"
            )
        return self._ended(_DIED, on_result)

    def end(self) -> None:
        """Kill the server; the kernel kills its fork with it, and init gets the rest."""
        self.is_alive = False
        self._kill(self._killed_for or "ended")
        for each in descendants(self._server.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each.pid, signal.SIGKILL)
        self._server.kill()
        self._server.wait()
        self.sock.close()


def _how(status: int) -> str:
    """As :func:`os.waitstatus_to_exitcode` has the status: a signal is negative."""
    if status >= 0:
        return f"its process ended with exit status {status}"
    try:
        return f"its process was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"its process was killed by signal {-status}"


def _result(message: Mapping[str, Any]) -> UnitResult:
    numbers = {k: float("nan") if v is None else float(v) for k, v in message["numbers"].items()}
    curve = message["curve"]
    return UnitResult(
        int(message["number"]), numbers, message["error"], str(message["trace"]),
        float(message["seconds"]), None if curve is None else (curve[0], curve[1]),
        message["trades"],
    )  # fmt: skip
