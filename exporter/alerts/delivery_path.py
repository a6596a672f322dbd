"""What keeps alerts from reaching anybody, as far as Prometheus and Alertmanager tell: rules that
are not loaded, an exporter that is not scraped, routes to no channel, silences without end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exporter.alerts.alertmanager_objects import Labels, Silence, matches
from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient, ServerError
from exporter.util.clock import iso

LONG_SECONDS = 30 * 86400.0
"""A silence that lasts longer was hardly meant to end."""
TIERS = ("critical", "warning")
_SAMPLE = "QuantTaskFailing"
_MATCHER = re.compile(r'\s*"?([^"=!~]+?)"?\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*')


async def prometheus_gaps(prometheus: PrometheusClient, wanted: Sequence[str]) -> list[str]:
    """Sentences on what Prometheus lacks; `wanted` are the names of rules it should have."""
    try:
        rules, sends_to, scraped = (
            await prometheus.rule_names(),
            await prometheus.alertmanagers(),
            await prometheus.instant("quant_exporter_build_info"),
        )
    except ServerError as error:
        return [f"{error}: no alert fires while it is away"]
    found = []
    if missing := [name for name in wanted if name not in rules]:
        others = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        found.append(
            f"Prometheus has no rule {', '.join(missing[:3])}{others}, so nothing fires by it: "
            "name the files of prometheus/rules under `rule_files`"
        )
    if not sends_to:
        found.append(
            "Prometheus sends alerts to no Alertmanager: nobody is notified; name one under "
            "`alerting`"
        )
    if not scraped:
        found.append(
            "Prometheus scrapes no exporter (it has no quant_exporter_build_info): nothing fires; "
            "add it under `scrape_configs`"
        )
    return found


async def alertmanager_gaps(alertmanager: AlertmanagerClient, now: float) -> list[str]:
    """The same of Alertmanager: routes and silences."""
    try:
        route = await alertmanager.route()
        channels = await alertmanager.receivers()
        silences = await alertmanager.silences()
    except ServerError as error:
        return [f"{error}: nobody is notified while it is away"]
    reach = {name for names in channels.values() for name in names}
    return [*_without_channel(route, reach), *_for_ever(silences, now)]


def _without_channel(route: Mapping[str, Any], channels: set[str]) -> Iterator[str]:
    for tier in TIERS:
        labels = {"alertname": _SAMPLE, "severity": tier, "job": "quant-exporter", "task": "any"}
        receivers = list(dict.fromkeys(receivers_for(route, labels)))
        if not channels & set(receivers):
            yield (
                f"Alertmanager sends a {tier} alert to {', '.join(receivers) or 'nobody'}, which "
                "has no channel: nobody is notified; give the receiver one"
            )


def _for_ever(silences: Sequence[Silence], now: float) -> Iterator[str]:
    for silence in silences:
        if silence.ends_at - now > LONG_SECONDS:
            what = " ".join(f"{one['name']}{_sign(one)}{one['value']}" for one in silence.matchers)
            yield (
                f"{what} is silenced until {iso(silence.ends_at)[:10]}, by "
                f"{silence.by or 'somebody'}: nobody is notified of it; end the silence in "
                "Alertmanager if that is not meant"
            )


def _sign(matcher: Mapping[str, Any]) -> str:
    return {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}[
        bool(matcher["isEqual"]), bool(matcher["isRegex"])
    ]


def receivers_for(route: Mapping[str, Any], labels: Labels) -> Iterator[str]:
    """The receivers of an alert with these labels, as Alertmanager's routes have it."""
    stopped = False
    for child in route.get("routes") or ():
        if all(matches(matcher, labels) for matcher in _matchers(child)):
            yield from receivers_for({"receiver": route.get("receiver"), **child}, labels)
            stopped = True
            if not child.get("continue"):
                return
    if not stopped and route.get("receiver"):
        yield str(route["receiver"])


def _matchers(route: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for text in route.get("matchers") or ():
        if found := _MATCHER.fullmatch(str(text)):
            name, sign, value = found.groups()
            yield {
                "name": name.strip(), "value": value.replace('\\"', '"').replace("\\\\", "\\"),
                "isRegex": sign[-1] == "~", "isEqual": sign[0] == "=",
            }  # fmt: skip
    for key, is_regex in (("match", False), ("match_re", True)):  # the old form
        for name, value in (route.get(key) or {}).items():
            yield {"name": name, "value": str(value), "isRegex": is_regex, "isEqual": True}
