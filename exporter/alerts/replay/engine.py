"""A backtest for alerts: what the rules would have fired on Prometheus' history.

Each expression is asked over the whole time at the interval of rule evaluation, and the answer goes
through the same states as in Prometheus (``for``, ``keep_firing_for``; rules/alerting.go). Rules
look at ``ALERTS`` to hold what fired while their exporter is unreachable; ``ALERTS`` is history's
and not the replay's, so that is removed and done here. Where Prometheus itself was not there,
before its first scrape or while it was down, no rule was evaluated: every state starts again after
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.alerts.api_clients import PrometheusClient, ServerError
from exporter.alerts.replay.rules import Rule
from exporter.alerts.replay.what_if import METRICS

MAX_POINTS = 5_000
"""In one answer. Prometheus gives at most 11 000 a series, and 50 million in all."""
GONE = "up unless on (job, instance) quant_exporter_build_info"
AWAKE = 'count(ALERTS{alertname="QuantWatchdog"} or up)'
"""Prometheus evaluated rules: the watchdog always fires, and something is always scraped."""
LEARNING = "max_over_time(quant_alert_learning_until_timestamp_seconds[1d]) > time()"
RESTORED = 600.0
"""Prometheus remembers over a restart what a rule with so long a `for` has seen
(--rules.alert.for-grace-period)."""

Labels = frozenset[tuple[str, str]]


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


async def history(
    prometheus: PrometheusClient, query: str, start: float, end: float, step: float
) -> dict[Labels, set[int]]:
    """At which steps from `start` each label set was in the answer. Raises ServerError."""
    found: dict[Labels, set[int]] = {}
    first = start
    while first <= end:
        last = min(end, first + step * (MAX_POINTS - 1))
        for series in await prometheus.query_range(query, first, last, step):
            labels = frozenset((n, v) for n, v in series["metric"].items() if n != "__name__")
            steps = found.setdefault(labels, set())
            steps.update(round((float(at) - start) / step) for at, _ in series["values"])
        first = last + step
    return found


def run_states(
    rule: Rule, true: set[int], gone: set[int], awake: Sequence[bool], step: float
) -> list[range]:
    """The steps at which one alert fires, as Prometheus would have it. `awake` says for each step
    whether rules were evaluated; `gone`, at which ones the alert's exporter was unreachable."""
    fired = []
    pending_since = firing_since = quiet_since = None
    for now, evaluated in enumerate(awake):
        if not evaluated:
            if firing_since is not None:
                fired.append(range(firing_since, now))
            firing_since = quiet_since = None
            pending_since = pending_since if rule.pending >= RESTORED else None
        elif now in true:
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
        fired.append(range(firing_since, len(awake)))
    return fired


async def replay(
    prometheus: PrometheusClient, rules: Sequence[Rule], start: float, end: float, step: float
) -> list[Fired]:
    """What would have fired, oldest first. Raises :class:`ServerError`."""
    # What fires at `start` began before it.
    before = max((rule.pending + rule.hold for rule in rules), default=0.0) + 60.0
    first = start - math.ceil(before / step) * step
    steps = int((end - first) // step) + 1
    seen = set().union(*(await history(prometheus, AWAKE, first, end, step)).values())
    if not seen:
        raise ServerError(
            f"{prometheus.url} has no history of that time: nothing was scraped. "
            "Check `prometheus_url` and Prometheus' retention"
        )
    awake = [now in seen for now in range(steps)]
    gone = await history(prometheus, GONE, first, end, step)
    learning = await history(prometheus, LEARNING, first, end, step)
    fired = []
    for rule in rules:
        answer = await history(prometheus, rule.expression, first, end, step)
        for labels, true in answer.items():
            away = _of_exporter(gone, labels)
            for severity, at in _by_tier(rule, labels, true, learning):
                whole = dict(labels) | ({"severity": severity} if severity else {})
                fired += [
                    Fired(
                        rule.name, whole, max(first + r.start * step, start), first + r.stop * step
                    )
                    for r in run_states(rule, at, away, awake, step)
                    if first + r.stop * step > start
                ]
    return sorted(fired, key=lambda one: one.start)


def _of_exporter(found: Mapping[Labels, set[int]], labels: Labels) -> set[int]:
    """The steps of all series that come from the exporter with these labels."""

    def exporter(of: Labels) -> list[str | None]:
        return [dict(of).get(name) for name in ("job", "instance")]

    return set().union(*(at for other, at in found.items() if exporter(other) == exporter(labels)))


def _by_tier(
    rule: Rule, labels: Labels, true: set[int], learning: Mapping[Labels, set[int]]
) -> list[tuple[str | None, set[int]]]:
    """An alert of another tier is another alert to Prometheus."""
    if rule.learning_severity is None:
        return [(rule.severity, true)]
    lower = set().union(*learning.values())
    if rule.learns_alone:
        lower = _of_exporter(learning, labels)
    tiers = ((rule.learning_severity, true & lower), (rule.severity, true - lower))
    return [(severity, at) for severity, at in tiers if at]


async def limits_are_known(prometheus: PrometheusClient, at: float) -> bool:
    """Whether the history has any limit of the day before `at`."""
    for metric in METRICS:
        if await prometheus.query_range(f"count(last_over_time({metric}[1d]))", at, at, 1.0):
            return True
    return False


async def really(
    prometheus: PrometheusClient, names: Iterable[str], start: float, end: float, step: float
) -> list[Fired]:
    """What Prometheus says did fire."""
    query = f'ALERTS{{alertstate="firing",alertname=~"{"|".join(sorted(set(names)))}"}}'
    fired = []
    for labels, steps in (await history(prometheus, query, start, end, step)).items():
        whole = {n: v for n, v in labels if n not in ("alertstate", "alertname")}
        name = dict(labels)["alertname"]
        begun = None
        for now in sorted(steps):
            begun = now if begun is None else begun
            if now + 1 not in steps:
                fired.append(Fired(name, whole, start + begun * step, start + (now + 1) * step))
                begun = None
    return sorted(fired, key=lambda one: one.start)
