"""The exporter's side of forkserver and guardians: starts processes and learns how they end.

A forkserver only starts processes. One that died, or that does not answer, is replaced; the
attempts that it started go on, since each has a guardian of its own (:mod:`.guardian`). Nothing of
the user's runs before the attempt's control socket is given its job, so a start that failed may be
tried again.

Where ``QUANT_PROGRAMS_SOCKET`` names a socket, something else starts the forkserver at the other
end of a connection: systemd does, so that tasks have limits of their own and not the exporter's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
_START_SECONDS = 30.0
"""How long a new forkserver may take to start Python on a busy machine."""
_END_SECONDS = 2.0
_PROJECT = Path(__file__).resolve().parents[3]


SOCKET_VARIABLE = "QUANT_PROGRAMS_SOCKET"


class WorkerError(Exception):
    """No process could be started; trying again may help."""


@dataclass(frozen=True)
class GuardOrder:
    """What a guardian has to know about its attempt."""

    grace: float
    """Seconds from SIGTERM to SIGKILL."""
    may_leave: bool
    """Whether what it leaves behind is left in peace."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """What :class:`exporter.runner.worker.usage.Usage` watches."""


class Process:
    """One attempt's process and all that it started, through its guardian."""

    def __init__(self, sock: socket.socket) -> None:
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its number."""
        self.guardian = 0
        """The number of its guardian."""
        self.exited = asyncio.Event()
        """The process itself has ended."""
        self.over = asyncio.Event()
        """So has everything that it started, apart from what may or must be left."""
        self.gone = asyncio.Event()
        """All of its processes have ended."""
        self.status: int | None = None
        """Its exit code, or minus a signal, or None when nobody knows."""
        self.left: list[str] = []
        """What it had left behind."""
        self.alive: list[str] = []
        """What could not be ended."""
        self.exceeded: tuple[str, float] | None = None
        """The limit because of which it was ended, and what it used."""
        self.memory_kill: float | None = None
        """The kernel killed a process for memory: what all in its cgroup may use, or 0.0."""
        self.count = 0
        """Processes that live on although the attempt is over."""
        self.task = ""
        """Whose attempt it is."""
        self.memory = 0
        """Resident memory of all that belongs to it, in bytes, as last measured."""
        self.when_gone: list[Callable[[], None]] = []
        self._sock = sock
        sock.setblocking(False)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_readable)

    def end(self, grace: float) -> None:
        """SIGTERM to each process, and SIGKILL to what is left after `grace` seconds."""
        with contextlib.suppress(OSError):
            self._sock.send(json.dumps({"end": grace}).encode())

    def close(self) -> None:
        """Forget it; its guardian then kills what is there, unless it may be left."""
        if self.gone.is_set():
            return
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()
        if not self.started.done():
            self.started.cancel()
        self.count = 0
        for event in (self.exited, self.over, self.gone):
            event.set()
        for call in self.when_gone:
            call()

    def _on_readable(self) -> None:
        while not self.gone.is_set():
            try:
                packet = self._sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                if not self.started.done():
                    self.started.set_exception(WorkerError("the helper that starts processes died"))
                self.close()
                return
            self._on_message(json.loads(packet))

    def _on_message(self, message: Mapping[str, object]) -> None:
        match message:
            case {"pid": int(pid), "guardian": int(guardian)} if not self.started.done():
                self.guardian = guardian
                self.started.set_result(pid)
            case {"error": str(error)} if not self.started.done():
                self.started.set_exception(WorkerError(error))
            case {"main": int(status)}:
                self.status = status
                self.exited.set()
            case {"over": _, "left": list(left), "alive": list(alive)}:
                self.left, self.alive = left, alive
                self.over.set()
            case {"exceeded": str(what), "used": float(used)}:
                self.exceeded = what, used
            case {"memory_kill": float(most)}:
                self.memory_kill = most
            case {"count": int(count)}:
                self.count = count
            case {"memory": int(memory)}:
                self.memory = memory


def _connect(address: str) -> socket.socket:
    """To whoever starts forkservers there. Raises :class:`OSError`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    try:
        sock.connect(address)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{address}: {error.strerror}") from error
    return sock


