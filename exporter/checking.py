"""What ``check`` finds beyond the file itself: what it names must be there on this machine.

Mistakes keep the exporter from starting. Notes do not: another machine, or the service's own
environment, may well have what this one lacks.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.calendars import CalendarError, Calendars
from exporter.clock import Clock
from exporter.config import Config, Mistake
from exporter.sources.keys import KeyMissingError, read_key
from exporter.supply import cache_folder


def mistakes(config: Config, clock: Clock) -> list[Mistake]:
    """Why the exporter could not start with this file."""
    found = []
    if config.state.is_dir():
        found.append(Mistake("state", f"{config.state} is a folder; name a file, as var/state.db"))
    cache = cache_folder(config)
    with tempfile.TemporaryDirectory() as scratch:
        calendars = Calendars(cache if cache.is_dir() else Path(scratch), {}, clock)
        for exchange in config.exchanges:
            try:
                asyncio.run(calendars.load([exchange]))
            except CalendarError as error:
                found += [Mistake(place, str(error)) for place in _places_of(config, exchange)]
    return found


def notes(config: Config, folder: Path, environ: Mapping[str, str] = os.environ) -> list[Mistake]:
    """What this machine lacks: keys of sources, and programs of tasks, which start in `folder`."""
    return [*_keys(config, environ), *_programs(config, folder, environ)]


def _places_of(config: Config, exchange: str) -> Iterator[str]:
    for name, feed in config.feeds.items():
        if feed.exchange == exchange:
            yield f"feeds.{name}.exchange"
    for name, task in config.tasks.items():
        if task.exchange == exchange:
            yield f"tasks.{name}.exchange"


def _keys(config: Config, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for name, source in config.sources.items():
        try:
            read_key(name, source, environ)
        except KeyMissingError as error:
            place, _, text = str(error).partition(": ")
            yield Mistake(place, text)


def _programs(config: Config, folder: Path, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for name, task in config.tasks.items():
        if not task.command:
            continue
        program, place = task.command[0], f"tasks.{name}.command"
        if "/" not in program:
            if not shutil.which(program, path=environ.get("PATH")):
                yield Mistake(place, f"there is no program {program!r} on the PATH; install it")
            continue
        path = folder / program
        if not path.is_file():
            yield Mistake(place, f"there is no file {path}; create it or correct the path")
        elif not os.access(path, os.X_OK):
            yield Mistake(place, f"{path} may not be executed; chmod +x {path}")
