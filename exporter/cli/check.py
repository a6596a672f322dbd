"""``quant-exporter check``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from exporter.cli.text_table import print_table
from exporter.config import Config, ConfigError, Mistake, load
from exporter.runtime import preflight
from exporter.runtime.advice import advice, first_notices
from exporter.util.clock import SystemClock


def check(path: Path, *, as_json: bool = False) -> int:
    """Every mistake of the config, one a line; then what is not there on this machine. Offline."""
    try:
        config, notes, notices = checked(path)
    except ConfigError as error:
        print(_as_json(path, error.mistakes, [], None, None) if as_json else error)
        return 2
    if as_json:
        print(_as_json(path, [], notes, config, notices))
        return 0
    for note in notes:
        print(f"{path}: note: {note.place}: {note.text}")
    print_notices(f"{path}: ", notices)
    counts = [
        f"{len(entries)} {one if len(entries) == 1 else more}"
        for one, more, entries in (
            ("task", "tasks", config.tasks),
            ("feed", "feeds", config.feeds),
            ("strategy", "strategies", config.strategies),
        )
    ]
    print(f"{path}: ok: {', '.join(counts)}")
    return 0


def print_notices(before: str, notices: Mapping[str, str]) -> None:
    """Who hears of a task that fails, a line a task."""
    if notices:
        print(f"{before}who hears of it when a task's next run fails or is late:")
        print_table([("", f"{name}:", text) for name, text in notices.items()])


def checked(path: Path) -> tuple[Config, list[Mistake], dict[str, str]]:
    """The config, what this machine lacks and what else is notable, and who hears of each task.
    Raises :class:`ConfigError`."""
    config, clock = load(path), SystemClock()
    with preflight.scratch_calendars(config, clock) as calendars:
        if mistakes := preflight.mistakes(config, calendars):
            raise ConfigError(str(path), mistakes)
        folder, now = path.parent.resolve(), clock.now()
        notes = preflight.notes(config, folder, calendars, now)
        notes += advice(config, folder, calendars, now)
        return config, notes, first_notices(config, folder, calendars, now)


def _as_json(
    path: Path,
    mistakes: list[Mistake],
    notes: list[Mistake],
    config: Config | None,
    notices: dict[str, str] | None,
) -> str:
    return json.dumps(
        {
            "file": str(path),
            "ok": not mistakes,
            "mistakes": [{"place": one.place, "text": one.text} for one in mistakes],
            "notes": [{"place": one.place, "text": one.text} for one in notes],
            "notices": notices,
            "tasks": sorted(config.tasks) if config else None,
            "feeds": sorted(config.feeds) if config else None,
            "strategies": sorted(config.strategies) if config else None,
        },
        indent=2,
    )
