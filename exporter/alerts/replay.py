"""A backtest for alerts: what the rules would have fired on Prometheus' history.

Each expression is asked over the whole time at the interval of rule evaluation, and the answer goes
through the same states as in Prometheus (``for``, ``keep_firing_for``; rules/alerting.go). Rules
hold what fired while their exporter cannot be read by looking at ``ALERTS``; that is history's,
not the replay's, so it is taken out and done here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from exporter.alerts.limits import Change
from exporter.alerts.servers import Servers
from exporter.units import parse_duration

MAX_POINTS = 10_000
"""Prometheus answers 11 000 points a series at the most."""
GONE = "up unless on (job, instance) quant_exporter_build_info"
NIGHT = (22, 7)
_LATCH = re.compile(r"ALERTS\{")

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Rule:
    """An alert rule; times in seconds."""

    name: str
    expression: str
    pending: float
    hold: float
    severity: str | None
    latches: bool


@dataclass(frozen=True)
class Fired:
    """One alert from its first firing evaluation to the first that found it over."""

    name: str
    labels: Mapping[str, str]
    start: float
    end: float

    @property
    def severity(self) -> str:
        """Its tier."""
        return self.labels.get("severity", "none")


def read_rules(files: Iterable[Path]) -> list[Rule]:
    """All alert rules but the watchdog. Raises :class:`ValueError`, :class:`OSError`."""
    rules = []
    for file in files:
        try:
            groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
            rules += [_rule(r) for group in groups for r in group["rules"] if "alert" in r]
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is no rule file: {error}") from error
    return [rule for rule in rules if rule.name != "QuantWatchdog"]


def _rule(rule: Mapping[str, Any]) -> Rule:
    # A severity that is a template says the tier after the quiet first week last.
    words = re.sub(r"\{\{.*?\}\}", " ", rule.get("labels", {}).get("severity", ""), flags=re.DOTALL)
    return Rule(
        rule["alert"],
        _LATCH.sub('ALERTS{replay="takes this out",', rule["expr"]),
        parse_duration(rule.get("for", "0s")),
        parse_duration(rule.get("keep_firing_for", "0s")),
        words.split()[-1] if words.split() else None,
        "ALERTS{" in rule["expr"],
    )


def with_limits(rules: Iterable[Rule], changes: Sequence[Change]) -> list[Rule]:
    """The rules as they would be with other limits."""
    changed = []
    for rule in rules:
        expression = rule.expression
        for change in changes:
            expression = change.apply(expression)
        changed.append(replace(rule, expression=expression))
    return changed


async def history(
    servers: Servers, query: str, start: float, end: float, step: float
) -> dict[Labels, set[int]]:
    """At which steps from `start` each label set was in the answer. Raises ServerError."""
    found: dict[Labels, set[int]] = {}
    first = start
    while first <= end:
        last = min(end, first + step * (MAX_POINTS - 1))
        for series in await servers.query_range(query, first, last, step):
            labels = frozenset((n, v) for n, v in series["metric"].items() if n != "__name__")
            steps = found.setdefault(labels, set())
            steps.update(round((float(at) - start) / step) for at, _ in series["values"])
        first = last + step
    return found


def run_states(rule: Rule, true: set[int], gone: set[int], steps: int, step: float) -> list[range]:
    """The steps at which one alert fires, as Prometheus would have it."""
    fired = []
    pending_since = firing_since = quiet_since = None
    for now in range(steps):
        if now in true:
            quiet_since = None
            pending_since = now if pending_since is None else pending_since
            if firing_since is None and (now - pending_since) * step >= rule.pending:
                firing_since = now
        elif firing_since is None:
            pending_since = None
        elif rule.latches and now in gone:
            quiet_since = None
        else:
            quiet_since = now if quiet_since is None else quiet_since
            if (now - quiet_since) * step >= rule.hold:
                fired.append(range(firing_since, now))
                pending_since = firing_since = quiet_since = None
    if firing_since is not None:
        fired.append(range(firing_since, steps))
    return fired


async def replay(
    servers: Servers, rules: Iterable[Rule], start: float, end: float, step: float
) -> list[Fired]:
    """What would have fired, oldest first. Raises :class:`..servers.ServerError`."""
    steps = int((end - start) // step) + 1
    gone = await history(servers, GONE, start, end, step)
    fired = []
    for rule in rules:
        answer = await history(servers, rule.expression, start, end, step)
        for labels, true in answer.items():
            whole = dict(labels) | ({"severity": rule.severity} if rule.severity else {})
            away = {s for other, at in gone.items() if _same_exporter(other, whole) for s in at}
            fired += [
                Fired(rule.name, whole, start + r.start * step, start + r.stop * step)
                for r in run_states(rule, true, away, steps, step)
            ]
    return sorted(fired, key=lambda one: one.start)


def _same_exporter(one: Labels, labels: Mapping[str, str]) -> bool:
    return all(dict(one).get(n) == labels.get(n) for n in ("job", "instance"))


async def really(
    servers: Servers, names: Iterable[str], start: float, end: float, step: float
) -> list[Fired]:
    """What Prometheus says did fire."""
    query = f'ALERTS{{alertstate="firing",alertname=~"{"|".join(sorted(set(names)))}"}}'
    fired = []
    for labels, steps in (await history(servers, query, start, end, step)).items():
        whole = {n: v for n, v in labels if n not in ("alertstate", "alertname")}
        name = dict(labels)["alertname"]
        begun = None
        for now in sorted(steps):
            begun = now if begun is None else begun
            if now + 1 not in steps:
                fired.append(Fired(name, whole, start + begun * step, start + (now + 1) * step))
                begun = None
    return sorted(fired, key=lambda one: one.start)


def nights(fired: Iterable[Fired], zone: ZoneInfo) -> int:
    """Nights (22 to 7 in `zone`) in which a critical alert began."""
    found = set()
    for one in fired:
        at = datetime.fromtimestamp(one.start, zone)
        if one.severity == "critical" and (at.hour >= NIGHT[0] or at.hour < NIGHT[1]):
            found.add((at - timedelta(hours=12)).date())
    return len(found)


def longest_gap(fired: Sequence[Fired], start: float, end: float) -> float:
    """The longest time without a new alert, in seconds."""
    moments = [start, *(one.start for one in fired), end]
    return max(b - a for a, b in itertools.pairwise(moments))
