"""Lines on their way out: the caller puts a line into a queue and goes on, a thread writes it.

What does not fit into the queue is dropped, and every dropped line is counted. When writing fails,
lines wait in the queue, and the writer tries again every second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

QUEUE_BYTES = 16_000_000
"""Queued at most, for each place. The last fifth is reserved for errors."""
LINGER_SECONDS = 0.02
"""How long a line waits for others: many lines are written as one."""
RETRY_SECONDS = 1.0


class Line(NamedTuple):
    """A line that is ready to be written."""

    at: float
    """Unix seconds: decides in which day's file it belongs."""
    level: str
    logger: str
    event: str | None
    content: bytes


class Place(Protocol):
    """Where lines go. Called from the writer's thread alone."""

    trouble: str | None
    """Why the last write failed, or None."""

    def write(self, lines: Sequence[Line]) -> int:
        """Write; returns how many lines are done, fewer if it fails. Never raises."""

    def close(self) -> None:
        """No more lines will come."""


class QueueWriter:
    """One place, its queue and its thread."""

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        on_written: Callable[[Sequence[Line]], None] = lambda lines: None,
        on_lost: Callable[[int], None] = lambda count: None,
        queue_bytes: int = QUEUE_BYTES,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.place = place
        self._on_written, self._on_lost = on_written, on_lost
        self._limit, self._retry_seconds = queue_bytes, retry_seconds
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._work, self._idle = threading.Event(), threading.Event()
        self._closing = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, line: Line) -> bool:
        """Queue a line without waiting; False if it was dropped because the queue is full."""
        size = len(line.content)
        limit = self._limit if line.level in ("error", "critical") else self._limit * 4 // 5
        with self._lock:
            fits = self._bytes + size <= limit
            if fits:
                self._lines.append(line)
                self._bytes += size
                if len(self._lines) == 1:
                    self._idle.clear()
                    self._work.set()
        if not fits:
            self._on_lost(1)
        return fits

    @property
    def waiting_bytes(self) -> int:
        """Queued and not yet written."""
        return self._bytes

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written; False if `timeout` seconds are not enough."""
        return self._idle.wait(timeout)

    def close(self, timeout: float) -> None:
        """Write what is queued, within `timeout` seconds, and stop; count the rest as dropped."""
        self._idle.wait(timeout)
        self._closing.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout=max(timeout, 1.0))
        if self._thread.is_alive():
            return  # it is blocked in a write; the daemon thread ends with the process
        self.place.close()
        if left := len(self._lines):
            self._lines.clear()
            self._on_lost(left)

    def _run(self) -> None:
        while True:
            self._work.wait()
            if self._closing.is_set():
                return
            time.sleep(LINGER_SECONDS)  # a timed wait on a lock never ends under libfaketime
            with self._lock:
                self._work.clear()
                batch = list(self._lines)
            done = self.place.write(batch)
            self._on_written(batch[:done])
            with self._lock:
                for line in islice(batch, done):
                    self._lines.popleft()
                    self._bytes -= len(line.content)
                if self._lines:
                    self._work.set()
                else:
                    self._idle.set()
            if done < len(batch):
                self._closing.wait(self._retry_seconds)
