"""`quant-exporter replay`: a backtest for alerts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp

from exporter.alerts.api_clients import PrometheusClient, ServerError
from exporter.alerts.replay import engine, what_if
from exporter.alerts.replay.rules import Rule, read_rules, with_limits
from exporter.alerts.replay.summary import longest_gap, nights
from exporter.cli.progress import working
from exporter.cli.text_table import moment
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.limits.dry_run import WouldAct, dry_run
from exporter.util.clock import SystemClock
from exporter.util.shipped import shipped
from exporter.util.units import format_duration, parse_duration

_MOST_ACTIONS = 20


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
        complain(f"{error}. Its address is `prometheus_url` in exporter.yml")
        return 2

    def ask(config: Config) -> int:
        end = SystemClock().now()
        span = (end - seconds, end)
        with working("asking Prometheus for its history"):
            fired, really, acts = asyncio.run(
                _replay(config, rules, span, every, recorded=recorded)
            )
        if as_json:
            print(json.dumps([asdict(one) for one in fired], indent=2))
        else:
            _print_summary(fired, really, span, ZoneInfo(config.timezone))
            _print_actions(config, acts)
        return 0

    try:
        return with_config(path, ask, tolerant=True)
    except ServerError as error:
        complain(error)
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
) -> tuple[list[engine.Fired], list[engine.Fired], list[WouldAct]]:
    """What would have fired, what did, and what limits would have done."""
    async with aiohttp.ClientSession() as session:
        prometheus = PrometheusClient(session, lambda: config.prometheus_url)
        if not recorded and await engine.limits_are_known(prometheus, span[1]):
            rules = with_limits(rules, [what_if.LimitsAt(span[1])])
        fired = await engine.replay(prometheus, rules, *span, step)
        really = await engine.really(prometheus, [rule.name for rule in rules], *span, step)
        acts = await dry_run(prometheus, config, *span, step)
    return fired, really, acts


def _print_actions(config: Config, acts: list[WouldAct]) -> None:
    """What limits with `on_critical` would have done."""
    acting = [name for name, limit in config.limits.items() if limit.on_critical]
    if not acting:
        return
    zone = ZoneInfo(config.timezone)
    print(f"limits that act ({', '.join(acting)}) would have acted {len(acts)} times:")
    for act in acts[-_MOST_ACTIONS:]:
        of = f" of {act.strategy}" if act.strategy else ""
        what = "; ".join(
            [*([f"pause {', '.join(act.pause)}"] if act.pause else []),
             *([f"run {act.run}"] if act.run else [])]
        )  # fmt: skip
        print(f"  {moment(act.at, zone)}  {act.limit}{of} at {act.value:g}: {what}")


def _print_summary(
    fired: list[engine.Fired],
    really: list[engine.Fired],
    span: tuple[float, float],
    zone: ZoneInfo,
) -> None:
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
