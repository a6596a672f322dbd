"""A channel that refuses."""

import asyncio
from typing import Any

from tests.integration.servers import TITLE, AlertStack, until

TASKS = {"signals": "critical", "other": "critical"}
NEWS = "Notifications are not delivered"


def delivered(story: dict[str, Any]) -> dict[str, bool | None]:
    """By channel, as the journal knows it; the mail of an escalation apart."""
    told = {one["receiver"]: one["delivered"] for one in story["told"]}
    return {name: known for name, known in told.items() if name != "email"}


async def a_channel_that_refuses_gets_it_later(alert_stack: AlertStack) -> None:
    """Slack says 429 with Retry-After, then 500: PagerDuty and mail hear that Slack fails, and
    Slack gets the message once it takes it again, once."""
    await until(lambda: alert_stack.sinks.beats, "the watchdog")
    alert_stack.sinks.refuse("slack", 429, 3, retry_after=1)
    await alert_stack.fails("signals")
    await until(
        lambda: alert_stack.got("slack", f"CRITICAL signals: {TITLE}"), "Slack to get it late"
    )
    assert [m.status for m in alert_stack.sinks.received if m.sink == "slack"][:4] == [
        429,
        429,
        429,
        200,
    ]
    alert_stack.sinks.refuse("slack", 500, 1000)
    await alert_stack.fails("other")
    await until(
        lambda: alert_stack.got("pagerduty", f"slack: {NEWS}"), "news of the broken channel"
    )
    await until(lambda: alert_stack.got("email", f"slack: {NEWS}"), "the same by mail")
    assert not alert_stack.got("slack", "CRITICAL other")
    assert not alert_stack.got("slack", NEWS)
    await alert_stack.story(
        "other", lambda s: delivered(s) | {"email": None} == {
            "slack": False, "pagerduty": True, "email": None
        }
    )  # fmt: skip
    alert_stack.sinks.refuse("slack", 200, 0)
    await until(
        lambda: alert_stack.got("slack", f"CRITICAL other: {TITLE}"), "Slack to get it later"
    )
    await asyncio.sleep(4)
    assert len(alert_stack.got("slack", "CRITICAL other")) == 1
    assert len(alert_stack.got("slack", "CRITICAL signals")) == 1
    assert len(alert_stack.got("pagerduty", "CRITICAL other")) == 1
    await alert_stack.story("other", lambda s: delivered(s) == {"slack": True, "pagerduty": True})
