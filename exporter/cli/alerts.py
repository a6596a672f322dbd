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

from exporter.alerts.api_clients import PrometheusClient, ServerError
from exporter.alerts.replay import engine, what_if
from exporter.alerts.replay.rules import Rule, read_rules, with_limits
from exporter.alerts.replay.summary import longest_gap, nights
from exporter.alerts.timeline import LIMIT, Incident, Timeline, read_timeline
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
            print(f"{wrong}\n{path} has errors; going on with its valid parts", file=sys.stderr)
        return call(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (client.NotRunningError, client.RequestRefusedError, StateError) as error:
        print(error, file=sys.stderr)
        return 1


def alerts(path: Path, *, since: str, as_json: bool, clock: Clock | None = None) -> int:
    """The incidents since then, from the state file; works while no exporter runs."""
    clock = clock or SystemClock()

    def show(config: Config) -> int:
        try:
            seconds = parse_duration(since)
        except ValueError as error:
            print(f"--since: {error}", file=sys.stderr)
            return 2
        limit = sys.maxsize if as_json else LIMIT
        found = asyncio.run(_timeline(config, clock, seconds, limit))
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

    return _with_config(path, show)


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
    first: dict[str, float] = {}
    failed: dict[str, None] = {}
    for number, (at, receiver) in enumerate(incident.notified):
        if incident.arrived.get(number) is False:
            failed[receiver] = None
        else:
            first.setdefault(receiver, at)
    told = ", ".join(f"{receiver} {when(at)}" for receiver, at in first.items())
    lines.append(f"  told: {told or 'nobody' + (f', {incident.muted}' if incident.muted else '')}")
    if undelivered := [receiver for receiver in failed if receiver not in first]:
        lines.append(f"  not delivered: {', '.join(undelivered)}")
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


def ack(path: Path, alert: str, pairs: list[str], *, duration: str, message: str) -> int:
    """Acknowledge what fires with that name and those labels."""
    labels: dict[str, str] = {"alertname": alert}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            print(
                f"invalid label {pair!r}: write NAME=VALUE, for example task=rebalance",
                file=sys.stderr,
            )
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
    """What the rules would have fired, with today's or other limits, next to what fired."""
    try:
        wanted = [what_if.parse(change) for change in changes]
        rules = with_limits(read_rules(files or _rules_next_to(path)), wanted)
        seconds, every = parse_duration(since), parse_duration(step)
        if not rules or every <= 0:
            raise ValueError(
                "no alert rule in these files" if not rules else "--step must be longer than 0s"
            )
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
        prometheus = PrometheusClient(session, lambda: config.prometheus_url)
        if not recorded and await engine.limits_are_known(prometheus, span[1]):
            rules = with_limits(rules, [what_if.LimitsAt(span[1])])
        fired = await engine.replay(prometheus, rules, *span, step)
        really = await engine.really(prometheus, [rule.name for rule in rules], *span, step)
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
    print(f"nights with a page: {disturbed}, of these over without you by 07:00: {false}")
    print(f"longest gap: {format_duration(longest_gap(fired, *span))}")
    print("Inhibition, silences and quiet hours come after this and are not counted.")
    return 0
