"""What the state file knows of the tasks while no exporter runs. It is read, never written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from exporter.alerts.first_notice import first_notice
from exporter.calendars.closed_days import kept_days
from exporter.calendars.loader import Calendars
from exporter.config import Config
from exporter.config.exchanges import make_calendars
from exporter.config.paths import cache_folder
from exporter.scheduling.forecast import Forecast, Plan
from exporter.state import State, TaskState
from exporter.util.clock import Clock
from exporter.web.tasks_view import newest_block, row


class _Known:
    """State, with a blank for each task that it has never seen."""

    def __init__(self, state: State, config: Config) -> None:
        self.tasks = {name: state.tasks.get(name) or TaskState() for name in config.tasks}
        self.pause_all_until = state.pause_all_until


def loaded_calendars(config: Config, state: State | None, clock: Clock) -> Calendars:
    """Those that the config names, with the days that `closed` keeps in state. Raises
    :class:`CalendarError`."""
    calendars = make_calendars(config, clock, cache_folder(config))
    asyncio.run(calendars.load(config.exchanges_in_use))
    if state is not None:
        calendars.close(kept_days(state))
    return calendars


def tasks_at_rest(config: Config, folder: Path, clock: Clock) -> list[dict[str, Any]]:
    """Rows as `GET /api/v1/tasks` has them; slots are those that an exporter would keep. `folder`
    is that of the config.

    Raises :class:`exporter.state.StateError` when there is no state to read, and
    :class:`exporter.calendars.loader.CalendarError`.
    """
    state = State.open(config.state, clock, writer=False)
    known = _Known(state, config)
    calendars = loaded_calendars(config, state, clock)
    forecast = Forecast(known, calendars, clock)
    plans = {name: Plan.of(name, task, config.timezone) for name, task in config.tasks.items()}
    forecast.apply(plans, config.exchanges_in_use)
    now = clock.now()
    rows = []
    for name, task in config.tasks.items():
        rows.append(
            row(
                name,
                task,
                known.tasks[name],
                next_slot=forecast.next_slot(name),
                deadline=forecast.deadline(name),
                paused_until=forecast.paused_until(name),
                skipped_today=forecast.skipped_today(name),
                held_back=newest_block(state, name),
                notice=first_notice(config, folder, task, forecast.next_slot(name), now),
                running=False,
                now=now,
            )
        )
    return rows