def _start(environment: Mapping[str, str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """One of our own, below this process. Raises :class:`OSError`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    path = os.pathsep.join(filter(None, [str(_PROJECT), environment.get("PYTHONPATH")]))
    with theirs:
        return ours, subprocess.Popen(
            [sys.executable, "-P", "-m", "exporter.runner.worker.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**environment, "PYTHONPATH": path},
            start_new_session=True,
        )


class _Forkserver:
    def __init__(self, environment: Mapping[str, str], on_ready: Callable[[bool], None]) -> None:
        self.on_ready = on_ready
        address = os.environ.get(SOCKET_VARIABLE)
        self.popen: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        """Known once it has reported it, when somebody else started it."""
        self.environment = environment
        self.is_ready = False
        if address:
            self.sock = _connect(address)
        else:
            self.sock, self.popen = _start(environment)
            self.pid = self.popen.pid
        self.is_alive = True
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            packet = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            hello = json.loads(packet)
            self.pid = hello["hello"]
            self.is_ready = True
            self.on_ready(bool(hello.get("groups")))
        else:
            self.end()

    def ask(self, wanted: GuardOrder, descriptors: tuple[int, ...]) -> None:
        """Raises :class:`OSError` when it is gone or does not listen."""
        socket.send_fds(self.sock, [json.dumps(asdict(wanted)).encode()], descriptors)

    def end(self, patience: float = 0.0) -> None:
        """It died, or is ended now, after `patience` seconds if it does not end by itself. What it
        started goes on."""
        if not self.is_alive:
            return
        self.is_alive = False
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()
        # It ends when its socket is closed; one that hangs does not. One that the kernel holds
        # does not end when it is killed either: nobody waits for it.
        if self.popen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
            self.popen.kill()
            self.popen.poll()
        elif self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)


class Workers:
    """Starts processes for attempts. Use it on the loop alone."""

    def __init__(self) -> None:
        self.environment: Mapping[str, str] = dict(os.environ)
        """With which forkservers start: libraries are looked for, and Python is set up, when a
        program starts, not when it forks."""
        self._forkserver: _Forkserver | None = None
        self._old: list[_Forkserver] = []
        self.limits_memory = False
        """Whether a task has a limit of memory."""
        self._processes: set[Process] = set()

    def start(self) -> None:
        """Start the forkserver; the first :meth:`spawn` does so too. One that cannot be started
        is logged, and tried again by the next :meth:`spawn`."""
        self._old = [old for old in self._old if old.popen and old.popen.poll() is None]
        current = self._forkserver
        if current and current.is_alive and current.environment == self.environment:
            return
        if current is not None:
            if not current.is_alive:
                log.warning(
                    "the helper that starts worker processes died or did not answer; another is "
                    "started, and running tasks go on",
                    extra={"event": "worker_helper_died"},
                )
            current.end()
            self._old.append(current)
        self._forkserver = None
        try:
            self._forkserver = _Forkserver(self.environment, self._on_ready)
        except OSError as error:
            log.error(
                "no helper that starts worker processes: %s",
                error,
                extra={"event": "worker_helper_missing"},
            )

    def _on_ready(self, has_groups: bool) -> None:
        if self.limits_memory and not has_groups:
            log.info(
                "limits of memory are measured, not enforced by the kernel: that needs a cgroup of "
                "one's own from systemd (Delegate=memory)",
                extra={"event": "memory_measured"},
            )

    def memory_by_task(self) -> dict[str, int]:
        """Bytes that a task's processes use, those that live on after their run included."""
        used = Counter[str]()
        for each in list(self._processes):
            used[each.task] += each.memory
        return used

    @property
    def helper_pid(self) -> int | None:
        """The forkserver's process number."""
        return self._forkserver.pid if self._forkserver and self._forkserver.is_alive else None

    async def spawn(
        self, control: int, output: int, output_read: int, wanted: GuardOrder
    ) -> Process:
        """Start a process with those descriptors. Raises :class:`WorkerError`."""
        try:
            return await self._ask(control, output, output_read, wanted)
        except WorkerError as error:
            log.warning("%s; trying once more", error, extra={"event": "worker_spawn_failed"})
            return await self._ask(control, output, output_read, wanted)

    async def _ask(
        self, control: int, output: int, output_read: int, wanted: GuardOrder
    ) -> Process:
        self.start()
        forkserver = self._forkserver
        if forkserver is None:
            raise WorkerError("the helper that starts processes cannot be started")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = Process(ours)
        self._processes.add(process)
        process.when_gone.append(lambda: self._processes.discard(process))
        try:
            with theirs:
                forkserver.ask(wanted, (control, output, output_read, theirs.fileno()))
            patience = _ANSWER_SECONDS if forkserver.is_ready else _START_SECONDS
            await asyncio.wait_for(asyncio.shield(process.started), patience)
        except (OSError, TimeoutError) as error:
            forkserver.end()
            process.close()
            raise WorkerError("the helper that starts processes does not answer") from error
        except BaseException:
            process.close()
            raise
        return process

    def close(self) -> None:
        """End the forkserver and whatever still runs, apart from what may be left."""
        for process in list(self._processes):
            process.close()
        if self._forkserver:
            self._forkserver.end(_END_SECONDS)
            self._forkserver = None
