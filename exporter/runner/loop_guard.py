"""Ends a step of a coroutine that blocks the event loop.

Nothing on the loop can: it is blocked, and so are the page, the scrape and every other task. A
thread looks at the clock instead and sends the main thread a signal, whose handler raises within
that step, also within ``time.sleep`` and a socket that waits.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

HOLD_SECONDS = 20.0
"""How long one step may block the loop. systemd's watchdog ends the exporter after 30."""
_LOOK_SECONDS = 0.25
_SIGNAL = signal.SIGRTMIN + 5  # SIGALRM is used by libraries


class BlockedLoopError(BaseException):
    """No :class:`Exception`, so that a task's own ``except Exception`` does not swallow it."""


class _Watch:
    """One a process; steps follow each other and never nest."""

    def __init__(self) -> None:
        self._ends: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on; without effect on a loop that is not in the main thread."""
        if self._thread or threading.current_thread() is not threading.main_thread():
            return
        signal.signal(_SIGNAL, self._interrupt)
        self._thread = threading.Thread(target=self._look, name="loop guard", daemon=True)
        self._thread.start()

    def begin(self, seconds: float) -> None:
        """A step begins that may take that long."""
        self._ends = time.monotonic() + min(seconds, HOLD_SECONDS)

    def end(self) -> None:
        """The step has ended."""
        self._ends = None

    def _over(self) -> bool:
        ends = self._ends
        return ends is not None and time.monotonic() >= ends

    def _look(self) -> None:
        main = threading.main_thread().ident
        while main:
            time.sleep(_LOOK_SECONDS)
            if self._over():  # and again, should the step swallow it
                signal.pthread_kill(main, _SIGNAL)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._over():  # otherwise the step has ended meanwhile
            raise BlockedLoopError


watch = _Watch()
