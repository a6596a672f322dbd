"""What `alerts`, `ack` and `replay` do. All print for people and return the exit code."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from exporter.alerts.api_clients import ServerError, Servers
from exporter.alerts.replay import engine as replaying
from exporter.alerts.replay import what_if as limits
from exporter.alerts.replay.rules import Rule, read_rules, with_limits
from exporter.alerts.replay.summary import longest_gap, nights
from exporter.alerts.timeline import Story, tell
from exporter.cli import client
from exporter.config import Config, ConfigError, load_what_is_right
from exporter.state import State, StateError
from exporter.util.clock import Clock, SystemClock
from exporter.util.shipped import shipped
from exporter.util.units import format_duration, parse_duration


def _with_config(path: Path, call: Callable[[Config], int]) -> int:
    try:
        config, wrong = load_what_is_right(path)
        if wrong:
            print(
                f"{wrong}\n{path} has mistakes; going on with what is right in it", file=sys.stderr
            )
        return call(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (client.NotRunningError, client.RequestRefusedError, StateError) as error:
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
    lines.append(f"  told: {told or 'nobody' + (f', {story.muted}' if story.muted else '')}")
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


def replay(
    path: Path,
    files: list[Path] | None,
    *,
    since: str,
    step: str,
    changes: list[str],
    recorded: bool,
    as_json: bool,
) -> int:
    """What the rules would have fired, with today's or other limits, beside what really did."""
    try:
        wanted = [limits.parse(change) for change in changes]
        rules = with_limits(read_rules(files or _rules_next_to(path)), wanted)
        seconds, every = parse_duration(since), parse_duration(step)
        if not rules or every <= 0:
            raise ValueError("no alert rule in these files" if not rules else "--step is above 0")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2

    def ask(config: Config) -> int:
        end = SystemClock().now()
        span = (end - seconds, end)
        return asyncio.run(_replay(config, rules, span, every, recorded=recorded, as_json=as_json))

    try:
        return _with_config(path, ask)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1


def _rules_next_to(path: Path) -> list[Path]:
    own = sorted((path.parent / "prometheus/rules").glob("*.yml"))
    return own or sorted(shipped("prometheus/rules").glob("*.yml"))


async def _replay(
    config: Config,
    rules: list[Rule],
    span: tuple[float, float],
    step: float,
    *,
    recorded: bool,
    as_json: bool,
) -> int:
    async with aiohttp.ClientSession() as session:
        servers = Servers(session, lambda: config.alertmanager_url, lambda: config.prometheus_url)
        if not recorded and await replaying.limits_are_known(servers, span[1]):
            rules = with_limits(rules, [limits.Today(span[1])])
        fired = await replaying.replay(servers, rules, *span, step)
        really = await replaying.really(servers, [rule.name for rule in rules], *span, step)
    zone = ZoneInfo(config.timezone)
    if as_json:
        print(json.dumps([asdict(one) for one in fired], indent=2))
        return 0
    weeks = (span[1] - span[0]) / (7 * 86400)
    print(f"{'ALERT':28}{'TIER':10}{'A WEEK':>8}{'WOULD':>8}{'DID':>6}")
    for name, tier in sorted({(one.name, one.severity) for one in [*fired, *really]}):
        would = sum((one.name, one.severity) == (name, tier) for one in fired)
        did = sum((one.name, one.severity) == (name, tier) for one in really)
        print(f"{name:28}{tier:10}{would / weeks:>8.1f}{would:>8}{did:>6}")
    disturbed, false = nights(fired, zone)
    print(f"nights with a page: {disturbed}, false nights (over by itself by 07:00): {false}")
    print(f"longest gap: {format_duration(longest_gap(fired, *span))}")
    print("Muting by inhibition, silences and quiet hours comes after this and is not counted.")
    return 0
