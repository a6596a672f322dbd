"""Nothing is disturbed here: tiers, escalation, acknowledgement, and resolved messages. Every story
has a task of its own."""

import asyncio
import time
from typing import Any

from tests.integration.servers import FAILING, TITLE, AlertStack, until

RACES = {f"race_{n}": n * 0.7 for n in range(6)}
"""Tasks that are acknowledged so many seconds after they cleared."""
TASKS = {
    "escalates": "critical", "acked": "critical", "runs_out": "critical", "silenced": "critical",
    "chat": "warning", "flaps": "warning", "announced": "info",
    **dict.fromkeys(RACES, "critical"),
}  # fmt: skip
INTERVALS = {"scrape": 1, "evaluation": 1, "for": 2, "next evaluation": 1, "group_wait": 1}


def closed(alert_stack: AlertStack, words: str) -> bool:
    """PagerDuty has no such incident open."""
    return not any(words in title for title in alert_stack.sinks.open_incidents.values())


def heard(story: dict[str, Any], what: str) -> set[str]:
    """The receivers that were `told`, or got the `good_news`, by the journal."""
    return {one["receiver"] for one in story[what]}


async def nothing_at_first(alert_stack: AlertStack) -> None:
    """A first start, with servers that come one after the other: the watchdog, and nobody else."""
    await until(lambda: alert_stack.sinks.beats, "the watchdog")
    await asyncio.sleep(8)
    assert not alert_stack.sinks.received


async def page_then_escalation(alert_stack: AlertStack, measured: dict[str, Any]) -> None:
    """One page and one chat message at once, a mail when nobody reacted, one resolved message."""
    began = time.time()
    await alert_stack.fails("escalates")
    (page,) = await until(
        lambda: alert_stack.got("pagerduty", f"CRITICAL escalates: {TITLE}"), "a page"
    )
    measured["fault to page"] = page.at - began
    event = page.body
    assert event["payload"]["severity"] == "critical"
    assert "1 failed in a row (limit 1)" in event["payload"]["custom_details"]["description"]
    assert [link["text"] for link in event["links"]] == ["Dashboard", "Runbook", "Acknowledge"]
    await until(
        lambda: alert_stack.got("slack", f"CRITICAL escalates: {TITLE}"), "the chat message"
    )
    assert not alert_stack.got("email", "escalates")
    (mail,) = await until(
        lambda: alert_stack.got("email", f"CRITICAL escalates: {TITLE}"), "the mail"
    )
    measured["page to escalation"] = mail.at - page.at
    await asyncio.sleep(4)
    assert alert_stack.count("CRITICAL escalates") == {"pagerduty": 1, "slack": 1, "email": 1}
    await alert_stack.succeeds("escalates")
    await until(
        lambda: all(alert_stack.count("OK escalates").values()), "resolved messages everywhere"
    )
    await asyncio.sleep(6)
    assert alert_stack.count("OK escalates") == {"pagerduty": 1, "slack": 1, "email": 1}
    assert closed(alert_stack, "escalates")
    everybody = {"pagerduty", "slack", "email"}
    story = await alert_stack.story(
        "escalates", lambda s: heard(s, "told") == heard(s, "good_news") == everybody
    )
    assert story["escalated_at"]
    assert story["resolved_at"]


async def ack_then_none_and_a_resolved_message(alert_stack: AlertStack) -> None:
    """Acknowledged, no mail; it clears while silenced, and chat and PagerDuty hear of it."""
    await alert_stack.fails("acked")
    await until(
        lambda: alert_stack.got("pagerduty", "acked") and alert_stack.got("slack", "acked"),
        "a page",
    )
    await alert_stack.ack(FAILING, "1h", task="acked")
    await asyncio.sleep(16)  # past the escalation, and past two short silences: they are renewed
    assert alert_stack.count("CRITICAL acked") == {"pagerduty": 1, "slack": 1, "email": 0}
    await alert_stack.succeeds("acked")
    await until(
        lambda: alert_stack.got("slack", "OK acked") and closed(alert_stack, "acked"),
        "a resolved message",
    )
    await asyncio.sleep(6)
    assert alert_stack.count("acked") == {"pagerduty": 2, "slack": 2, "email": 0}
    assert not [s for s in await alert_stack.alertmanager.silences() if s.covers({"task": "acked"})]
    story = await alert_stack.story(
        "acked", lambda s: heard(s, "good_news") == {"pagerduty", "slack"}
    )
    assert [one["by"] for one in story["acknowledged"]] == ["me"]
    assert story["escalated_at"] is None


