"""The daemon's side of the forkserver: starts it, starts it again when it died, asks for children.

Nothing of the user's runs before the child's control socket is given its job, so a forkserver that
dies in between costs nothing but a second try.

Where ``QUANT_PROGRAMS_SOCKET`` names a socket, something else starts the forkserver at the other
end of a connection: systemd does, so that tasks have limits of their own and not the daemon's.
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
from pathlib import Path

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
_HOUSE = Path(__file__).resolve().parents[3]


SOCKET_VARIABLE = "QUANT_PROGRAMS_SOCKET"


class WorkerError(Exception):
    """No process could be started; trying again may help."""


class Process:
    """One child. ``status`` is its exit code, or minus a signal, or None when nobody knows."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self.status: int | None = None
        self.left = 0
        """Processes that it had left behind and that were ended for it."""

    def end(self, status: int | None, left: int = 0) -> None:
        """Note how it ended."""
        self.status, self.left = status, left
        self.ended.set()


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


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """One of our own, below this process. Raises :class:`OSError`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    # The bare minimum: what a child may know comes with its job.
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_HOUSE), env.get("PYTHONPATH")]))
    with theirs:
        return ours, subprocess.Popen(
            [sys.executable, "-P", "-m", "exporter.runner.worker.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )


class _Zygote:
    def __init__(self) -> None:
        address = os.environ.get(SOCKET_VARIABLE)
        self.popen: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        """Known once it has said so, when somebody else started it."""
        if address:
            self.sock = _connect(address)
        else:
            self.sock, self.popen = _start()
            self.pid = self.popen.pid
        self.asked: dict[int, asyncio.Future[Process]] = {}
        self.children: dict[int, Process] = {}
        self.alive = True
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._hear)

    def _hear(self) -> None:
        while self.alive:
            try:
                packet = self.sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.bury()
                return
            said = json.loads(packet)
            if "hello" in said:
                self.pid = said["hello"]
                continue
            if "exit" in said:
                self.children.pop(said["exit"]).end(said["status"], said["left"])
                continue
            process = Process(said["pid"]) if "pid" in said else None
            if process:
                self.children[process.pid] = process
            asked = self.asked.pop(said["forked"], None)
            if asked and not asked.done():
                if process:
                    asked.set_result(process)
                else:
                    asked.set_exception(WorkerError(said["error"]))
            elif process:
                self.say({"kill": process.pid, "signal": int(signal.SIGKILL)})  # nobody waits

    def say(self, what: dict[str, object], fds: tuple[int, ...] = ()) -> None:
        """Raises OSError when it is gone or does not listen."""
        socket.send_fds(self.sock, [json.dumps(what).encode()], fds)

    def bury(self) -> None:
        """It died, or is ended now; its children go with it."""
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()
        if self.popen:
            self.popen.kill()
            self.popen.wait()
        elif self.pid:
            # It ends with the socket; one that hangs does not.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)
        for process in self.children.values():
            # The kernel ends each child with the forkserver; their own children it does not.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.end(None)
        self.children.clear()
        for asked in self.asked.values():
            if not asked.done():
                asked.set_exception(WorkerError("the helper that starts processes died"))
        self.asked.clear()


class Workers:
    """Starts processes for attempts. Use it on the loop alone."""

    def __init__(self) -> None:
        self._zygote: _Zygote | None = None
        self._number = 0

    def start(self) -> None:
        """Have the forkserver ready; also done by the first :meth:`spawn`. One that cannot be had
        is said in the log, and tried for again by the next :meth:`spawn`."""
        if self._zygote is None or not self._zygote.alive:
            if self._zygote is not None:
                log.warning(
                    "the helper that starts worker processes died; it is started again",
                    extra={"event": "worker_helper_died"},
                )
            self._zygote = None
            try:
                self._zygote = _Zygote()
            except OSError as error:
                log.error(
                    "no helper that starts worker processes: %s",
                    error,
                    extra={"event": "worker_helper_missing"},
                )

    @property
    def helper_pid(self) -> int | None:
        """The forkserver's process number."""
        return self._zygote.pid if self._zygote and self._zygote.alive else None

    async def spawn(self, control: int, output: int) -> Process:
        """Fork a child with those two descriptors. Raises :class:`WorkerError`."""
        try:
            return await self._ask(control, output)
        except WorkerError as error:
            log.warning("%s; trying once more", error, extra={"event": "worker_spawn_failed"})
            return await self._ask(control, output)

    async def _ask(self, control: int, output: int) -> Process:
        self.start()
        zygote = self._zygote
        if zygote is None:
            raise WorkerError("the helper that starts processes cannot be started")
        self._number += 1
        asked: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        zygote.asked[self._number] = asked
        try:
            zygote.say({"fork": self._number}, (control, output))
            return await asyncio.wait_for(asked, _ANSWER_SECONDS)
        except (OSError, TimeoutError) as error:
            zygote.bury()
            raise WorkerError("the helper that starts processes does not answer") from error

    def kill(self, process: Process, number: int) -> None:
        """Signal the child, its group and all its descendants."""
        if self._zygote and self._zygote.alive and not process.ended.is_set():
            try:
                self._zygote.say({"kill": process.pid, "signal": number})
            except OSError:
                self._zygote.bury()

    def abandon(self) -> None:
        """The forkserver does not do what it is told: end it, and all attempts with it."""
        if self._zygote:
            self._zygote.bury()

    def close(self) -> None:
        """End the forkserver and whatever still runs."""
        if self._zygote:
            self._zygote.bury()
            self._zygote = None
