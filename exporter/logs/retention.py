"""Closed log files: compressed, and deleted by age and by total size."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from exporter.logs.extracts import GZIP_LEVEL, extract_of, pack
from exporter.logs.files import DayFiles, LogFile, files_of
from exporter.util import atomic
from exporter.util.clock import Clock
from exporter.util.local_time import day_bounds

LOOK_SECONDS = 5.0
TIDY_SECONDS = 600.0
ERRORS_SHARE = 0.25
"""Of all bytes: a flood of other lines deletes no errors, and a flood of errors not the rest."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetentionPolicy:
    """What is kept."""

    directory: Path
    ages: Mapping[str, float]
    """Seconds that files of each name are kept after their day's end."""
    most_bytes: int
    """All log files together."""


def tidy(
    policy: RetentionPolicy, now: float, zone: tzinfo, held: Collection[Path | None] = ()
) -> None:
    """Delete what is too old, compress every closed part, then delete the oldest parts beyond the
    limit: of the errors beyond their share, of the others beyond the rest.

    A day's open file is not touched, but for one that is too old and that nobody holds: after it
    nothing was written. A disk without room for the compressed part does not keep
    anything from being deleted. Raises the last :class:`OSError`.
    """
    for leftover in policy.directory.glob(".*.gz.*.part"):
        leftover.unlink(missing_ok=True)
    for extract in policy.directory.glob("*.extract*"):
        if not extract.with_name(extract.name.replace(".extract", ".jsonl")).exists():
            extract.unlink(missing_ok=True)
    problem: OSError | None = None
    room = policy.most_bytes
    for name, age in sorted(policy.ages.items(), key=lambda entry: entry[0] != "errors"):
        files: list[LogFile] = []
        for file in files_of(policy.directory, name):
            too_old = now >= day_bounds(file.day, zone)[1] + age
            if too_old and file.path not in held:
                _delete(file.path)
                continue
            try:
                files.append(_compressed(file))
            except OSError as error:
                problem = error
                files.append(file)
        most = room * ERRORS_SHARE if name == "errors" else room
        room -= _delete_beyond(most, files)
    if problem is not None:
        raise problem


def _compressed(file: LogFile) -> LogFile:
    """The same part in its final form, whatever it is in now."""
    if file.compressed:
        # A crash between the steps of _compress leaves the plain file behind.
        _delete(file.path.with_suffix(""))
        return file
    return file if file.open else _compress(file)


def _delete_beyond(most: float, files: list[LogFile]) -> int:
    """Delete closed files, oldest first, until all are `most` bytes; what is left, bytes."""
    sizes = {f.path: _size(f.path) + _size(extract_of(f.path)) for f in files}
    total = sum(sizes.values())
    for file in files:
        if total > most and not file.open:
            _delete(file.path)
            total -= sizes[file.path]
    return total


def _delete(log_file: Path) -> None:
    """And its extract."""
    log_file.unlink(missing_ok=True)
    extract_of(log_file).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _compress(file: LogFile) -> LogFile:
    target = file.path.with_name(file.path.name + ".gz")
    status = file.path.stat()
    with (
        file.path.open("rb") as plain,
        atomic.replacing(target, mode=status.st_mode & 0o777) as raw,
        gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, 1 << 18)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    pack(file.path, target, status.st_mode & 0o777)
    file.path.unlink(missing_ok=True)
    return file._replace(path=target, compressed=True)


class Retention:
    """The thread that does it: at the start, when a part was closed, and every ten minutes."""

    def __init__(
        self, policy: RetentionPolicy, writers: Sequence[DayFiles], clock: Clock, zone: tzinfo
    ) -> None:
        self.policy, self.zone = policy, zone
        self._writers, self._clock = writers, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """A file that is being compressed is compressed again at the next start."""
        self._stop.set()

    def _run(self) -> None:
        seen, last = -1, -TIDY_SECONDS
        while not self._stop.is_set():
            closed = sum(writer.closed_parts for writer in self._writers)
            if closed != seen or self._clock.monotonic() - last >= TIDY_SECONDS:
                seen, last = closed, self._clock.monotonic()
                try:
                    held = [writer.held for writer in self._writers]
                    tidy(self.policy, self._clock.now(), self.zone, held)
                except OSError as error:
                    log.warning(
                        "old log files cannot be compressed or deleted: %s",
                        error,
                        extra={"event": "log_tidy_failed"},
                    )
            self._stop.wait(LOOK_SECONDS)
