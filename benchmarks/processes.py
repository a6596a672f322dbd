"""Processes that are measured: on free ports, looked at through /proc, ended by their id."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A figure cannot be taken; the message says why."""


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One process, with what it says in a file. Use it in a ``with`` block.

    It is Python's, or that of `program`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        program: str = sys.executable,
    ) -> None:
        self._log = log
        # Compiled once, as an installed program is: a start is not to compile a library each time.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                [program, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=log.parent, env={**inherited, "PYTHONPATH": str(ROOT), **(env or {})},
            )  # fmt: skip
        self.pid = self._popen.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order, or after a while anyhow."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def wait_for(self, url: str) -> None:
        """Until a GET of `url` answers 200. Raises :class:`BenchmarkError`."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not _answers(url):
            if self._popen.poll() is not None or time.monotonic() > end:
                said = self._log.read_text(errors="replace")[-2000:]
                raise BenchmarkError(f"{self._popen.args!r} does not answer:\n{said}")
            time.sleep(0.005)

    def wait(self, seconds: float = 600.0) -> str:
        """Until it ends by itself; what it printed. Raises :class:`BenchmarkError`."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{self._popen.args!r} does not end") from error
        said = self._log.read_text(errors="replace")
        if status:
            raise BenchmarkError(f"{self._popen.args!r} ended with {status}:\n{said[-2000:]}")
        return said

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def resident_mb(self, key: str = "VmRSS") -> float:
        """Its own resident memory, without its children; ``VmHWM``: the most it ever was."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise BenchmarkError(f"the process {self.pid} has no {key}")

    def cpu_seconds(self) -> float:
        """What it has used of a core so far, in user and in system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def family_cpu_seconds(self) -> float:
        """The same of it and of all processes below it that run now."""
        found = (_read(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in _family(self.pid))
        return sum(int(fields[11]) + int(fields[12]) for fields in found if fields) / _TICKS

    def family_pss_mb(self) -> float:
        """Memory of it and of all processes below it, what they share counted once."""
        return memory_mb(self.pid)


def memory_mb(pid: int, key: str = "Pss", *, alone: bool = False) -> float:
    """Memory of a process and, unless it is meant `alone`, of all below it, what they share counted
    once. ``Pss_Anon``: without what is in files, which depends on who else uses them."""
    pids = [pid] if alone else _family(pid)
    lines = (line for each in pids for line in _read(f"/proc/{each}/smaps_rollup").splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024 / 1e6


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:  # grows meanwhile
        for thread in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, _read(thread).split())
    return found


def _read(path: str | Path) -> str:
    """Empty for a process that has just ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def own_peak_mb() -> float:
    """The most memory that this process ever used. (ru_maxrss would begin with its parent's.)"""
    (line,) = [each for each in _read("/proc/self/status").splitlines() if "VmHWM" in each]
    return int(line.split()[1]) * 1024 / 1e6


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException), Client(url) as client:
        return client.get().status == 200
    return False


class Answer:
    """Status, body, and the seconds that it took from the request to its last byte."""

    def __init__(self, status: int, body: bytes, seconds: float) -> None:
        self.status, self.body, self.seconds = status, body, seconds


class Client:
    """GETs of one address over one connection, as Prometheus makes them."""

    def __init__(self, url: str, **headers: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self) -> Answer:
        """One GET; raises :class:`OSError` and http.client's errors."""
        began = time.perf_counter()
        self._connection.request("GET", self._path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        return Answer(answer.status, body, time.perf_counter() - began)


@contextlib.contextmanager
def pace(seconds: float) -> Iterator[None]:
    """The block takes at least so long."""
    end = time.monotonic() + seconds
    yield
    time.sleep(max(0.0, end - time.monotonic()))
