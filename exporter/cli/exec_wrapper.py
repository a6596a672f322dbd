#!/usr/bin/env python3
"""Run a command as a task of quant-exporter: report its start, its end and the end of its output.

    qexec [--url URL] TASK -- command argument …
    qexec --flush          send the reports that could not be sent before

`quant-exporter exec --print-file` prints this program as one file, to copy to any machine. It needs
Python 3.8 or newer and nothing else.

URL is what `quant-exporter ping-url TASK` prints, by UUID or by key. Without --url, it is the
variable QUANT_PING_URL, or the first line of the first of these files that exists: var/ping-url
next to $QUANT_CONFIG or in this folder, ~/.config/quant-exporter/ping-url, and
/etc/quant-exporter/ping-url.

The command gets every signal, and its exit status is this program's. It runs whether or not the
exporter answers. A report that cannot be sent is kept in ~/.local/state/quant-exporter, and sent
later with its true times: by a process that tries for ten minutes, or by the next qexec.
"""

# Modules that take long to import (argparse, subprocess, urllib) are left out: each command waits
# for this one.
from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
import time

# A copy has the text of push.py here: see one_file().
from exporter.push import ReportNotSentError, ReportRefusedError, Spool, new_id, post, spool_base

# The copy goes on here.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KEPT_BYTES = 10000
RETRY_SECONDS = float(os.environ.get("QUANT_EXEC_RETRY_SECONDS", "600"))
_TIMEOUT = 10.0
_DRAIN_SECONDS = 0.2
_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    url = None
    words = list(arguments)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-h", "--help"):
            print(__doc__)
            return 0
        if word == "--print-file":
            sys.stdout.write(one_file())
            return 0
        if word == "--flush":
            left = _spool().flush()
            return _say(f"{left} reports cannot be sent yet", 1) if left else 0
        if word == "--url" and words:
            url = words.pop(0)
        else:
            return _say(f"unknown option {word}: see --help", 2)
    if len(words) < 2 or (words[1] == "--" and len(words) < 3):
        return _say("write a task and a command: qexec TASK -- command argument …", 2)
    command = words[2:] if words[1] == "--" else words[1:]
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:  # closed: a pipe or a socket of ours must not get its number
            os.open(os.devnull, os.O_RDWR)
    return run(_address(url, words[0]), words[0], command)


def run(address: str | None, task: str, command: list[str]) -> int:
    """Run the command and report; its exit status, or this process ends by its signal."""
    report = {"url": address, "task": task, "rid": new_id(), "started": time.time()}
    began = _passed()
    child = Child(command)
    spool = _spool()
    said: list[str] = []
    begun = threading.Thread(target=_begin, args=(report, spool, said), daemon=True)
    if address:
        begun.start()
    status, tail = child.wait()
    ended = time.time()
    # By the clock as it is now: it may have been corrected since the start.
    report.update(ended=ended, started=ended - (_passed() - began), status=status)
    report["output"] = tail.decode("utf-8", "replace")
    if address:
        begun.join(_TIMEOUT)
        _end(report, spool, said)
    else:
        _say("nothing is reported: set QUANT_PING_URL to what `quant-exporter ping-url` prints")
    if child.killed_by:
        _end_like(child.killed_by)
    return status


def _passed() -> float:
    """Seconds of a clock that nobody sets, and that counts sleep where the system has one."""
    sleeps = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if sleeps is None else time.clock_gettime(sleeps)


# --- the command


