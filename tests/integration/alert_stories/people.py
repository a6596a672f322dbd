"""Nothing is disturbed here: tiers, escalation, acknowledgement, and the good news. Every story has
a task of its own."""

import asyncio
import time
from typing import Any

from tests.integration.servers import FAILING, TITLE, House, until

RACES = {f"race_{n}": n * 0.7 for n in range(6)}
"""Tasks that are acknowledged so many seconds after they cleared."""
TASKS = {
    "escalates": "critical", "acked": "critical", "runs_out": "critical", "silenced": "critical",
    "chat": "warning", "flaps": "warning", "announced": "info",
    **dict.fromkeys(RACES, "critical"),
}  # fmt: skip
INTERVALS = {"scrape": 1, "evaluation": 1, "for": 2, "next evaluation": 1, "group_wait": 1}


def closed(house: House, words: str) -> bool:
    """PagerDuty has no such incident open."""
    return not any(words in title for title in house.sinks.open_incidents.values())


def heard(story: dict[str, Any], what: str) -> set[str]:
    """The receivers that were `told`, or got the `good_news`, by the journal."""
    return {one["receiver"] for one in story[what]}


async def nothing_at_first(house: House) -> None:
    """A first start, with servers that come one after the other: the watchdog, and nobody else."""
    await until(lambda: house.sinks.beats, "the watchdog")
    await asyncio.sleep(8)
    assert not house.sinks.received


async def page_then_escalation(house: House, measured: dict[str, Any]) -> None:
    """One page and one chat message at once, a mail when nobody reacted, one piece of good news."""
    began = time.time()
    await house.fails("escalates")
    (page,) = await until(lambda: house.got("pagerduty", f"CRITICAL escalates: {TITLE}"), "a page")
    measured["fault to page"] = page.at - began
    event = page.body
    assert event["payload"]["severity"] == "critical"
    assert "1 failed in a row (limit 1)" in event["payload"]["custom_details"]["description"]
    assert [link["text"] for link in event["links"]] == ["Dashboard", "Runbook", "Acknowledge"]
    await until(lambda: house.got("slack", f"CRITICAL escalates: {TITLE}"), "the chat message")
    assert not house.got("email", "escalates")
    (mail,) = await until(lambda: house.got("email", f"CRITICAL escalates: {TITLE}"), "the mail")
    measured["page to escalation"] = mail.at - page.at
    await asyncio.sleep(4)
    assert house.count("CRITICAL escalates") == {"pagerduty": 1, "slack": 1, "email": 1}
    await house.succeeds("escalates")
    await until(lambda: all(house.count("OK escalates").values()), "good news everywhere")
    await asyncio.sleep(6)
    assert house.count("OK escalates") == {"pagerduty": 1, "slack": 1, "email": 1}
    assert closed(house, "escalates")
    everybody = {"pagerduty", "slack", "email"}
    story = await house.story(
        "escalates", lambda s: heard(s, "told") == heard(s, "good_news") == everybody
    )
    assert story["escalated_at"]
    assert story["resolved_at"]


async def ack_then_none_and_the_good_news(house: House) -> None:
    """Acknowledged, no mail; it clears while silenced, and chat and PagerDuty hear of it."""
    await house.fails("acked")
    await until(lambda: house.got("pagerduty", "acked") and house.got("slack", "acked"), "a page")
    await house.ack(FAILING, "1h", task="acked")
    await asyncio.sleep(16)  # past the escalation, and past two short silences: they are renewed
    assert house.count("CRITICAL acked") == {"pagerduty": 1, "slack": 1, "email": 0}
    await house.succeeds("acked")
    await until(lambda: house.got("slack", "OK acked") and closed(house, "acked"), "good news")
    await asyncio.sleep(6)
    assert house.count("acked") == {"pagerduty": 2, "slack": 2, "email": 0}
    assert not [s for s in await house.alertmanager.silences() if s.covers({"task": "acked"})]
    story = await house.story("acked", lambda s: heard(s, "good_news") == {"pagerduty", "slack"})
    assert [one["by"] for one in story["acknowledged"]] == ["me"]
    assert story["escalated_at"] is None


async def ack_runs_out_and_it_is_back(house: House) -> None:
    """It still fires: the second channel is called, once."""
    await house.fails("runs_out")
    await until(lambda: house.got("pagerduty", "runs_out"), "a page")
    end = (await house.ack(FAILING, "1m", task="runs_out"))["until"]
    (mail,) = await until(lambda: house.got("email", "CRITICAL runs_out"), "the mail")
    assert mail.at >= end - 1


async def any_silence_stops_the_escalation(house: House) -> None:
    """Made with Alertmanager's own amtool; cleared under it, the good news comes at its end."""
    await house.fails("silenced")
    await until(lambda: house.got("slack", "silenced"), "the chat message")
    began = time.time()
    amtool = await asyncio.create_subprocess_exec(
        "amtool", f"--alertmanager.url={house.url('alertmanager')}", "silence", "add",
        "task=silenced", "--duration=20s", "--author=me", "--comment=looking",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert await amtool.wait() == 0
    await asyncio.sleep(13)
    assert not house.got("email", "silenced")
    await house.succeeds("silenced")
    (news,) = await until(lambda: house.got("slack", "OK silenced"), "good news")
    assert news.at >= began + 20 - 1
    assert not house.got("email", "silenced")
    story = await house.story("silenced", lambda s: s["acknowledged"])
    assert [one["comment"] for one in story["acknowledged"]] == ["looking"]


async def tiers_go_their_own_ways(house: House) -> None:
    """A warning is for chat, what is announced for the journal alone."""
    await house.fails("chat")
    await house.succeeds("announced")
    await until(lambda: house.got("slack", "WARNING chat"), "the chat message")
    await asyncio.sleep(10)
    assert house.count("chat") == {"pagerduty": 0, "slack": 1, "email": 0}
    assert not [m for m in house.sinks.received if "announced" in m.title]
    story = await house.story("announced", lambda s: s["told"])
    assert heard(story, "told") == {"journal"}


async def flapping_multiplies_nothing(house: House) -> None:
    """Ten times up and down within `keep_firing_for`: one message, one piece of good news."""
    await house.fails("flaps")
    await until(lambda: house.got("slack", "WARNING flaps"), "the chat message")
    for _ in range(5):
        await house.succeeds("flaps")
        await asyncio.sleep(1.5)
        await house.fails("flaps")
        await asyncio.sleep(1.5)
    await house.succeeds("flaps")
    await until(lambda: house.got("slack", "OK flaps"), "good news")
    assert house.count("flaps") == {"pagerduty": 0, "slack": 2, "email": 0}


async def race_of_acknowledging_and_clearing(
    house: House, task: str, measured: dict[str, Any]
) -> None:
    """Acknowledged at the moment at which it clears: the good news is late, but it comes, once."""
    await house.fails(task)
    await until(lambda: house.got("pagerduty", task) and house.got("slack", task), "a page")
    began = time.time()
    await house.succeeds(task)
    await asyncio.sleep(RACES[task] + 2.5)  # around the end of `keep_firing_for`
    try:
        await house.ack(FAILING, "1h", task=task)
    except AssertionError as error:
        assert "no alert fires" in str(error)
    await until(lambda: house.got("slack", f"OK {task}") and closed(house, task), "good news")
    (news,) = house.got("slack", f"OK {task}")
    measured.setdefault("cleared to good news, acknowledged in between", []).append(news.at - began)
    await asyncio.sleep(6)
    assert house.count(task) == {"pagerduty": 2, "slack": 2, "email": 0}
