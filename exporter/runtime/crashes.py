"""Ends a process whose event loop hangs, and says after the next start why the last one ended.

:mod:`faulthandler` does both without the interpreter, so also while code in C lets no other thread
run: it writes what each thread was doing to a file and ends the process, with exit code 1, and
whoever started it starts it again. A fatal signal leaves the same file: a library that crashed, or
the SIGABRT of systemd's watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from exporter.config import Config
from exporter.config.paths import crash_path, last_crash_path
from exporter.metrics import Metrics, Sample
from exporter.util.nan import NAN

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
_CURRENT = "Current thread 0x"
_THREAD = re.compile(r"^(Current t|T)hread 0x", re.MULTILINE)
_FATAL = re.compile(r"Fatal Python error: (.+)")
_WHERE = re.compile(r'File "(.+)", line (\d+) in (.+)')


class Crashes:
    """Reports the last crash; :meth:`guard` is for a process that runs nothing else."""

    def __init__(self, metrics: Metrics, config: Callable[[], Config]) -> None:
        self._config = config
        self._at = NAN
        self._reported = asyncio.Event()
        self._file: TextIO = sys.stderr
        metrics.add_reader(self._read)

    def report(self) -> None:
        """Log how the process before this one ended, if it hung or crashed. The state file must be
        locked, so that what is found belongs to a process that is gone."""
        file, last = crash_path(self._config()), last_crash_path(self._config())
        with contextlib.suppress(OSError):  # nothing is there, or state says what is wrong
            if file.stat().st_size:
                file.replace(last)
                text = last.read_text(errors="replace")
                log.error("%s; %s has more", sentence(text), last, extra={"event": "crash_found"})
        with contextlib.suppress(OSError):
            self._at = last.stat().st_mtime
        self._reported.set()

    async def guard(self) -> None:
        """From the report until cancelled: end the process once the event loop hangs."""
        await self._reported.wait()
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # then stderr has it
                file = os.open(
                    crash_path(self._config()), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
                )
                self._file = stack.enter_context(os.fdopen(file, "w"))
            faulthandler.enable(self._file)
            stack.callback(faulthandler.enable)
            stack.callback(faulthandler.cancel_dump_traceback_later)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTSTP, self._suspend)
            while True:
                self._arm()
                limit = self._config().hang_timeout or math.inf
                await asyncio.sleep(min(_AGAIN_SECONDS, limit / 4))

    def _arm(self) -> None:
        if limit := self._config().hang_timeout:
            faulthandler.dump_traceback_later(limit, file=self._file, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _suspend(self) -> None:
        """Ctrl-Z: the time until `fg` does not count."""
        faulthandler.cancel_dump_traceback_later()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._arm()

    def _read(self) -> Iterator[Sample]:
        yield "quant_exporter_last_crash_timestamp_seconds", (), self._at


def sentence(text: str) -> str:
    """What faulthandler wrote, for the log."""
    threads = [part for part in text.split("\n\n") if _THREAD.search(part)]
    # The one that got the signal; after a hang all are listed, and the main thread is the last.
    thread = next((part for part in threads if _CURRENT in part), threads[-1] if threads else "")
    where = _WHERE.search(thread)
    place = f" in {where[3]} ({where[1]}, line {where[2]})" if where else ""
    fatal = _FATAL.search(text)
    if text.startswith("Timeout"):
        why = f"its event loop hung{place}"
    elif fatal and fatal[1] == "Aborted":
        why = f"it was aborted{place}, as systemd does when the event loop hangs"
    else:
        why = f"it crashed{place}: {fatal[1] if fatal else 'unknown reason'}"
    return f"the exporter was started again: {why}"
