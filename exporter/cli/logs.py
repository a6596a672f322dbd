"""``quant-exporter logs``: prints log lines, newest last."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import orjson

from exporter.cli.with_config import with_config
from exporter.config import Config
from exporter.logs.files import files_of
from exporter.logs.formatters import Readable
from exporter.logs.reader import (
    FARTHEST_SECONDS,
    Gone,
    Record,
    files_between,
    gone,
    parse,
    records,
)
from exporter.logs.tail.tail import Tail
from exporter.logs.terminal import style_of
from exporter.metrics import LOG_LEVELS
from exporter.util.clock import Clock, SystemClock
from exporter.util.units import parse_duration

FOLLOW_SECONDS = 0.25


@dataclass(frozen=True)
class Wanted:
    """Which lines: those that match everything that is given."""

    task: str | None = None
    run: str | None = None
    """A run's id, or its beginning."""
    level: str | None = None
    """This level and above."""

    def __call__(self, record: Record) -> bool:
        """Whether `record` is one of them."""
        if self.task is not None and record.get("task") != self.task:
            return False
        if self.run is not None and not str(record.get("run_id", "")).startswith(self.run):
            return False
        if self.level is None:
            return True
        level = record.get("level")
        return level in LOG_LEVELS and LOG_LEVELS.index(level) >= LOG_LEVELS.index(self.level)


def logs(
    path: Path,
    *,
    task: str | None,
    run: str | None,
    level: str | None,
    since: str | None,
    follow: bool,
    as_json: bool,
) -> int:
    """The log lines that somebody asks for."""

    def call(config: Config) -> int:
        return main(
            config, task=task, run=run, level=level, since=since, follow=follow, as_json=as_json
        )

    return with_config(path, call, tolerant=True)


def main(
    config: Config,
    *,
    task: str | None = None,
    run: str | None = None,
    level: str | None = None,
    since: str | None = None,
    follow: bool = False,
    as_json: bool = False,
    clock: Clock | None = None,
    out: TextIO | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Print lines; with `follow`, go on until interrupted or `stop()`.

    `since` (``8h``) defaults to a day, and with `run` to all there is. Exit status 0; 1 when no
    line was found; 2 for wrong use.
    """
    clock, out = clock or SystemClock(), out or sys.stdout
    try:
        back = _how_far_back(since, run)
        _check(config, task=task, run=run, level=level)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    wanted = Wanted(task, run, level)
    zone, now = ZoneInfo(config.timezone), clock.now()
    printer = _Printer(wanted, out, zone, as_json=as_json)
    tail = Tail(lambda: _open_file(config.logs.directory)) if follow else None
    if tail is not None:
        tail.skip_to_end()  # before the rest is read: a line may be seen twice, but none is missed
    end = now if tail is None else now + 60.0
    start, directory = now - back, config.logs.directory
    missing = gone(directory, start, end, zone)
    if missing:
        printer.print_all(records(missing.errors, start, missing.before, printer.count_broken))
    from_error_log = printer.found
    files = files_between(directory, "exporter", start, end, zone)
    printer.print_all(records(files, start, end, printer.count_broken))
    # All lines of a run may be newer than what was deleted.
    if missing and (since or not run or from_error_log or not printer.found):
        print(_gone(missing, end, zone, from_error_log), file=sys.stderr)
    if tail is not None:
        _follow(tail, printer, stop)
    if printer.broken:
        lines = "line was" if printer.broken == 1 else "lines were"
        print(f"({printer.broken} broken {lines} left out)", file=sys.stderr)
    if not printer.found and not follow:
        print(_nothing(config, wanted, since), file=sys.stderr)
    return 0 if printer.found or follow else 1


class _Printer:
    """Prints the wanted lines and counts them."""

    def __init__(self, wanted: Wanted, out: TextIO, zone: ZoneInfo, *, as_json: bool) -> None:
        style = style_of(out.fileno(), os.environ) if out.isatty() else "plain"
        readable = Readable(zone, style, dates=True)
        self._text = _line if as_json else readable.text
        self._wanted, self.out = wanted, out
        self.found = self.broken = 0
        self.last: deque[Record] = deque(maxlen=1000)
        """The newest records that were printed."""

    def count_broken(self) -> None:
        """A line that is not a record."""
        self.broken += 1

    def print_all(self, found: Iterable[Record]) -> None:
        """Those that are wanted."""
        for record in found:
            if self._wanted(record):
                self.found += 1
                self.last.append(record)
                self.out.write(self._text(record))


def _how_far_back(since: str | None, run: str | None) -> float:
    """Seconds; a day by default, everything for a run. Raises :class:`ValueError`."""
    if since is None:
        return FARTHEST_SECONDS if run else 86400.0
    return min(parse_duration(since), FARTHEST_SECONDS)


def _check(config: Config, *, task: str | None, run: str | None, level: str | None) -> None:
    """Raises :class:`ValueError` with what to write instead."""
    if level is not None and level not in LOG_LEVELS:
        raise ValueError(f"invalid level {level!r}: write one of {', '.join(LOG_LEVELS)}")
    if run is not None and not run.strip():
        raise ValueError("--run needs a run id or its beginning; `quant-exporter logs` shows them")
    if task is not None and not task.strip():
        raise ValueError(f"--task needs a name: {', '.join(config.tasks) or 'none is configured'}")


def _gone(missing: Gone, end: float, zone: ZoneInfo, from_error_log: int) -> str:
    """Which lines cannot be shown."""
    at = datetime.fromtimestamp(missing.before, zone).strftime("%Y-%m-%d %H:%M:%S")
    what = "the lines from that time" if missing.before >= end else f"lines before {at}"
    lines = "line comes" if from_error_log == 1 else "lines come"
    errors = f"; {from_error_log:,} {lines} from the error log" if from_error_log else ""
    return f"({what} have been deleted{errors})"


def _nothing(config: Config, wanted: Wanted, since: str | None) -> str:
    """Why there may be nothing to show, and where it was looked for."""
    what = [f"of run {wanted.run}"] if wanted.run else []
    what += [f"of task {wanted.task}"] if wanted.task else []
    what += [f"of level {wanted.level} or above"] if wanted.level else []
    if not wanted.run or since:
        what.append(f"in the last {since or '24h'}")
    text = f"no line {' '.join(what)} in {config.logs.directory}".rstrip()
    if wanted.task and wanted.task not in config.tasks:
        text += f"; the tasks are {', '.join(config.tasks) or 'none yet'}"
    return text


def _line(record: Record) -> str:
    return orjson.dumps(record).decode() + "\n"


def _open_file(directory: Path) -> Path | None:
    opened = [file.path for file in files_of(directory, "exporter") if file.open]
    return opened[-1] if opened else None


def _follow(tail: Tail, printer: _Printer, stop: Callable[[], bool]) -> None:
    known = {_line(record) for record in printer.last}
    while not stop():
        for line in tail.lines():
            record = parse(line)
            if record is None:
                printer.broken += bool(line)
            elif _line(record) not in known:
                printer.print_all([record])
        printer.out.flush()
        time.sleep(FOLLOW_SECONDS)
