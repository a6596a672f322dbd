"""Servers go away and come back, one after the other, while a task's alert fires: restarts in one
stack, outages of the exporter in another."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from tests.integration.servers import DOWN, TITLE, UP, AlertStack, until

TASKS = {"signals": "critical"}
DOWN_INTERVALS = {
    "scrape": 1, "its timeout": 1, "evaluation": 1, "for": 8, "next evaluation": 1, "group_wait": 1
}  # fmt: skip
ONE_EACH = {"pagerduty": 1, "slack": 1, "email": 1}


def steady(alert_stack: AlertStack) -> None:
    """One page, no resolved message, no second page."""
    assert alert_stack.count(f"CRITICAL signals: {TITLE}") == ONE_EACH
    assert not any(alert_stack.count("OK signals").values())


async def something_fires(alert_stack: AlertStack) -> None:
    """Told and escalated."""
    await until(lambda: alert_stack.sinks.beats, "the watchdog")
    await alert_stack.fails("signals")
    await until(lambda: alert_stack.got("email", "CRITICAL signals"), "the escalation")
    steady(alert_stack)


async def alertmanager_restarts(alert_stack: AlertStack) -> None:
    """It remembers whom it told, once it knows itself that they took it. While it is away the
    dead-man service hears nothing, which is how somebody hears of that."""
    await asyncio.sleep(2)
    await alert_stack.stop("alertmanager")
    beats = alert_stack.sinks.beats
    await asyncio.sleep(4)  # it comes every two seconds
    assert alert_stack.sinks.beats == beats
    await alert_stack.start("alertmanager")
    await until(lambda: alert_stack.sinks.beats > beats, "the watchdog again")
    await asyncio.sleep(8)  # Prometheus has sent it again, groups were flushed
    steady(alert_stack)


async def prometheus_restarts(alert_stack: AlertStack) -> None:
    """No false alarm about anything, and no resolved message."""
    before = len(alert_stack.sinks.received)
    await alert_stack.stop("prometheus")
    await alert_stack.start("prometheus")
    await asyncio.sleep(8)
    steady(alert_stack)
    assert len(alert_stack.sinks.received) == before


async def exporter_restarts(alert_stack: AlertStack) -> None:
    """A deploy while something fires is silent."""
    before = len(alert_stack.sinks.received)
    await alert_stack.stop("exporter")
    await alert_stack.start("exporter")
    await asyncio.sleep(8)
    steady(alert_stack)
    assert len(alert_stack.sinks.received) == before


HEARD = ("pagerduty", "slack")


async def _down(alert_stack: AlertStack, began: float) -> float:
    """A page about the exporter, everywhere; seconds from the fault to the pager's.

    Each channel has its own moment: a fault that ends between two of them is told by one alone."""
    words = f"CRITICAL 127.0.0.1:{alert_stack.ports.exporter}: {DOWN}"
    known = {sink: len(alert_stack.got(sink, words)) for sink in HEARD}
    await until(
        lambda: all(len(alert_stack.got(sink, words)) > known[sink] for sink in HEARD),
        "a page about the exporter",
    )
    return alert_stack.got("pagerduty", words)[known["pagerduty"]].at - began


async def _well_again(alert_stack: AlertStack) -> None:
    await until(
        lambda: all(
            len(alert_stack.got(sink, f": {DOWN}")) == len(alert_stack.got(sink, f": {UP}"))
            for sink in HEARD
        ),
        "the end of the exporter's alert",
    )
    await asyncio.sleep(4)
    steady(alert_stack)


async def exporter_is_killed(alert_stack: AlertStack, measured: dict[str, Any]) -> None:
    """A page within scrape + `for`; what fired stays; it is started again, and nothing false."""
    await alert_stack.kill("exporter")
    measured["exporter killed to page"] = await _down(alert_stack, time.time())
    await asyncio.sleep(6)
    steady(alert_stack)
    await alert_stack.start("exporter")
    await _well_again(alert_stack)


async def exporter_hangs(alert_stack: AlertStack, measured: dict[str, Any]) -> None:
    """Its port takes connections, nothing answers."""
    process = alert_stack.programs["exporter"].process
    process.send_signal(signal.SIGSTOP)
    try:
        measured["exporter hung to page"] = await _down(alert_stack, time.time())
    finally:
        process.send_signal(signal.SIGCONT)
    await _well_again(alert_stack)


async def _nothing(request: web.Request) -> web.Response:
    return web.Response(text="")


@contextlib.asynccontextmanager
async def _empty_page(port: int) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/metrics", _nothing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def exporter_shows_an_empty_page(alert_stack: AlertStack, measured: dict[str, Any]) -> None:
    """Something else answers on its port: `up` is 1, and nothing is known."""
    await alert_stack.stop("exporter")
    async with _empty_page(alert_stack.ports.exporter):
        measured["empty page to page"] = await _down(alert_stack, time.time())
    await alert_stack.start("exporter")
    await _well_again(alert_stack)


async def and_then_it_is_over(alert_stack: AlertStack, pages: int) -> None:
    """After all that, the resolved message reaches everybody who was notified, once, and nothing
    else was said than the pages about the exporter, each with its end."""
    await alert_stack.succeeds("signals")
    await until(
        lambda: all(alert_stack.count("OK signals").values()), "resolved messages everywhere"
    )
    assert not alert_stack.sinks.open_incidents
    assert alert_stack.count("OK signals") == ONE_EACH
    titles = {m.title for m in alert_stack.sinks.accepted("slack")}
    assert all("signals" in title or DOWN in title or UP in title for title in titles), titles
    exporter = f" 127.0.0.1:{alert_stack.ports.exporter}: "
    told = [m.title.partition(" ")[0] for m in alert_stack.got("slack", exporter)]
    # A machine that is busy with other things may be down to Prometheus once more.
    assert len(told) >= 2 * pages, told
    assert told == ["CRITICAL", "OK"] * (len(told) // 2)


async def restarts(alert_stack: AlertStack) -> None:
    """Of each server, in this order."""
    await something_fires(alert_stack)
    await alertmanager_restarts(alert_stack)
    await prometheus_restarts(alert_stack)
    await exporter_restarts(alert_stack)
    await and_then_it_is_over(alert_stack, pages=0)


async def outages(alert_stack: AlertStack, measured: dict[str, Any]) -> None:
    """Of the exporter, in this order."""
    await something_fires(alert_stack)
    await exporter_is_killed(alert_stack, measured)
    await exporter_hangs(alert_stack, measured)
    await exporter_shows_an_empty_page(alert_stack, measured)
    await and_then_it_is_over(alert_stack, pages=3)
