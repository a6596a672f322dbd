"""Closed log files: compressed, and deleted by age and by total size."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from pathlib import Path

from exporter.clock import Clock
from exporter.logs.files import DayFiles, LogFile, files_of, midnight

LOOK_SECONDS = 5.0
TIDY_SECONDS = 600.0
GZIP_LEVEL = 4
"""On log lines: nine tenths of what level 9 saves, in a quarter of its time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """What stays."""

    directory: Path
    ages: Mapping[str, float]
    """Seconds that files of each name are kept after their day's end."""
    most_bytes: int
    """All log files together."""


def tidy(keeping: Keeping, now: float, zone: tzinfo) -> None:
    """Compress every closed part, then delete what is too old and, oldest first, too much.

    The open file is never touched. Raises :class:`OSError`.
    """
    for leftover in keeping.directory.glob("*.jsonl.gz.tmp"):
        leftover.unlink(missing_ok=True)
    files: list[tuple[str, LogFile]] = []
    for name, age in keeping.ages.items():
        for file in files_of(keeping.directory, name):
            if now >= midnight(file.day + timedelta(days=1), zone) + age and not file.open:
                file.path.unlink(missing_ok=True)
                continue
            if file.compressed:
                # A crash between the two steps of _compress leaves the plain file behind.
                file.path.with_suffix("").unlink(missing_ok=True)
            elif not file.open:
                file = _compress(file)  # noqa: PLW2901 - the same part under its new name
            files.append((name, file))
    sizes = {f.path: f.path.stat().st_size for _, f in files if f.path.exists()}
    total = sum(sizes.values())
    for _, file in sorted(files, key=lambda f: (f[1].day, f[0] == "errors", f[1].part)):
        if total <= keeping.most_bytes:
            break
        if not file.open:
            file.path.unlink(missing_ok=True)
            total -= sizes.get(file.path, 0)


def _compress(file: LogFile) -> LogFile:
    target = file.path.with_name(file.path.name + ".gz")
    half = target.with_name(target.name + ".tmp")
    status = file.path.stat()
    with file.path.open("rb") as plain, half.open("wb") as raw:
        with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, 1 << 18)
        raw.flush()
        os.fsync(raw.fileno())
    half.chmod(status.st_mode & 0o777)
    os.utime(half, ns=(status.st_atime_ns, status.st_mtime_ns))
    half.rename(target)
    file.path.unlink(missing_ok=True)
    return file._replace(path=target, compressed=True)


class Keeper:
    """The thread that tidies: at the start, when a part was closed, and every ten minutes."""

    def __init__(
        self, keeping: Keeping, writers: Sequence[DayFiles], clock: Clock, zone: tzinfo
    ) -> None:
        self.keeping, self.zone = keeping, zone
        self._writers, self._clock = writers, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """A file that is being compressed is begun anew at the next start."""
        self._stop.set()

    def _run(self) -> None:
        seen, last = -1, -TIDY_SECONDS
        while not self._stop.is_set():
            closed = sum(writer.closed_parts for writer in self._writers)
            if closed != seen or self._clock.monotonic() - last >= TIDY_SECONDS:
                seen, last = closed, self._clock.monotonic()
                try:
                    tidy(self.keeping, self._clock.now(), self.zone)
                except OSError as error:
                    log.warning(
                        "old log files cannot be tidied: %s",
                        error,
                        extra={"event": "log_tidy_failed"},
                    )
            self._stop.wait(LOOK_SECONDS)
