"""``quant-exporter check``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.alerts.undelivered import read_undelivered
from exporter.cli.progress import show_count, working
from exporter.cli.text_table import print_table, schedule_text
from exporter.config import Config, ConfigError, Mistake, load
from exporter.runtime import preflight
from exporter.runtime.advice import advice, first_notices, long_pauses
from exporter.runtime.online_check import ask_servers, ask_sources
from exporter.runtime.schedule_preview import SchedulePreview, schedule_preview
from exporter.runtime.service_check import service_notes
from exporter.runtime.suggestions import suggested_limits
from exporter.state import State, StateError
from exporter.util.clock import Clock, SystemClock


@dataclass(frozen=True)
class Checked:
    """A config without mistakes, and what there is to say about it."""

    config: Config
    notes: list[Mistake]
    notices: dict[str, str]
    """By task, who is notified of its failure, and when."""
    suggested: dict[str, str]
    """By task, limits that its history suggests."""
    schedules: list[SchedulePreview]
    """What each task's schedule means."""


def check(
    path: Path, *, as_json: bool = False, online: bool = False, secrets_elsewhere: bool = False
) -> int:
    """Every mistake of the config, one a line; else what is not there on this machine, and what
    each schedule means. Offline, unless `online` asks each source for the symbols of its feeds, and
    Prometheus and Alertmanager whether what fires reaches anybody."""
    failed: list[Mistake] = []
    try:
        found = checked(path, secrets_elsewhere=secrets_elsewhere)
        if online:
            # What it logs on the way, the lines below say.
            logging.getLogger("exporter").addHandler(logging.NullHandler())
            with working("asking the sources for their symbols"):
                unknown, failed = asyncio.run(ask_sources(found.config, SystemClock()))
            folder = path.parent.resolve()
            found.notes.extend(asyncio.run(ask_servers(found.config, folder, SystemClock())))
            if unknown or failed:
                raise ConfigError(str(path), unknown + failed)
    except ConfigError as error:
        print(_as_json(path, error.mistakes, None) if as_json else error)
        return 1 if error.mistakes == failed else 2
    if as_json:
        print(_as_json(path, [], found))
        return 0
    for note in found.notes:
        print(f"{path}: note: {note.place}: {note.text}")
    _print_schedules(path, found)
    print_notices(f"{path}: ", found.notices)
    if found.suggested:
        print(f"{path}: limits that you could add, so that too few items or a slow run warns:")
        print_table([("", f"{name}:", text) for name, text in found.suggested.items()])
    counts = [
        f"{len(entries)} {one if len(entries) == 1 else more}"
        for one, more, entries in (
            ("task", "tasks", found.config.tasks),
            ("feed", "feeds", found.config.feeds),
            ("strategy", "strategies", found.config.strategies),
        )
    ]
    print(f"{path}: ok: {', '.join(counts)}")
    return 0


def _print_schedules(path: Path, found: Checked) -> None:
    if found.schedules:
        zone = ZoneInfo(found.config.timezone)
        print(f"{path}: what each schedule means, and its next slots:")
        print_table([("", f"{one.task}:", schedule_text(one, zone)) for one in found.schedules])


def print_notices(before: str, notices: Mapping[str, str]) -> None:
    """Who is notified of a task that fails, one line per task."""
    if notices:
        print(
            f"{before}who is notified when a task's next run fails or is late, where Alertmanager "
            "has these channels (`quant-exporter alerts test` tries them):"
        )
        print_table([("", f"{name}:", text) for name, text in notices.items()])


def checked(path: Path, *, secrets_elsewhere: bool = False) -> Checked:
    """Read and check the config. Raises :class:`ConfigError`."""
    config, clock = load(path), SystemClock()
    calendars = preflight.calendars_to_check_with(
        config, clock, partial(show_count, "calendars built")
    )
    mistakes, keys = preflight.mistakes(config, calendars), [*preflight.missing_keys(config)]
    if mistakes or (keys and not secrets_elsewhere):
        raise ConfigError(str(path), mistakes + ([] if secrets_elsewhere else keys))
    folder, now = path.parent.resolve(), clock.now()
    notes = keys + preflight.notes(config, folder, calendars, now)
    notes += advice(config, folder, calendars, now)
    notes += service_notes(config)
    notices = first_notices(config, folder, calendars, now)
    schedules = [schedule_preview(config, name, calendars, now) for name in config.tasks]
    notes += asyncio.run(_by_the_state(config, clock))
    return Checked(config, notes, notices, suggested_limits(config, clock), schedules)


async def _by_the_state(config: Config, clock: Clock) -> list[Mistake]:
    """Whom no alert reached lately, by the journal, and what is paused for very long; nothing where
    no exporter has run yet."""
    if not config.state.is_file():
        return []
    zone, now = ZoneInfo(config.timezone), clock.now()
    try:
        state = await asyncio.to_thread(State.open, config.state, clock, writer=False)
        try:
            paused = {n: t.paused_until for n, t in state.tasks.items() if n in config.tasks}
            paused[""] = state.pause_all_until
            ends = {name: until for name, until in paused.items() if until is not None}
            found = [Mistake("alerts", text) for text in await read_undelivered(state, now, zone)]
            return [*found, *long_pauses(ends, now, zone)]
        finally:
            await state.close()
    except StateError:
        return []


def _as_json(path: Path, mistakes: Sequence[Mistake], found: Checked | None) -> str:
    config, notes = (found.config, found.notes) if found else (None, [])
    return json.dumps(
        {
            "file": str(path),
            "ok": not mistakes,
            "mistakes": [{"place": one.place, "text": one.text} for one in mistakes],
            "notes": [{"place": one.place, "text": one.text} for one in notes],
            "notices": found.notices if found else None,
            "suggested_limits": found.suggested if found else None,
            "schedules": {
                one.task: {"words": one.words, "next_slots": one.slots} for one in found.schedules
            }
            if found
            else None,
            "tasks": sorted(config.tasks) if config else None,
            "feeds": sorted(config.feeds) if config else None,
            "strategies": sorted(config.strategies) if config else None,
        },
        indent=2,
    )
