"""`quant-exporter alerts`: what fired, who was notified, who acknowledged."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.alerts.timeline import LIMIT, Incident, Timeline, read_timeline
from exporter.cli.try_receivers import try_receivers
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.state import State, StateError
from exporter.util.clock import Clock, SystemClock
from exporter.util.units import format_duration, parse_duration


def alerts(
    path: Path,
    *,
    since: str,
    as_json: bool,
    action: str | None = None,
    clock: Clock | None = None,
) -> int:
    """The incidents since then, from the state file; works while no exporter runs. With the
    `action` test, a trial through every receiver."""
    clock = clock or SystemClock()
    if action == "test":
        return try_receivers(path, clock)

    def show(config: Config) -> int:
        try:
            seconds = parse_duration(since)
        except ValueError as error:
            complain(f"--since: {error}")
            return 2
        limit = sys.maxsize if as_json else LIMIT
        try:
            found = asyncio.run(_timeline(config, clock, seconds, limit))
        except StateError as error:
            complain(error)
            return 1
        incidents = found.incidents
        if as_json:
            print(json.dumps([incident.as_json() for incident in incidents], indent=2))
            return 0
        if found.older:
            print(f"{found.older} older ones are left out; --json shows all")
        if not incidents:
            print(f"no alert fired in the last {format_duration(seconds)}")
        zone = ZoneInfo(config.timezone)
        for incident in incidents:
            print(as_text(incident, zone))
        for integration, attempts in sorted(found.failed.items()):
            print(f"{integration}: {attempts:g} failed delivery attempts")
        if found.unreadable:
            print(f"{found.unreadable} journal rows are not readable and were left out")
        return 0

    return with_config(path, show, tolerant=True)


async def _timeline(config: Config, clock: Clock, seconds: float, limit: int) -> Timeline:
    state = State.open(config.state, clock, writer=False)
    try:
        return await read_timeline(state, clock.now() - seconds, limit=limit)
    finally:
        await state.close()


def as_text(incident: Incident, zone: ZoneInfo) -> str:
    """A few lines for people; times in `zone`."""

    def when(at: float) -> str:
        return f"{datetime.fromtimestamp(at, zone):%a %H:%M:%S}"

    name = incident.labels["alertname"]
    about = " ".join(
        f"{label}={value}"
        for label, value in sorted(incident.labels.items())
        if label not in ("alertname", "severity", "job")
    )
    severity = incident.labels.get("severity", "none").upper()
    lines = [
        f"{when(incident.started_at)}  {severity} {name}  {about}",
        f"  {incident.description}",
    ]
    reached = list(incident.reached())
    told = ", ".join(
        f"{receiver} {when(at)}" + (" (arrival unknown)" if arrived is None else "")
        for receiver, at, arrived in reached
        if arrived is not False
    )
    lines.append(f"  told: {told or 'nobody' + (f', {incident.muted}' if incident.muted else '')}")
    if refused := incident.refused():
        lines.append(f"  not delivered: {', '.join(refused)}")
    for at, by, comment in incident.acknowledged:
        lines.append(f"  acknowledged: {when(at)} by {by}" + (f": {comment}" if comment else ""))
    if incident.escalated_at:
        lines.append(f"  escalated: {when(incident.escalated_at)}")
    if incident.resolved_at is None:
        lines.append("  still firing, as far as the journal knows")
    else:
        lasted = format_duration(incident.resolved_at - incident.started_at)
        lines.append(f"  over: {when(incident.resolved_at)}, after {lasted}")
    return "\n".join(lines)
