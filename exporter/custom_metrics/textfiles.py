"""A folder of `.prom` files, looked at every few seconds: what programs without a client write."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config import Config, TextfileSettings
from exporter.custom_metrics.custom_metrics import CustomMetrics, NewValue
from exporter.custom_metrics.own_value import RefusedValueError
from exporter.custom_metrics.prom_text import PromSample, PromTextError, read_prom_file
from exporter.custom_metrics.series_table import Key, OwnSeries
from exporter.metrics import Metrics, Sample
from exporter.util.clock import Clock
from exporter.util.nan import NAN
from exporter.util.units import format_duration

MOST_FILES = 100
SUFFIX = ".prom"
_LABEL_CHARS = 100

log = logging.getLogger(__name__)


@dataclass
class PromFile:
    """What is known of one file."""

    seen: tuple[int, int, int] = (0, 0, 0)
    """Inode, size and time of the content that was looked at."""
    mtime: float = NAN
    problem: str = ""
    keys: dict[Key, str] = field(default_factory=dict)
    """The series that it set, each with its metric."""


class TextfileFolder:
    """Sets the series of every `.prom` file, and drops them with it. Other names are ignored, so
    that a file can be written under one and renamed when it is complete.

    A file that cannot be read keeps its last good values, which grow old.
    """

    def __init__(self, metrics: CustomMetrics, own: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock
        self._settings: TextfileSettings | None = None
        self.files: dict[str, PromFile] = {}
        self._folder_problem = ""
        own.add_reader(self._read)

    def apply(self, config: Config) -> None:
        """Use the folder of the running config."""
        before, self._settings = self._settings, config.textfiles
        if before and (not self._settings or before.folder != self._settings.folder):
            for name in list(self.files):
                self._gone(name)
        for known in self.files.values():
            known.seen = (0, 0, 0)  # what is declared may fit now

    async def refresh(self) -> None:
        """Read the files that changed."""
        settings = self._settings
        if settings is None:
            self._folder_problem = ""
            return
        seen = {name: known.seen for name, known in self.files.items()}
        try:
            found, left_out = await asyncio.to_thread(_look, settings.folder, seen)
        except OSError as error:
            self._say_folder(f"{settings.folder} cannot be read: {error.strerror or error}")
            return
        self._say_folder(
            f"{settings.folder} has {left_out} {SUFFIX} files more than the {MOST_FILES} that are "
            "read" if left_out else ""
        )  # fmt: skip
        for name in [name for name in self.files if name not in found]:
            self._gone(name)
        for name in sorted(found):
            if (read := found[name]) is not None:
                self._apply(name, read)

    def _apply(self, name: str, read: FileRead) -> None:
        known = self.files.setdefault(name, PromFile())
        known.seen = read.seen
        if read.problem:
            self._say(name, known, read.problem)
            return
        known.mtime = read.mtime
        before, known.keys, problem = known.keys, {}, ""
        for one in read.samples:
            try:
                self._put(name, known, one)
            except RefusedValueError as error:
                problem = problem or str(error)
                self._metrics.refuse(error)
        for key, metric in before.items():
            if key not in known.keys:
                self._metrics.table.drop(metric, key)
        self._say(name, known, problem)

    def _put(self, file: str, known: PromFile, one: PromSample) -> None:
        table = self._metrics.table
        value = table.typed(one.value)
        sample = value.name if one.sample == one.value.name else one.sample
        key = (sample, value.labels)
        family = table.families.get(value.name)
        there = family.series.get(key) if family else None
        if there is not None and (there.origin != file or key in known.keys):
            also = f"it, and so does {there.origin or 'a program'}"
            also = "it twice" if there.origin == file else also
            raise RefusedValueError("series", f"{sample}: {file} has {also}: the first counts")
        number = value.value if value.value is not None else NAN
        if there is None or (there.at, there.value) != (known.mtime, number):
            table.check(value, sample)
            table.put(value, OwnSeries(number, known.mtime, file), sample, one.help)
            if sample == value.name:
                self._metrics.tell(NewValue(value.name, value.labels, number, known.mtime))
        known.keys[key] = value.name

    def _gone(self, name: str) -> None:
        for key, metric in self.files.pop(name).keys.items():
            self._metrics.table.drop(metric, key)

    def _say(self, name: str, known: PromFile, problem: str) -> None:
        if problem and problem != known.problem:
            log.warning("%s: %s", name, problem, extra={"event": "textfile_broken", "file": name})
        known.problem = problem

    def _say_folder(self, problem: str) -> None:
        if problem and problem != self._folder_problem:
            log.warning("%s", problem, extra={"event": "textfiles_unreadable"})
        self._folder_problem = problem

    def problems(self) -> list[str]:
        """What is wrong, in sentences."""
        said = [self._folder_problem] if self._folder_problem else []
        said += [f"{name}: {known.problem}" for name, known in self.files.items() if known.problem]
        limit = self._settings.max_age if self._settings else None
        for name, known in self.files.items():
            age = self._clock.now() - known.mtime
            if limit is not None and age > limit:
                said.append(f"{name} has not been written for {format_duration(age)}")
        return said

    def _read(self) -> Iterator[Sample]:
        for name, known in list(self.files.items()):
            yield "quant_textfile_timestamp_seconds", (name,), known.mtime
            yield "quant_textfile_broken", (name,), float(bool(known.problem))


@dataclass(frozen=True)
class FileRead:
    """One look at a file that changed."""

    seen: tuple[int, int, int]
    mtime: float
    samples: tuple[PromSample, ...] = ()
    problem: str = ""


def _look(
    folder: Path, known: dict[str, tuple[int, int, int]]
) -> tuple[dict[str, FileRead | None], int]:
    """Every file by name, None for one that did not change; and how many are too many."""
    names = sorted(entry.name for entry in os.scandir(folder) if _is_ours(entry))
    found: dict[str, FileRead | None] = {}
    for name in names[:MOST_FILES]:
        path = folder / name
        try:
            at = path.stat()
            seen = (at.st_ino, at.st_size, at.st_mtime_ns)
            if known.get(name) == seen:
                found[name] = None
                continue
            found[name] = FileRead(seen, at.st_mtime, tuple(read_prom_file(path)))
        except FileNotFoundError:
            continue  # renamed or deleted just now
        except PromTextError as error:
            found[name] = FileRead(seen, at.st_mtime, problem=str(error))
        except OSError as error:
            text = f"it cannot be read: {error.strerror or error}"
            found[name] = FileRead((0, 0, 0), NAN, problem=text)
    return found, max(0, len(names) - MOST_FILES)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    if not entry.name.endswith(SUFFIX) or len(entry.name) > _LABEL_CHARS:
        return False
    try:
        return entry.is_file()
    except OSError:
        return True  # reading it says what is wrong
