"""A channel that refuses."""

import asyncio

from tests.integration.servers import TITLE, House, until

TASKS = {"signals": "critical", "other": "critical"}
NEWS = "Notifications are not delivered"


async def a_channel_that_refuses_gets_it_later(house: House) -> None:
    """Slack says 429 with Retry-After, then 500: PagerDuty and mail hear that Slack fails, and
    Slack gets the message once it takes it again, once."""
    await until(lambda: house.sinks.beats, "the watchdog")
    house.sinks.refuse("slack", 429, 3, retry_after=1)
    await house.fails("signals")
    await until(lambda: house.got("slack", f"CRITICAL signals: {TITLE}"), "Slack to get it late")
    assert [m.status for m in house.sinks.received if m.sink == "slack"][:4] == [429, 429, 429, 200]
    house.sinks.refuse("slack", 500, 1000)
    await house.fails("other")
    await until(lambda: house.got("pagerduty", f"slack: {NEWS}"), "news of the broken channel")
    await until(lambda: house.got("email", f"slack: {NEWS}"), "the same by mail")
    assert not house.got("slack", "CRITICAL other")
    assert not house.got("slack", NEWS)
    house.sinks.refuse("slack", 200, 0)
    await until(lambda: house.got("slack", f"CRITICAL other: {TITLE}"), "Slack to get it later")
    await asyncio.sleep(4)
    assert len(house.got("slack", "CRITICAL other")) == 1
    assert len(house.got("slack", "CRITICAL signals")) == 1
    assert len(house.got("pagerduty", "CRITICAL other")) == 1