class Child:
    """The command in a process, with its output copied through."""

    def __init__(self, command: list[str]) -> None:
        self.killed_by = 0
        out, err, failed = os.pipe(), os.pipe(), os.pipe()
        # Between fork and exec a signal would still be ours.
        self._signals = [getattr(signal, name) for name in _FORWARDED]
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        self.pid = os.fork()
        if self.pid == 0:
            _exec(command, out[1], err[1], failed[1], self._signals)
        for end in (out[1], err[1], failed[1]):
            os.close(end)
        self._sources = {out[0]: 1, err[0]: 2}
        self._failed = failed[0]
        self._tail = b""
        for number in self._signals:
            signal.signal(number, self._forward)
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def wait(self) -> tuple[int, bytes]:
        """Exit status as a shell has it, and the end of the output."""
        for source in self._sources:
            os.set_blocking(source, False)
        found: int | None = None
        quiet_at = 0.0
        while True:
            if found is None:
                found = self._reap()
                if found is not None:
                    # Processes that it leaves behind may hold its output open forever.
                    quiet_at = time.monotonic() + _DRAIN_SECONDS
            if found is not None and (not self._sources or time.monotonic() >= quiet_at):
                break
            patience = None if found is None else max(0.0, quiet_at - time.monotonic())
            ready = select.select([*self._sources, self._wakeup[0]], [], [], patience)[0]
            if found is not None and not ready:
                break
            for source in ready:
                self._copy(source)
        self._note_failure()
        signal.set_wakeup_fd(-1)
        return found, self._tail[-KEPT_BYTES:]

    def _reap(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        if os.WIFSIGNALED(status):
            self.killed_by = os.WTERMSIG(status)
            return 128 + self.killed_by
        return os.WEXITSTATUS(status)

    def _copy(self, source: int) -> None:
        try:
            data = os.read(source, 65536)
        except BlockingIOError:
            return
        if source == self._wakeup[0]:
            return
        if not data:
            self._close(source)
            return
        self._tail = (self._tail + data)[-2 * KEPT_BYTES :]
        while data:
            try:
                data = data[os.write(self._sources[source], data) :]
            except BlockingIOError:
                select.select([], [self._sources[source]], [])
            except OSError as error:
                if error.errno == errno.EPIPE:  # then the command has nobody to write to either
                    self._close(source)
                return  # a full disk: the tail is kept all the same

    def _close(self, source: int) -> None:
        del self._sources[source]
        os.close(source)

    def _note_failure(self) -> None:
        text = os.read(self._failed, 4096)
        if text:
            self._tail += b"qexec: " + text + b"\n"
            _say(text.decode("utf-8", "replace"))

    def _forward(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT and _from_terminal():
            return  # the terminal has sent it to the command as well
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def _exec(
    command: list[str], out: int, err: int, failed: int, signals: list[signal.Signals]
) -> None:
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(failed, f"{command[0]}: {error.strerror}".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)
    except BaseException as error:
        os.write(failed, str(error).encode())
        os._exit(126)


def _from_terminal() -> bool:
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _end_like(number: int) -> None:
    """By the signal that ended the command, so that the caller sees the same."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    sys.stdout.flush()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# --- reports


def _begin(report: dict[str, Any], spool: Spool, said: list[str]) -> None:
    """While the command runs: its start, and what is kept from before. `said` gets what went wrong,
    so that it is not said twice."""
    try:
        _post(f"{report['url']}/start?rid={report['rid']}&started={report['started']:.3f}", b"")
        if spool.names():
            spool.flush()
    except ReportNotSentError:
        pass  # the end is kept with the time of the start
    except ReportRefusedError as error:
        said.append(str(error))
        _say(f"the exporter refuses the report: {error}")
    except Exception as error:
        _say(f"its start is not reported: {error}")


def _end(report: dict[str, Any], spool: Spool, said: list[str]) -> None:
    try:
        if spool.names():
            _kept(spool, report)  # in order: what is older goes first
            if spool.flush() == 0:
                return
            raise ReportNotSentError("the exporter does not answer")
        send(report)
    except ReportRefusedError as error:
        if str(error) not in said:
            _say(f"the exporter refuses the report: {error}")
    except ReportNotSentError as error:
        if not _kept(spool, report):
            _say(f"the report is lost: {error}, and it cannot be kept in {spool.folder}")
            return
        _say(f"{error}: the report is kept in {spool.folder} and sent later")
        _flush_in_background(spool)


def send(report: dict[str, Any]) -> None:
    """The end of a run, with its times. Raises ReportNotSentError or ReportRefusedError."""
    times = f"started={report['started']:.3f}&ended={report['ended']:.3f}"
    url = f"{report['url']}/{report['status']}?rid={report['rid']}&{times}"
    _post(url, report["output"].encode("utf-8", "replace"))


def _post(url: str, body: bytes) -> None:
    post(url, body, {"Content-Type": "text/plain; charset=utf-8"})


def _spool() -> Spool:
    return Spool(os.environ.get("QUANT_EXEC_SPOOL") or spool_base(), send, _say)


def _kept(spool: Spool, report: dict[str, Any]) -> bool:
    return spool.keep(f"{report['ended']:017.6f}-{report['rid']}", report)


def _flush_in_background(spool: Spool) -> None:
    """In a process of its own that gives up after a while; the next qexec tries again."""
    if RETRY_SECONDS <= 0 or os.fork():
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        for name in _FORWARDED:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        end, pause = time.monotonic() + RETRY_SECONDS, 1.0
        while time.monotonic() + pause < end:
            time.sleep(pause)
            if not spool.flush():
                break
            pause = min(pause * 1.5, 60.0)
    finally:
        os._exit(0)


# --- where to


def _address(url: str | None, task: str) -> str | None:
    """The task's own address; None if the exporter's address is not known."""
    base = url or os.environ.get("QUANT_PING_URL") or _from_files()
    if not base:
        return None
    base = base.strip().rstrip("/")
    last = base.rpartition("/")[2]
    by_uuid = len(last) == 36 and last.count("-") == 4
    return base if by_uuid or last == task else f"{base}/{task}"


def _from_files() -> str | None:
    near = os.path.dirname(os.environ.get("QUANT_CONFIG", "")) or "."
    for path in (
        os.path.join(near, "var/ping-url"),
        os.path.expanduser("~/.config/quant-exporter/ping-url"),
        "/etc/quant-exporter/ping-url",
    ):
        try:
            with open(path, encoding="utf-8") as file:
                found = file.readline().strip()
        except OSError:
            continue
        if found:
            return found
    return None


def _say(text: str, status: int = 0) -> int:
    try:
        os.write(2, f"qexec: {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass
    return status


def one_file() -> str:
    """This program, with the text of push.py in place of its import. A copy is that already."""
    with open(__file__, encoding="utf-8") as file:
        own = file.read()
    before, begin, rest = own.partition("# A copy has the text of push.py here: see one_file().\n")
    if not begin:
        return own
    from exporter import push

    with open(push.__file__, encoding="utf-8") as file:
        other = file.read().partition("from __future__ import annotations\n")[2]
    other = other.partition('\n\nif __name__ == "__main__":\n')[0]
    return before + other + rest.partition("# The copy goes on here.\n")[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
