"""Whether this machine has room for the exporter: free disk, and the limits of disk, memory, event
loop and errors.

How much memory the exporter has is `process_resident_memory_bytes`, that of runs the runner knows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.config import Config
from exporter.config.paths import reports_folder
from exporter.metrics import Metrics, Sample
from exporter.util.clock import Clock
from exporter.util.nan import NAN

LOOKS_EVERY_SECONDS = 15.0
ANSWERS_WITHIN_SECONDS = 120.0
"""A disk that does not say for so long how full it is hangs."""


@dataclass(frozen=True)
class Disk:
    """One filesystem. `folders` are those of ours on it: ``state,logs,reports``."""

    folders: str
    free_bytes: float
    free_ratio: float
    """Of its space or of its inodes, whichever is less."""


class Machine:
    """Looks at the disks in a thread, since a network disk may hang; a scrape reads the result."""

    def __init__(self, metrics: Metrics, clock: Clock, config: Callable[[], Config]) -> None:
        self._clock, self._config = clock, config
        self._disks: tuple[Disk, ...] = ()
        self._looked = clock.monotonic()
        metrics.add_reader(self._read)

    async def look(self) -> None:
        """See how full the disks are; a disk that hangs keeps the next look from starting."""
        self._disks = await asyncio.to_thread(disks, self._config())
        self._looked = self._clock.monotonic()

    def _read(self) -> Iterator[Sample]:
        limits = self._config().machine
        yield "quant_exporter_memory_limit_bytes", (), float(limits.max_memory)
        yield "quant_task_memory_limit_bytes", (), self._config().max_program_memory
        yield "quant_disk_free_limit_ratio", (), limits.min_free
        yield "quant_disk_full_limit_seconds", (), limits.full_within
        yield "quant_exporter_event_loop_lag_limit_seconds", (), limits.max_loop_lag
        if limits.max_errors is not None:
            yield "quant_log_errors_limit", (), float(limits.max_errors)
        hangs = self._clock.monotonic() - self._looked > ANSWERS_WITHIN_SECONDS
        for disk in self._disks:
            free, ratio = (NAN, NAN) if hangs else (disk.free_bytes, disk.free_ratio)
            yield "quant_disk_free_bytes", (disk.folders,), free
            yield "quant_disk_free_ratio", (disk.folders,), ratio


def disks(config: Config) -> tuple[Disk, ...]:
    """The filesystems that the exporter writes to."""
    folders = {
        "state": config.state.parent,
        "logs": config.logs.directory,
        "reports": reports_folder(config),
    }
    by_device: dict[int, list[str]] = {}
    found: dict[int, os.statvfs_result] = {}
    for name, folder in folders.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        device = existing.stat().st_dev
        by_device.setdefault(device, []).append(name)
        found[device] = os.statvfs(existing)
    return tuple(
        Disk(",".join(names), float(is_.f_bavail * is_.f_frsize), _free_ratio(is_))
        for names, is_ in ((by_device[device], found[device]) for device in by_device)
        if is_.f_blocks
    )


def _free_ratio(found: os.statvfs_result) -> float:
    space = found.f_bavail / found.f_blocks
    return min(space, found.f_favail / found.f_files) if found.f_files else space
