"""What each command does, apart from `run`. All print for people and return the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from exporter.cli import client
from exporter.config import Config, ConfigError, load, load_what_is_right
from exporter.util.clock import Clock, SystemClock
from exporter.util.units import format_duration


def _with_config(path: Path, call: Callable[[Config], int], *, in_need: bool = False) -> int:
    """Run `call` with the config; 2 when it is bad, 1 with a sentence when it fails. What must also
    work while the file is being mended takes, `in_need`, what is right in it."""
    try:
        config, wrong = load_what_is_right(path) if in_need else (load(path), None)
    except ConfigError as error:
        _complain(error)
        return 2
    if wrong:
        _complain(f"{wrong}\n{path} has mistakes; going on with what is right in it")
    try:
        return call(config)
    except client.NotRunningError as error:
        _complain(error)
        return 1
    except client.RefusedError as error:
        _complain(error)
        return 2 if error.wrong_use else 1


def _complain(text: object) -> None:
    print(text, file=sys.stderr)


def check(path: Path) -> int:
    """Every mistake of the config, one a line; then what is not there on this machine. Offline."""
    from exporter.runtime import preflight as checking

    try:
        config = load(path)
        clock = SystemClock()
        with checking.scratch_calendars(config, clock) as calendars:
            if found := checking.mistakes(config, calendars):
                raise ConfigError(str(path), found)
            notes = checking.notes(config, path.parent.resolve(), calendars, clock.now())
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


def reload(path: Path) -> int:
    """Have the running exporter take the file."""

    def ask(config: Config) -> int:
        client.call(config, "POST", "/-/reload")
        print("the new config was taken")
        return 0

    return _with_config(path, ask)


def tasks(path: Path, *, as_json: bool) -> int:
    """A table of all tasks: from the running exporter, or else from its state file."""

    def show(config: Config) -> int:
        try:
            found = client.call(config, "GET", "/api/v1/tasks")["tasks"]
        except client.NotRunningError as error:
            found = _at_rest(config)
            if found is None:
                raise
            _complain(f"{error}. Until then, what its state file knows:")
        if as_json:
            print(json.dumps(found, indent=2))
            return 0
        zone = ZoneInfo(config.timezone)
        rows: list[tuple[str, ...]] = [("TASK", "STATE", "LAST", "ENDED", "NEXT", "SCHEDULE")]
        for task in found:
            rows.append(
                (
                    task["name"],
                    task["state"],
                    task["last_outcome"] or "–",
                    _moment(task["last_end"], zone),
                    _moment(task["next_slot"], zone),
                    task["schedule"],
                )
            )
        _print_table(rows)
        return 0

    return _with_config(path, show, in_need=True)


def _at_rest(config: Config) -> list[dict[str, Any]] | None:
    from exporter.calendars.loader import CalendarError
    from exporter.cli.offline_tasks import tasks_at_rest
    from exporter.state import StateError

    try:
        return tasks_at_rest(config, SystemClock())
    except (CalendarError, StateError, OSError):
        return None


def _moment(at: float | None, zone: ZoneInfo) -> str:
    if at is None:
        return "–"
    return f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M %Z}"


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def run_task(path: Path, name: str, *, wait: bool) -> int:
    """Ask the running exporter to run a task now; its outcome is the exit code."""

    def ask(config: Config) -> int:
        run_id = client.call(config, "POST", f"/api/v1/tasks/{name}/run")["run_id"]
        if not wait:
            print(f"{name}: started as run {run_id}")
            return 0
        while True:
            run = _run_of(config, name, run_id)
            if run and run["outcome"]:
                break
            time.sleep(0.2)
        took = format_duration(run["ended_at"] - run["started_at"])
        print(f"{name}: {run['outcome']} after {took}" + _items(run["items"]))
        if run["error"]:
            print(run["error"])
        return 0 if run["outcome"] == "success" else 1

    return _with_config(path, ask, in_need=True)


def _run_of(config: Config, name: str, run_id: str) -> dict[str, Any] | None:
    answer = client.call(config, "GET", f"/api/v1/tasks/{name}/runs/{run_id}")
    return answer if isinstance(answer, dict) else None


def _items(items: float | None) -> str:
    return "" if items is None else f", {items:g} items"


def pause(path: Path, task: str | None, *, duration: str | None, until: str | None) -> int:
    """Pause one task, or all."""

    def ask(config: Config) -> int:
        body = {"task": task, **({"for": duration} if duration else {"until": until})}
        answer = client.call(config, "POST", "/api/v1/pause", body)
        zone = ZoneInfo(config.timezone)
        print(f"{task or 'all tasks'}: paused until {_moment(answer['until'], zone)}")
        return 0

    return _with_config(path, ask, in_need=True)


def resume(path: Path, task: str | None) -> int:
    """End the pause of one task, or of all."""

    def ask(config: Config) -> int:
        client.call(config, "POST", "/api/v1/resume", {"task": task})
        print(f"{task or 'all tasks'}: no longer paused")
        return 0

    return _with_config(path, ask, in_need=True)


def simulate(
    listen: str, *, seed: int, key: str, requests_per_minute: int, now: str | None, speed: float
) -> int:
    """A TickDB-speaking server until Ctrl-C."""
    from exporter.calendars.loader import Calendars
    from exporter.simulator.clocks import MovedClock
    from exporter.simulator.tickdb_server import serve

    host, _, port = listen.rpartition(":")
    clock: Clock = SystemClock()
    try:
        start = datetime.fromisoformat(now).timestamp() if now else clock.now()
        if not port.isdigit() or speed <= 0:
            raise ValueError("--listen is host:port, --speed is above 0")
    except ValueError as error:
        _complain(error)
        return 2
    if now or speed != 1:
        clock = MovedClock(clock, start, speed)

    def started(url: str) -> None:
        print(f"TickDB is simulated at {url}, faults at {url[:-3]}/control/faults", flush=True)

    async def run() -> None:
        if me := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
        with tempfile.TemporaryDirectory() as cache, contextlib.suppress(asyncio.CancelledError):
            await serve(
                host, int(port), calendars=Calendars(Path(cache), {}, clock), clock=clock,
                seed=seed, api_key=key, requests_per_minute=requests_per_minute, started=started,
            )  # fmt: skip

    try:
        asyncio.run(run())
    except OSError as error:
        _complain(f"cannot listen on {listen}: {error.strerror or error}")
        return 1
    return 0


def sinks(listen: str, smtp_port: int) -> int:
    """Stand-ins for Slack, PagerDuty, mail and a dead-man service until Ctrl-C."""
    from exporter.demo.sinks import serve

    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        _complain("--listen is host:port")
        return 2
    try:
        asyncio.run(serve(host, int(port), smtp_port, SystemClock()))
    except OSError as error:
        _complain(f"cannot listen on {listen}: {error.strerror or error}")
        return 1
    return 0


def digest(
    path: Path,
    *,
    day: str | None,
    since: str | None,
    format: Literal["md", "html", "json"],  # noqa: A002 - as the option is called
    keep: bool,
) -> int:
    """What the logs of a day, or of the time since, say; with what is due the day after."""
    from exporter.calendars.loader import CalendarError, Calendars
    from exporter.cli import digest as command
    from exporter.config.paths import cache_folder
    from exporter.logs.digest.facts import Due
    from exporter.state import State, StateError
    from exporter.tasks.builtin.log_review import due_between, strategies_on

    def call(config: Config) -> int:
        clock = SystemClock()
        calendars = Calendars(cache_folder(config), config.calendar_overrides, clock)

        def due(start: float, end: float) -> tuple[Due, ...]:
            try:
                asyncio.run(calendars.load(config.exchanges))
            except (CalendarError, OSError) as error:
                _complain(f"what is due tomorrow is not known: {error}")
                return ()
            return due_between(config, calendars.get, start, end)

        def strategies(at: float) -> dict[str, dict[str, Any]]:
            try:
                kept = State.open(config.state, clock, writer=False).kept("strategy")
            except StateError:  # no exporter has run here yet, or its file is not for us to read
                return {}
            return strategies_on(config, kept, at)

        return command.main(
            config, day=day, since=since, format=format, keep=keep, due=due,
            strategies=strategies, clock=clock,
        )  # fmt: skip

    return _with_config(path, call, in_need=True)


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
    from exporter.cli import logs as ask

    def call(config: Config) -> int:
        return ask.main(
            config, task=task, run=run, level=level, since=since, follow=follow, as_json=as_json
        )

    return _with_config(path, call, in_need=True)
