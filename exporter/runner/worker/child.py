"""One attempt, in its own process: set up, call the user's function or become the command, report.

The exporter sends the job as one line of JSON on the control socket; until then nothing of the
user's has run. Back go lines of JSON: ``{"t": "log", …}``, ``{"t": "call", …}`` (answered by one
line), and once ``{"t": "end", …}``, an outcome as in :mod:`exporter.tasks.outcome`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import json
import logging
import math
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exporter.runner.worker.log_relay import RecordSender
from exporter.tasks.base_context import About, takes_context
from exporter.tasks.blocking_context import BlockingContext
from exporter.tasks.fetch_relay import read
from exporter.tasks.outcome import Outcome, of_exception, of_return
from exporter.util.clock import SystemClock
from exporter.util.programs import why_not_startable

_CPU_SPARE_SECONDS = 10
"""The guardian comes first: it counts all processes together, and lets them tidy up."""


class Stopped(BaseException):
    """Raised by SIGTERM, so that the user's ``finally`` blocks run."""


class _Line:
    """The control socket. Only the process that was forked for the attempt may speak on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = sock.makefile("rb")
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        return os.getpid() == self._pid

    def receive(self) -> dict[str, Any] | None:
        line = self._read.readline()
        return json.loads(line) if line else None

    def send(self, what: dict[str, Any]) -> None:
        self.send_text(json.dumps(what, default=str))

    def send_text(self, text: str) -> None:
        if self.is_ours:
            with self._lock, contextlib.suppress(OSError):  # the user's code may have closed it
                self._sock.sendall(text.encode() + b"\n")

    def call(self, method: str, arguments: Mapping[str, Any]) -> Any:
        if not self.is_ours:
            raise RuntimeError("fetch in the process that runs the task, not in one it started")
        with self._lock:
            self.send({"t": "call", "method": method, "arguments": arguments})
            answered = self.receive()
        if answered is None:
            raise Stopped
        return read(method, answered)


def main(control: int, output: int) -> None:
    """Run the job. Returns so that the interpreter ends as usual: files flushed, atexit run."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)
    line = _Line(socket.socket(fileno=control))
    job = line.receive()
    if job is None:
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(job["env"])
    try:
        _limit(job["limits"])
        os.chdir(job["folder"])
        if job["command"]:
            _become(job["command"])
    except OSError as error:
        outcome = Outcome("error", _why_not_started(job, error))
    else:
        outcome = _call(job, line)
    if not line.is_ours:
        os._exit(0)  # a fork in the user's function came back here: it reports nothing
    line.send({"t": "end", **outcome.to_json()})


def _limit(limits: Mapping[str, float]) -> None:
    """What the kernel enforces for each process by itself: ``open_files``, and ``cpu`` also where
    its guardian does not see it."""
    if open_files := int(limits.get("open_files", 0)):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = open_files if most == resource.RLIM_INFINITY else min(open_files, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    if "cpu" in limits:
        cpu = math.ceil(limits["cpu"]) + _CPU_SPARE_SECONDS
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        if most == resource.RLIM_INFINITY or cpu < most:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, most))
    if "memory" in limits:
        # Where the machine runs out of memory first, it is ended before the exporter.
        with (
            contextlib.suppress(OSError),
            open("/proc/self/oom_score_adj", "w") as file,  # noqa: PTH123
        ):
            file.write("500")


def _become(command: list[str]) -> None:
    # Python ignores SIGPIPE; a program that inherits that would loop on a closed pipe.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606  no shell is what we want


def _why_not_started(job: dict[str, Any], error: OSError) -> str:
    """The kernel says `no such file` also of a script's interpreter that has gone."""
    if not job["command"] or error.filename == job["folder"]:
        return f"cannot start in {job['folder']}: {error.strerror}"
    program = job["command"][0]
    with contextlib.suppress(OSError):
        if why := why_not_startable(program, Path(job["folder"]), os.environ.get("PATH")):
            return f"cannot start {program}: {why}"
    return f"cannot start {program}: {error.strerror}"


def _stream(descriptor: int) -> io.TextIOWrapper:
    """Unbuffered, as `python -u` has it: what was printed before a kill is there."""
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def _stop_in(attempt: int) -> Callable[[int, object], None]:
    """The handler of SIGTERM. Processes that the user's code forks inherit it; there it must do
    what SIGTERM does by default: a pool ends its workers so, and none may print a traceback."""

    def stop(number: int, _: object) -> None:
        if os.getpid() == attempt:
            raise Stopped
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    return stop


def _fork_safely(fork: Callable[[], Any], stop: Callable[[int, object], None]) -> Callable[[], Any]:
    """`os.fork` or `os.forkpty` for a process whose SIGTERM has that handler.

    Python forgets a signal that reaches a new process before its first line, and a handler may come
    too late for a wait that begins: ending a pool of processes would then take forever. So
    SIGTERM is kept back until it ends it.
    """

    def fork_safely() -> Any:
        if signal.getsignal(signal.SIGTERM) is not stop:
            return fork()  # the user's own handler, or already the default
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            forked = fork()
            if forked == 0 or (isinstance(forked, tuple) and forked[0] == 0):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            return forked
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return fork_safely


def _call(job: dict[str, Any], line: _Line) -> Outcome:
    # New ones: those of the forkserver believe that they write to a file.
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    faulthandler.enable()
    stop = _stop_in(os.getpid())
    signal.signal(signal.SIGTERM, stop)
    os.fork, os.forkpty = _fork_safely(os.fork, stop), _fork_safely(os.forkpty, stop)
    handler = RecordSender(line.send_text)
    logging.basicConfig(handlers=[handler], level=job["level"].upper(), force=True)
    sys.path[:0] = job["code"]
    about = About(**job["about"])
    module, _, name = job["run"].partition(":")
    # As if it had been started by its own file, without arguments: some parse them.
    sys.argv[:] = [f"{module.replace('.', '/')}.py"]
    try:
        found = importlib.import_module(module)
        sys.argv[0] = getattr(found, "__file__", None) or sys.argv[0]
        function = getattr(found, name)
        if takes_context(function):
            value = function(BlockingContext(about, SystemClock(), line.call))
        else:
            value = function()
        outcome = of_return(value)
    except Stopped:
        outcome = Outcome("error", "stopped before it returned")
    except BaseException as error:  # noqa: BLE001  the run's edge: whatever it is, it is the outcome
        outcome = of_exception(error)
    handler.report_dropped()
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the user may have closed it
        sys.stdout.flush()
    return outcome
