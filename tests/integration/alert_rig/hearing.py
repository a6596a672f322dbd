"""Who hears of what fired: a real Alertmanager with the shipped routes and inhibition is asked
about every set of alerts that fired at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.replay.engine import Fired
from exporter.util.clock import iso
from tests.integration.servers import PATIENCE, AlertStack

DOWN = "QuantExporterDown"
LOUDEST = {"pagerduty": "phone", "slack": "chat", "email": "chat"}
"""Receivers and their tier; all others wake nobody."""


@dataclass(frozen=True)
class Heard:
    """One alert, and who was the first to hear of it; `at` and `end` are Unix seconds."""

    alert: str
    labels: Mapping[str, str]
    tier: str
    at: float
    end: float


@dataclass
class _Scene:
    """Alerts of one scope that fire at the same time, and who hears of each."""

    alerts: tuple[Fired, ...]
    tiers: dict[int, str | None] = field(default_factory=dict)
    """By alert, as id() names it; None: muted."""

    @property
    def phase(self) -> str:
        """Scenes of different phases would mute each other."""
        down = [dict(one.labels) for one in self.alerts if one.name == DOWN]
        if any("instance" not in labels for labels in down):
            return f"nothing is scraped {id(self)}"
        return "down" if down else "up"


async def hear(place: AlertStack, scopes: Mapping[str, Sequence[Fired]]) -> dict[str, list[Heard]]:
    """By scope, what was heard. Alerts of different scopes do not know each other."""
    scenes = {
        (scope, moment): _Scene(tuple(a for a in fired if a.start <= moment < a.end))
        for scope, fired in scopes.items()
        for moment in sorted({m for a in fired for m in (a.start, a.end)})
    }
    for phase in sorted({scene.phase for scene in scenes.values()}):
        await _ask(place, [scene for scene in scenes.values() if scene.phase == phase])
    heard: dict[str, list[Heard]] = {}
    for scope, fired in scopes.items():
        for one in fired:
            if first := _first(one, scope, scenes):
                moment, tier = first
                told = Heard(one.name, one.labels, tier, moment, one.end)
                heard.setdefault(scope, []).append(told)
    return heard


def _first(
    one: Fired, scope: str, scenes: Mapping[tuple[str, float], _Scene]
) -> tuple[float, str] | None:
    """When it was first not muted, and the tier then."""
    for (of, moment), scene in scenes.items():
        if of == scope and (tier := scene.tiers.get(id(one))):
            return moment, tier
    return None


async def _ask(place: AlertStack, scenes: Sequence[_Scene]) -> None:
    """Show these scenes side by side, each with instances of its own."""
    shown = {
        (number, id(one)): {"alertname": one.name} | _apart(one.labels, number)
        for number, scene in enumerate(scenes)
        for one in scene.alerts
    }
    if not shown:
        return
    await _post(place, shown.values(), time.time() + 3600)
    found = await _once_there(place, shown.values())
    await _post(place, shown.values(), time.time() - 1)
    for (number, one), labels in shown.items():
        answer = found[frozenset(labels.items())]
        receivers = [receiver["name"] for receiver in answer["receivers"]]
        muted = bool(answer["status"]["inhibitedBy"])
        tiers = {LOUDEST.get(name, "nobody") for name in receivers}
        loudest = next(tier for tier in ("phone", "chat", "nobody") if tier in tiers)
        scenes[number].tiers[one] = None if muted else loudest


def _apart(labels: Mapping[str, str], number: int) -> dict[str, str]:
    own = dict(labels)
    if "instance" in own:
        own["instance"] += f"~{number}"
    return own


async def _post(place: AlertStack, alerts: Iterable[Mapping[str, str]], end: float) -> None:
    about = {
        "annotations": {"summary": "of the rig"},
        "startsAt": iso(time.time() - 60),
        "endsAt": iso(end),
    }
    body = [{"labels": labels, **about} for labels in alerts]
    async with place.client.post(f"{place.url('alertmanager')}/api/v2/alerts", json=body) as done:
        assert done.status == 200, await done.text()


async def _once_there(
    place: AlertStack, alerts: Iterable[Mapping[str, str]]
) -> dict[frozenset[tuple[str, str]], Any]:
    """Alertmanager's own words on each alert, once its inhibition knows all of them: it hears of
    alerts in their order, so it does when one that comes last is muted by another."""
    about = {"job": "rig", "instance": f"last~{time.time()}", "source": "s", "severity": "critical"}
    mutes = about | {"alertname": "QuantSourceDown"}
    muted = about | {"alertname": "QuantDataOverdue"}
    await _post(place, [mutes, muted], time.time() + 3600)
    last = frozenset(muted.items())
    end = time.monotonic() + PATIENCE
    while not (last in (found := await _look(place)) and found[last]["status"]["inhibitedBy"]):
        assert time.monotonic() < end, "inhibition does not hear of alerts"
        await asyncio.sleep(0.05)
    await _post(place, [mutes, muted], time.time() - 1)
    found = await _look(place)
    assert not (missing := {frozenset(a.items()) for a in alerts} - found.keys()), missing
    return found


async def _look(place: AlertStack) -> dict[frozenset[tuple[str, str]], Any]:
    async with place.client.get(f"{place.url('alertmanager')}/api/v2/alerts") as answer:
        return {frozenset(alert["labels"].items()): alert for alert in await answer.json()}
