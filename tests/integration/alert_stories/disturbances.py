"""Servers go away and come back, one after the other, while a task's alert fires."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from tests.integration.servers import DOWN, TITLE, House, until

TASKS = {"signals": "critical"}
DOWN_INTERVALS = {
    "scrape": 1, "its timeout": 1, "evaluation": 1, "for": 8, "next evaluation": 1, "group_wait": 1
}  # fmt: skip
ONE_EACH = {"pagerduty": 1, "slack": 1, "email": 1}


def steady(house: House) -> None:
    """One page, no good news, no second page."""
    assert house.count(f"CRITICAL signals: {TITLE}") == ONE_EACH
    assert not any(house.count("OK signals").values())


async def something_fires(house: House) -> None:
    """Told and escalated."""
    await until(lambda: house.sinks.beats, "the watchdog")
    await house.fails("signals")
    await until(lambda: house.got("email", "CRITICAL signals"), "the escalation")
    steady(house)


async def alertmanager_restarts(house: House) -> None:
    """It remembers whom it told, once it knows itself that they took it."""
    await asyncio.sleep(2)
    await house.stop("alertmanager")
    await house.start("alertmanager")
    await asyncio.sleep(8)  # Prometheus has sent it again, groups were flushed
    steady(house)


async def prometheus_restarts(house: House) -> None:
    """No false alarm about anything, and no good news."""
    before = len(house.sinks.received)
    await house.stop("prometheus")
    await house.start("prometheus")
    await asyncio.sleep(8)
    steady(house)
    assert len(house.sinks.received) == before


async def exporter_restarts(house: House) -> None:
    """A deploy while something fires is silent."""
    before = len(house.sinks.received)
    await house.stop("exporter")
    await house.start("exporter")
    await asyncio.sleep(8)
    steady(house)
    assert len(house.sinks.received) == before


HEARD = ("pagerduty", "slack")


async def _down(house: House, began: float) -> float:
    """A page about the exporter, everywhere; seconds from the fault to the pager's.

    Each channel has its own moment: a fault that ends between two of them is told by one alone."""
    words = f"CRITICAL 127.0.0.1:{house.ports.exporter}: {DOWN}"
    known = {sink: len(house.got(sink, words)) for sink in HEARD}
    await until(
        lambda: all(len(house.got(sink, words)) > known[sink] for sink in HEARD),
        "a page about the exporter",
    )
    return house.got("pagerduty", words)[known["pagerduty"]].at - began


async def _well_again(house: House) -> None:
    await until(
        lambda: all(len(house.got(sink, f": {DOWN}")) % 2 == 0 for sink in HEARD),
        "the end of the exporter's alert",
    )
    await asyncio.sleep(4)
    steady(house)


async def exporter_is_killed(house: House, measured: dict[str, Any]) -> None:
    """A page within scrape + `for`; what fired stays; it is started again, and nothing false."""
    await house.kill("exporter")
    measured["exporter killed to page"] = await _down(house, time.time())
    await asyncio.sleep(6)
    steady(house)
    await house.start("exporter")
    await _well_again(house)


async def exporter_hangs(house: House, measured: dict[str, Any]) -> None:
    """Its port takes connections, nothing answers."""
    process = house.programs["exporter"].process
    process.send_signal(signal.SIGSTOP)
    try:
        measured["exporter hung to page"] = await _down(house, time.time())
    finally:
        process.send_signal(signal.SIGCONT)
    await _well_again(house)


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


async def exporter_shows_an_empty_page(house: House, measured: dict[str, Any]) -> None:
    """Something else answers on its port: `up` is 1, and nothing is known."""
    await house.stop("exporter")
    async with _empty_page(house.ports.exporter):
        measured["empty page to page"] = await _down(house, time.time())
    await house.start("exporter")
    await _well_again(house)


async def and_then_it_is_over(house: House) -> None:
    """After all that, the good news reaches everybody who heard of it, once, and nothing else was
    said than the pages about the exporter, each with its end."""
    await house.succeeds("signals")
    await until(lambda: all(house.count("OK signals").values()), "good news everywhere")
    assert not house.sinks.open_incidents
    assert house.count("OK signals") == ONE_EACH
    titles = {m.title for m in house.sinks.accepted("slack")}
    assert all("signals" in title or DOWN in title for title in titles), titles
    told = [m.title.partition(" ")[0] for m in house.got("slack", f": {DOWN}")]
    # A machine that is busy with other things may be down to Prometheus once more.
    assert len(told) >= 2 * 3, told
    assert told == ["CRITICAL", "OK"] * (len(told) // 2)


async def everything(house: House, measured: dict[str, Any]) -> None:
    """In this order."""
    await something_fires(house)
    await alertmanager_restarts(house)
    await prometheus_restarts(house)
    await exporter_restarts(house)
    await exporter_is_killed(house, measured)
    await exporter_hangs(house, measured)
    await exporter_shows_an_empty_page(house, measured)
    await and_then_it_is_over(house)
