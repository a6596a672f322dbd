"""Faults that need a day of their own, because what they change is everybody's: the learning week,
a Prometheus without an exporter, the clocks that change, the journal that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from exporter.util.clock import utc
from tests.integration.alert_rig.data_faults import breaks, feed
from tests.integration.alert_rig.exporter_faults import Lived, lived
from tests.integration.alert_rig.fault import NOTHING_IS_SCRAPED, Fault, Told, after, at
from tests.integration.alert_rig.life import Life
from tests.integration.alert_rig.money_faults import post
from tests.integration.alert_rig.server_faults import FAILING, Scraped, refused, rising
from tests.integration.alert_rig.task_faults import says

EVENING = at(19, day=20), at(20, 40, day=20)
LEARNING = at(10, day=25), at(11, day=25)
NOWHERE = at(9, day=24), at(10, day=24)
FALL = at(22, day=1), at(6, day=2)
SPRING = at(22, day=7, month=3, year=2026), at(8, day=8, month=3, year=2026)
MARKET = {"market": {"type": "simulated", "retries": 0}}
SPANS = (EVENING, LEARNING, NOWHERE, FALL, SPRING)


def on(
    span: tuple[float, float],
    name: str,
    *tells: Told,
    action: Callable[[Life], Any] = id,
    **more: Any,
) -> Lived:
    """An exporter that lives through that time, and what happens after ten minutes."""
    struck = span[0] + 600

    async def live(life: Life) -> None:
        await life.live(
            *span, [after(-1, post("money", 100_000), struck), after(0, action, struck)]
        )

    return lived(name, *tells, how=live, struck=struck, **more)


def calendar_ends(life: Life) -> None:
    calendars = life.parts.supply.calendars
    last = utc(life.now).date() + timedelta(days=20)
    calendars._tables["XNYS"] = replace(calendars._tables["XNYS"], last=last)
    calendars._loaded["XNYS"] = calendars._calendar("XNYS")


def at_night(name: str, span: tuple[float, float], time: str) -> Lived:
    """The clocks change while somebody sleeps: nobody is woken, and everything ran once."""
    zone = "America/New_York"
    tasks = {
        f"t_{n}": {"command": ["true"], "schedule": schedule, "severity": "critical"}
        for n, schedule in enumerate(
            [f"{time} {zone}", "every 30m", f"00:10 {zone}", f"04:00 {zone}"]
        )
    }
    external = {
        "external": True,
        "schedule": f"{time} {zone}",
        "grace": "2h",
        "severity": "critical",
    }
    feeds = {
        "coins": {
            "source": "market",
            "symbols": ["BTCUSDT"],
            "interval": "1h",
            "poll": "1h",
            "exchange": "24/7",
            "max_overdue": {"critical": "20m"},
        }
    }

    async def live(life: Life) -> None:
        came = [(moment, says("reports", "success")) for moment in (span[0] + 4.6 * 3600,)]
        ran = await life.live(*span, came)
        assert [ran[f"t_{n}"] for n in (0, 2, 3)] == [1, 1, 1], ran
        assert ran["t_1"] == (span[1] - span[0]) // 1800, ran

    return lived(
        name,
        how=live,
        struck=span[0],
        tasks=tasks | {"reports": external},
        feeds=feeds,
        sources={"market": {"type": "simulated", "requests_per_minute": 6000}},
    )


_DEADMAN = refused("deadman_refuses", "webhook", Told(FAILING, "phone", 6), values=rising)
LIVED = [
    on(
        EVENING,
        "outage_at_night",
        sources=MARKET,
        feeds={"night": feed("market")},
        action=breaks("market", fault="disconnect"),
    ),
    on(
        EVENING,
        "calendar_ends",
        Told("QuantCalendarEnding", "chat", 63),
        action=calendar_ends,
        feeds={
            "coins": {
                "source": "market",
                "symbols": ["SPY.US"],
                "interval": "1h",
                "exchange": "XNYS",
            }
        },
        sources={"market": {"type": "simulated"}},
    ),
    on(
        LEARNING,
        "falls_in_the_learning_week",
        Told("QuantDrawdown", "chat", 3),
        action=post("money", 80_000),
        alerts={"learning_until": "2025-11-26"},
    ),
    at_night("clocks_go_back", FALL, "01:30"),
    at_night("clocks_go_forward", SPRING, "02:30"),
]
SERVERS = [
    replace(_DEADMAN, struck=EVENING[0] + 600),
    Scraped(
        NOTHING_IS_SCRAPED,
        (Told("QuantExporterDown", "phone", 4),),
        struck=NOWHERE[0],
        job="prometheus",
        metric="prometheus_config_last_reload_successful",
        values=lambda m: 1.0,
    ),
]
FAULTS: list[Fault] = [*LIVED, *SERVERS]