async def ack_runs_out_and_it_is_back(alert_stack: AlertStack) -> None:
    """It still fires: the second channel is called, once."""
    await alert_stack.fails("runs_out")
    await until(lambda: alert_stack.got("pagerduty", "runs_out"), "a page")
    end = (await alert_stack.ack(FAILING, "1m", task="runs_out"))["until"]
    (mail,) = await until(lambda: alert_stack.got("email", "CRITICAL runs_out"), "the mail")
    assert mail.at >= end - 1


async def any_silence_stops_the_escalation(alert_stack: AlertStack) -> None:
    """Made with Alertmanager's own amtool; cleared under it, the message comes at its end."""
    await alert_stack.fails("silenced")
    await until(lambda: alert_stack.got("slack", "silenced"), "the chat message")
    began = time.time()
    amtool = await asyncio.create_subprocess_exec(
        alert_stack.generation.program("amtool"),
        f"--alertmanager.url={alert_stack.url('alertmanager')}", "silence", "add",
        "task=silenced", "--duration=20s", "--author=me", "--comment=looking",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert await amtool.wait() == 0
    await asyncio.sleep(13)
    assert not alert_stack.got("email", "silenced")
    await alert_stack.succeeds("silenced")
    (news,) = await until(lambda: alert_stack.got("slack", "OK silenced"), "a resolved message")
    assert news.at >= began + 20 - 1
    assert not alert_stack.got("email", "silenced")
    story = await alert_stack.story("silenced", lambda s: s["acknowledged"])
    assert [one["comment"] for one in story["acknowledged"]] == ["looking"]


async def tiers_go_their_own_ways(alert_stack: AlertStack) -> None:
    """A warning is for chat, what is announced for the journal alone."""
    await alert_stack.fails("chat")
    await alert_stack.succeeds("announced")
    await until(lambda: alert_stack.got("slack", "WARNING chat"), "the chat message")
    await asyncio.sleep(10)
    assert alert_stack.count("chat") == {"pagerduty": 0, "slack": 1, "email": 0}
    assert not [m for m in alert_stack.sinks.received if "announced" in m.title]
    story = await alert_stack.story("announced", lambda s: s["told"])
    assert heard(story, "told") == {"journal"}


async def flapping_multiplies_nothing(alert_stack: AlertStack) -> None:
    """Ten times up and down within `keep_firing_for`: one message, one resolved message."""
    await alert_stack.fails("flaps")
    await until(lambda: alert_stack.got("slack", "WARNING flaps"), "the chat message")
    for _ in range(5):
        await alert_stack.succeeds("flaps")
        await asyncio.sleep(1.5)
        await alert_stack.fails("flaps")
        await asyncio.sleep(1.5)
    await alert_stack.succeeds("flaps")
    await until(lambda: alert_stack.got("slack", "OK flaps"), "a resolved message")
    assert alert_stack.count("flaps") == {"pagerduty": 0, "slack": 2, "email": 0}


async def race_of_acknowledging_and_clearing(
    alert_stack: AlertStack, task: str, measured: dict[str, Any]
) -> None:
    """Acknowledged at the moment at which it clears: the message is late, but it comes, once."""
    await alert_stack.fails(task)
    await until(
        lambda: alert_stack.got("pagerduty", task) and alert_stack.got("slack", task), "a page"
    )
    began = time.time()
    await alert_stack.succeeds(task)
    await asyncio.sleep(RACES[task] + 2.5)  # around the end of `keep_firing_for`
    try:
        await alert_stack.ack(FAILING, "1h", task=task)
    except AssertionError as error:
        assert "no alert fires" in str(error)
    await until(
        lambda: alert_stack.got("slack", f"OK {task}") and closed(alert_stack, task),
        "a resolved message",
    )
    (news,) = alert_stack.got("slack", f"OK {task}")
    measured.setdefault("cleared to resolved message, acknowledged in between", []).append(
        news.at - began
    )
    await asyncio.sleep(6)
    assert alert_stack.count(task) == {"pagerduty": 2, "slack": 2, "email": 0}
