"""The stand-ins for Slack, PagerDuty and mail are as strict as the real ones."""

import asyncio
import smtplib

import aiohttp
import pytest

from exporter.demo.sinks import Sinks, running
from exporter.demo.wire import pagerduty_problems, slack_problems
from tests.unit.clocks import ManualClock

EVENT = {
    "routing_key": "0" * 32,
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": {"summary": "s", "source": "x", "severity": "critical"},
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"routing_key": "short"}, "routing_key"),
        ({"event_action": "close"}, "event_action"),
        ({"payload": {"summary": "s", "source": "x", "severity": "page"}}, "severity 'page'"),
        ({"payload": {"summary": "", "source": "x", "severity": "info"}}, "summary"),
        ({"event_action": "resolve", "dedup_key": ""}, "dedup_key"),
        ({"links": [{"href": "nowhere", "text": "t"}]}, "link 'nowhere'"),
        (
            {
                "payload": {
                    "summary": "s",
                    "source": "x",
                    "severity": "info",
                    "custom_details": {"description": {"Task x": "failed"}},
                }
            },
            "custom_details.description is not a text",
        ),
        ({"dedup_key": "k", "client": "x" * 600_000}, "larger than 512 KB"),
    ],
)
def test_pagerduty_refuses(change: dict[str, object], problem: str) -> None:
    """One change to a good event at a time."""
    assert pagerduty_problems(EVENT) == []
    assert problem in " ".join(pagerduty_problems({**EVENT, **change}))


@pytest.mark.parametrize(
    ("attachment", "problem"),
    [
        ({}, "without fallback"),
        ({"text": "t", "color": "reddish"}, "color"),
        ({"text": "t", "fields": [{"title": "x", "value": ""}]}, "field"),
        ({"text": "t", "actions": [{"url": "/ack"}]}, "link '/ack'"),
    ],
)
def test_slack_refuses(attachment: dict[str, object], problem: str) -> None:
    """One thing wrong at a time."""
    assert slack_problems({"attachments": [{"text": "t", "color": "#d93f3f"}]}) == []
    assert problem in " ".join(slack_problems({"attachments": [attachment]}))


async def test_incidents_open_and_close_by_their_key() -> None:
    """As PagerDuty's do."""
    sinks = Sinks(ManualClock(now=0.0))
    async with running(sinks) as (port, _), aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{port}/v2/enqueue"
        async with client.post(url, json=EVENT) as answer:
            assert answer.status == 202
        assert sinks.open_incidents == {"k": "s"}
        async with client.post(url, json={**EVENT, "event_action": "resolve"}):
            assert sinks.open_incidents == {}


async def test_it_refuses_on_command_and_shows_what_arrived() -> None:
    """429 with Retry-After, then well again; both on the page."""
    sinks = Sinks(ManualClock(now=0.0))
    async with running(sinks) as (port, _), aiohttp.ClientSession() as client:
        base = f"http://127.0.0.1:{port}"
        order = {"sink": "slack", "status": 429, "count": 1, "retry_after": 2}
        async with client.post(f"{base}/control", json=order) as answer:
            assert answer.status == 200
        async with client.post(f"{base}/slack/x", json={"text": "<b>one</b>"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        async with client.post(f"{base}/slack/x", json={"text": "<b>two</b>"}) as answer:
            assert answer.status == 200
        async with client.get(base) as answer:
            page = await answer.text()
        assert "&lt;b&gt;two" in page
        assert "<b>" not in page
    assert [m.title for m in sinks.accepted("slack")] == ["<b>two</b>"]


async def test_mail_arrives_or_is_refused() -> None:
    """Over real SMTP."""
    sinks = Sinks(ManualClock(now=0.0))
    good = "From: a@x\r\nTo: b@x\r\nSubject: CRITICAL =?utf-8?q?=C3=BCber?=\r\n\r\n.dot\r\n"

    def send(port: int, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@x", ["b@x"], text)

    async with running(sinks) as (_, port):
        await asyncio.to_thread(send, port, good)
        with pytest.raises(smtplib.SMTPDataError, match="Subject is missing"):
            await asyncio.to_thread(send, port, "From: a@x\r\nTo: b@x\r\n\r\ntext")
    (mail,) = sinks.accepted("email")
    assert (mail.title, mail.body["text"].strip()) == ("CRITICAL über", ".dot")
