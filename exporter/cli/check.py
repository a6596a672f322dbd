"""``quant-exporter check``."""

from __future__ import annotations

from pathlib import Path

from exporter.config import ConfigError, load
from exporter.runtime import preflight
from exporter.util.clock import SystemClock


def check(path: Path) -> int:
    """Every mistake of the config, one a line; then what is not there on this machine. Offline."""
    try:
        config = load(path)
        clock = SystemClock()
        with preflight.scratch_calendars(config, clock) as calendars:
            if found := preflight.mistakes(config, calendars):
                raise ConfigError(str(path), found)
            notes = preflight.notes(config, path.parent.resolve(), calendars, clock.now())
    except ConfigError as error:
        print(error)
        return 2
    for note in notes:
        print(f"{path}: note: {note.place}: {note.text}")
    counts = [
        f"{len(entries)} {one if len(entries) == 1 else more}"
        for one, more, entries in (
            ("task", "tasks", config.tasks),
            ("feed", "feeds", config.feeds),
            ("strategy", "strategies", config.strategies),
        )
    ]
    print(f"{path}: well: {', '.join(counts)}")
    return 0
