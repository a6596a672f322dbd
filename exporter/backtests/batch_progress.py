"""How far a run of backtests is, for the one who waits and for the exporter's metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.util.atomic import write
from exporter.util.clock import Clock

_TELL_SECONDS = 2.0


@dataclass
class BatchProgress:
    """How far a run is."""

    total: int = 0
    reused: int = 0
    done: int = 0
    failed: int = 0


class ProgressFile:
    """Says how far a run is, to the exporter by a small file."""

    def __init__(
        self, file: Path, clock: Clock, on_progress: Callable[[BatchProgress], None]
    ) -> None:
        self._file, self._clock, self._on_progress = file, clock, on_progress
        self._began = time.monotonic()
        self._next = 0.0

    def show(self, progress: BatchProgress) -> None:
        """To both."""
        self._on_progress(progress)
        if time.monotonic() < self._next or progress.done >= progress.total:
            return
        self._next = time.monotonic() + _TELL_SECONDS
        computed, left = progress.done - progress.reused, progress.total - progress.done
        seconds = (time.monotonic() - self._began) / computed * left if computed > 0 else 0.0
        told = {
            "at": self._clock.now(), "total": progress.total, "done": progress.done,
            "failed": progress.failed, "seconds_left": seconds,
        }  # fmt: skip
        with suppress(OSError):  # nobody misses it
            write(self._file, json.dumps(told))

    def end(self) -> None:
        """The batch has ended."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
