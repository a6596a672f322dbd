"""What ``check`` finds beyond the file itself: whether this machine has what the file names.

Mistakes keep the exporter from starting. Notes do not: another machine may have what is missing
here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.accounts.open_account import read_account_secrets
from exporter.calendars.loader import CalendarError, Calendars, Progress
from exporter.config import Config, Mistake, Task
from exporter.config.entry_points import find_problem
from exporter.config.exchanges import make_calendars
from exporter.config.paths import cache_folder, users_cache
from exporter.config.secret_values import SecretMissingError
from exporter.logs.tail import rotation
from exporter.messages.sender_process import secret_of
from exporter.scheduling.slots import next_slot
from exporter.sources.factory import read_secrets
from exporter.strategies import positions_file
from exporter.strategies.file import first_problem
from exporter.util.clock import Clock, iso
from exporter.util.programs import why_not_startable
from exporter.web.server import cannot_listen

_NEAR_END_SECONDS = 60 * 86400.0


def mistakes(config: Config, calendars: Calendars) -> list[Mistake]:
    """Why the exporter could not start with this file, keys apart (:func:`missing_keys`). Loads the
    calendars that it names."""
    found = [*_port(config)]
    if _seen(config.state.is_dir):
        found.append(Mistake("state", f"{config.state} is a folder; name a file, as var/state.db"))
    try:
        asyncio.run(calendars.load(config.exchanges_in_use))
    except CalendarError as error:
        for exchange, why in error.problems.items():
            text = str(CalendarError({exchange: why}))
            found += [Mistake(place, text) for place in _places_of(config, exchange)]
    return found


def notes(
    config: Config,
    folder: Path,
    calendars: Calendars,
    now: float,
    environ: Mapping[str, str] = os.environ,
) -> list[Mistake]:
    """What this machine lacks: addresses of channels, programs of tasks, which start in `folder`,
    and files to follow; tasks that will never run; and calendars that end soon. They are loaded
    already."""
    return [
        *_folders(config),
        *_channels(config, environ),
        *_programs(config, folder, environ),
        *_followed(config),
        *_strategy_files(config),
        *_accounts(config, environ),
        *_schedules(config, calendars, now),
        *_unused_overrides(config, calendars),
        *_ends(config, calendars, now),
    ]


def calendars_to_check_with(
    config: Config, clock: Clock, progress: Progress | None = None
) -> Calendars:
    """Calendars that leave nothing next to the config. What the exporter has built already is used,
    and it uses what is built here."""
    cache = cache_folder(config)
    folder = cache if _seen(cache.is_dir) else users_cache()
    return make_calendars(config, clock, folder, progress)


def _port(config: Config) -> Iterator[Mistake]:
    host, port = config.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.bind((host, port))
    except PermissionError as error:
        yield Mistake("listen", cannot_listen(config.listen, error))
    except OSError:
        return  # the exporter runs, or the address is another machine's


def _seen(looks: Callable[[], bool]) -> bool:
    """What a check of a path says; no, if this user may not look."""
    try:
        return looks()
    except PermissionError:
        return False


def _places_of(config: Config, exchange: str) -> Iterator[str]:
    for name, feed in config.feeds.items():
        if feed.exchange == exchange:
            yield f"feeds.{name}.exchange"
    for name, task in config.tasks.items():
        if task.exchange == exchange:
            yield f"tasks.{name}.exchange"
    for name, strategy in config.strategies.items():
        if strategy.exchange == exchange:
            yield f"strategies.{name}.exchange"


def missing_keys(config: Config, environ: Mapping[str, str] = os.environ) -> Iterator[Mistake]:
    """Keys of sources that are not here: the exporter does not start without them."""
    for name, source in config.sources.items():
        try:
            read_secrets(name, source, environ)
        except SecretMissingError as error:
            yield _lacking(error)


def _lacking(error: SecretMissingError) -> Mistake:
    place, _, text = str(error).partition(": ")
    return Mistake(place, text)


def _folders(config: Config) -> Iterator[Mistake]:
    folder = config.logs.directory
    if _seen(folder.exists) and not _seen(folder.is_dir):
        yield Mistake("logs.directory", f"{folder} is a file: no log is kept; name a folder")


def _channels(config: Config, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for name, channel in config.channels.items():
        try:
            secret_of(name, channel, environ)
        except SecretMissingError as error:
            yield _lacking(error)


def _programs(config: Config, folder: Path, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for name, task in config.tasks.items():
        if not task.command:
            continue
        start_in, search = folder / (task.cwd or ""), task.env.get("PATH", environ.get("PATH"))
        if why := _why_not(task.command[0], start_in, search):
            yield Mistake(f"tasks.{name}.command", why)


def _why_not(program: str, folder: Path, search: str | None) -> str | None:
    try:
        return why_not_startable(program, folder, search)
    except PermissionError:
        return f"{folder / program} cannot be seen by whoever checks: look at its folders' modes"


def _followed(config: Config) -> Iterator[Mistake]:
    for name, followed in config.logs.follow.items():
        place, path = f"logs.follow.{name}.path", followed.path
        try:
            file = rotation.current(path)
            if file is None:
                raise FileNotFoundError
            os.close(rotation.opened(file))
        except FileNotFoundError:
            text = f"there is no file {path} yet; it is read from its start once it is there"
            yield Mistake(place, text)
        except OSError as error:
            text = f"{path} cannot be read: {error.strerror}; name a file that may be read"
            yield Mistake(place, text)


def _strategy_files(config: Config) -> Iterator[Mistake]:
    for name, strategy in config.strategies.items():
        held = strategy.positions_file
        if held and (problem := positions_file.first_problem(held)):
            yield Mistake(f"strategies.{name}.positions_file", problem)
        if strategy.equity_file is None:
            continue
        problem = first_problem(strategy.equity_file, strategy, ZoneInfo(config.timezone))
        if problem:
            yield Mistake(f"strategies.{name}.equity_file", problem)


def _accounts(config: Config, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for name, strategy in config.strategies.items():
        if strategy.equity is None:
            continue
        place = f"strategies.{name}.equity"
        try:
            read_account_secrets(name, strategy.equity, environ)
        except SecretMissingError as error:
            yield _lacking(error)
        if strategy.equity.run and (problem := find_problem(strategy.equity.run, config.code)):
            yield Mistake(f"{place}.run", str(problem))
        if strategy.max_age is None:
            text = (
                "nobody hears of an account that no longer answers: give the strategy a `max_age`"
            )
            yield Mistake(place, text)


def _schedules(config: Config, calendars: Calendars, now: float) -> Iterator[Mistake]:
    for name, task in config.tasks.items():
        if task.service:
            continue
        calendar = calendars.get(task.exchange) if task.exchange else None
        if next_slot(task.timetable, ZoneInfo(config.timezone), calendar, now) is None:
            yield Mistake(f"tasks.{name}.schedule", _never(task))


def _never(task: Task) -> str:
    if task.on:
        return (
            f"`{task.schedule}` will not run any more: the days in `on` are over, or not among its "
            "days; name others, or remove the task"
        )
    return (
        f"`{task.schedule}` never meets a trading day of {task.exchange}, so it will not "
        "run; leave out `exchange`, or choose another time"
    )


def _unused_overrides(config: Config, calendars: Calendars) -> Iterator[Mistake]:
    for exchange in config.calendar_overrides:
        place = f"calendar_overrides.{exchange}"
        if exchange not in config.exchanges_in_use:
            yield Mistake(place, f"has no effect: no feed and no task uses {exchange}")
            continue
        for unused in calendars.get(exchange).unused_overrides():
            yield Mistake(f"{place}.{unused.key}", f"{unused.day} has no effect: {unused.why}")


def _ends(config: Config, calendars: Calendars, now: float) -> Iterator[Mistake]:
    for exchange in config.exchanges_in_use:
        end = calendars.get(exchange).end
        if end - now < _NEAR_END_SECONDS:
            place = next(_places_of(config, exchange))
            yield Mistake(
                place,
                f"the calendar of {exchange} ends {iso(end)[:10]}: weekdays count as trading days "
                f"from there; name holidays in calendar_overrides.{exchange}.closed",
            )
