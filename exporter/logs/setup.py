"""Sets logging up: on the root logger, again at a reload, and stops it at the end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from zoneinfo import ZoneInfo

from exporter.config import Logs
from exporter.logs.counters import Counts
from exporter.logs.files import DayFiles, Limits
from exporter.logs.formatters import JsonLines, Readable
from exporter.logs.log_context import ContextFilter
from exporter.logs.queue_writer import QueueWriter
from exporter.logs.retention import Retention, RetentionPolicy
from exporter.logs.terminal import Terminal, style_of
from exporter.metrics import Metrics, Sample
from exporter.redaction.mask import Mask
from exporter.util.clock import Clock

TERMINAL_QUEUE_BYTES = 1_000_000
QUIET_LIBRARIES = ("apscheduler", "asyncio", "aiohttp.access", "urllib3")
"""Their info lines repeat what ours say."""

log = logging.getLogger(__name__)


class Logging:
    """Files, terminal, counts and the mask, behind the standard library's root logger.

    `terminal_fd`: where readable lines go; None for nowhere.
    """

    def __init__(
        self,
        config: Logs,
        zone: str,
        clock: Clock,
        metrics: Metrics,
        *,
        mask: Mask | None = None,
        terminal_fd: int | None = 2,
    ) -> None:
        self.mask = mask or Mask()
        self.counts = Counts(metrics)
        self._config, self._zone = config, zone
        self._files = DayFiles("exporter", _limits(config, zone, config.rotate_at))
        self._errors = DayFiles("errors", _limits(config, zone, config.errors_rotate_at))
        self._terminal = None
        if terminal_fd is not None:
            readable = Readable(ZoneInfo(zone), style_of(terminal_fd, os.environ))
            self._terminal = Terminal(terminal_fd, readable)
        self._writers = [
            QueueWriter(
                self._files, "files", on_written=self.counts.written, on_lost=self.counts.lost
            ),
            # Every error is in the first file too, so these are not counted.
            QueueWriter(self._errors, "errors"),
        ]
        if self._terminal is not None:
            self._writers.append(
                QueueWriter(
                    self._terminal,
                    "terminal",
                    on_lost=self._not_shown,
                    queue_bytes=TERMINAL_QUEUE_BYTES,
                )
            )
        self._retention = Retention(
            _policy(config), [self._files, self._errors], clock, ZoneInfo(zone)
        )
        self._handler = _Handler(JsonLines(self.mask, clock), self._writers, self.counts.lost)
        self._hooks = (sys.excepthook, threading.excepthook)
        metrics.add_reader(self._read)

    def start(self) -> None:
        """Handle the root logger, warnings and uncaught exceptions."""
        for writer in self._writers:
            writer.start()
        self._retention.start()
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(self._config.level.upper())
        for name in QUIET_LIBRARIES:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread

    def apply(self, config: Logs, zone: str) -> None:
        """Apply what a reload changed."""
        self._config, self._zone = config, zone
        self._files.limits = _limits(config, zone, config.rotate_at)
        self._errors.limits = _limits(config, zone, config.errors_rotate_at)
        self._retention.policy, self._retention.zone = _policy(config), ZoneInfo(zone)
        logging.getLogger().setLevel(config.level.upper())

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything logged so far is written; False if that takes longer."""
        done = [writer.flush(timeout) for writer in self._writers]
        return all(done)

    def stop(self, timeout: float = 5.0) -> None:
        """Release the root logger, write what is queued, stop the threads."""
        sys.excepthook, threading.excepthook = self._hooks
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._handler)
        for writer in self._writers:
            writer.close(timeout)
        self._retention.stop()

    @property
    def trouble(self) -> str | None:
        """Why lines cannot be written just now, or None."""
        return self._files.trouble or self._errors.trouble

    def _read(self) -> Iterable[Sample]:
        yield "quant_log_healthy", (), float(self.trouble is None)
        yield "quant_log_queue_bytes", (), float(sum(w.waiting_bytes for w in self._writers[:2]))

    def _not_shown(self, count: int) -> None:
        if self._terminal is not None:
            self._terminal.unseen += count


class _Handler(logging.Handler):
    """Makes the line where it is logged, with the values of that moment, and queues it."""

    def __init__(
        self, lines: JsonLines, writers: Sequence[QueueWriter], on_lost: Callable[[int], None]
    ) -> None:
        super().__init__()
        self._on_lost = on_lost
        self.addFilter(ContextFilter())
        self._lines = lines
        self._files, self._errors, *terminals = writers
        self._terminals = terminals

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(record)
        except Exception:  # noqa: BLE001 - logging never breaks the code that logs; the loss is counted
            self._on_lost(1)

    def _put(self, record: logging.LogRecord) -> None:
        line = self._lines.make(record)
        self._files.put(line)
        if record.levelno >= logging.ERROR:
            self._errors.put(line)
        for terminal in self._terminals:
            terminal.put(line)


def _limits(config: Logs, zone: str, rotate_at: int) -> Limits:
    return Limits(config.directory, ZoneInfo(zone), rotate_at)


def _policy(config: Logs) -> RetentionPolicy:
    return RetentionPolicy(
        config.directory,
        {"exporter": config.keep, "errors": config.errors_keep},
        config.max_total,
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    log.critical(
        "an exception ended the process",
        exc_info=(kind, error, traceback),
        extra={"event": "uncaught"},
    )


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    log.critical(
        "an exception ended the thread %s",
        args.thread.name if args.thread else "?",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        extra={"event": "uncaught"},
    )
