"""What `alerts` and `ack` do. All print for people and return the exit code."""

# ruff: noqa: T201 - commands print

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter import client
from exporter.alerts.stories import Story, tell
from exporter.clock import Clock, SystemClock
from exporter.config import Config, ConfigError, load
from exporter.state import State, StateError
from exporter.units import format_duration, parse_duration


def _with_config(path: Path, call: Callable[[Config], int]) -> int:
    try:
        return call(load(path))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (client.NotRunningError, client.RefusedError, StateError) as error:
        print(error, file=sys.stderr)
        return 1


def alerts(path: Path, *, since: str, as_json: bool, clock: Clock | None = None) -> int:
    """The stories of the last while, from the state file; works while nothing runs."""
    clock = clock or SystemClock()

    def show(config: Config) -> int:
        try:
            seconds = parse_duration(since)
        except ValueError as error:
            print(f"--since: {error}", file=sys.stderr)
            return 2
        stories, failed = asyncio.run(_stories(config, clock, seconds))
        if as_json:
            print(json.dumps([story.as_json() for story in stories], indent=2))
            return 0
        if not stories:
            print(f"nothing fired in the last {format_duration(seconds)}")
        zone = ZoneInfo(config.timezone)
        for story in stories:
            print(as_text(story, zone))
        for integration, attempts in sorted(failed.items()):
            print(f"{integration}: {attempts:g} failed attempts to deliver")
        return 0

    return _with_config(path, show)


async def _stories(
    config: Config, clock: Clock, seconds: float
) -> tuple[list[Story], dict[str, float]]:
    state = State.open(config.state, clock, writer=False)
    try:
        rows = await state.journal_rows(clock.now() - seconds, limit=100_000)
    finally:
        await state.close()
    failed: dict[str, float] = {}
    for row in rows:
        if row.kind == "failed":
            name = row.fields["integration"]
            failed[name] = failed.get(name, 0.0) + row.fields["attempts"]
    return tell(rows), failed


def as_text(story: Story, zone: ZoneInfo) -> str:
    """A few lines for people; times in `zone`."""

    def when(at: float) -> str:
        return f"{datetime.fromtimestamp(at, zone):%a %H:%M:%S}"

    name = story.labels["alertname"]
    about = " ".join(
        f"{label}={value}"
        for label, value in sorted(story.labels.items())
        if label not in ("alertname", "severity", "job")
    )
    severity = story.labels.get("severity", "none").upper()
    lines = [f"{when(story.started_at)}  {severity} {name}  {about}", f"  {story.description}"]
    first: dict[str, float] = {}
    for at, receiver in story.told:
        first.setdefault(receiver, at)
    told = ", ".join(f"{receiver} {when(at)}" for receiver, at in first.items())
    lines.append(f"  told: {told or 'nobody'}")
    for at, by, comment in story.acknowledged:
        lines.append(f"  acknowledged: {when(at)} by {by}" + (f": {comment}" if comment else ""))
    if story.escalated_at:
        lines.append(f"  escalated: {when(story.escalated_at)}")
    if story.resolved_at is None:
        lines.append("  still fires, as far as the journal knows")
    else:
        lasted = format_duration(story.resolved_at - story.started_at)
        lines.append(f"  over: {when(story.resolved_at)}, after {lasted}")
    return "\n".join(lines)


def ack(path: Path, alert: str, pairs: list[str], *, duration: str, message: str) -> int:
    """Acknowledge what fires with that name and those labels."""
    labels: dict[str, str] = {"alertname": alert}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            print(f"{pair!r} is no label; write NAME=VALUE, as task=rebalance", file=sys.stderr)
            return 2
        labels[name] = value

    def ask(config: Config) -> int:
        body: dict[str, Any] = {
            "labels": labels, "for": duration, "comment": message, "by": getpass.getuser(),
        }  # fmt: skip
        answer = client.call(config, "POST", "/api/v1/ack", body)
        zone = ZoneInfo(config.timezone)
        end = datetime.fromtimestamp(answer["until"], zone)
        for found in answer["acknowledged"]:
            what = next((found[n] for n in ("strategy", "task", "feed") if n in found), "")
            print(f"{found['alertname']} {what}: acknowledged until {end:%a %H:%M %Z}")
        return 0

    return _with_config(path, ask)
