"""From a failing task to a phone, over real Prometheus and Alertmanager with shortened times."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from exporter.alerts.stories import tell
from tests.integration.servers import FAILING, MISSING, House, house, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
TITLE = "CRITICAL signals: A task fails or is late"
GOOD = "OK signals: A task fails or is late"


@pytest.fixture
async def all_of_it(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as running:
        yield running


async def ack(house: House, duration: str) -> None:
    url = f"http://127.0.0.1:{house.ports.exporter}/api/v1/ack"
    body = {"labels": {"alertname": FAILING}, "for": duration, "by": "me", "comment": "on it"}
    async with aiohttp.ClientSession() as client, client.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_page_at_once_then_the_second_channel(all_of_it: House) -> None:
    """One page, one chat message, and one mail when nobody reacted; then one piece of good news.
    The time to the first message stays within the sum of the intervals."""
    house = all_of_it
    await until(lambda: house.sinks.beats)
    began = time.monotonic()
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE))
    took = time.monotonic() - began
    await until(lambda: house.got("slack", TITLE))
    assert not house.got("email", TITLE)
    # scrape 1 s, evaluation 1 s, pending 2 s, evaluation 1 s, group_wait 1 s; and two busy cores
    assert took < 6 + 6, took
    print(f"fault to first message: {took:.1f} s; the intervals add up to 6 s")
    await until(lambda: house.got("email", TITLE))
    assert (len(house.got("pagerduty", TITLE)), len(house.got("slack", TITLE))) == (1, 1)
    event = house.got("pagerduty", TITLE)[0].body
    assert event["payload"]["severity"] == "critical"
    assert "1 failed in a row (limit 1)" in event["payload"]["custom_details"]["description"]
    assert [link["text"] for link in event["links"]] == ["Dashboard", "Runbook", "Acknowledge"]
    house.fake.failures = 0
    await until(lambda: house.got("slack", GOOD) and house.got("email", GOOD))
    await until(lambda: not house.sinks.open_incidents)
    house.nothing_wrong_on_the_wire()
    stories = tell(await house.fake.state.journal_rows(0))
    (story,) = [s for s in stories if s.labels["alertname"] == FAILING]
    assert {receiver for _, receiver in story.told} == {"pagerduty", "slack", "email"}
    assert {receiver for _, receiver in story.good_news} == {"pagerduty", "slack", "email"}
    assert story.resolved_at


async def test_an_acknowledgement_stops_the_escalation_and_the_good_news_comes(
    all_of_it: House,
) -> None:
    """Acknowledged, no mail; over while silenced, and still chat and PagerDuty hear of it."""
    house = all_of_it
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE) and house.got("slack", TITLE))
    await ack(house, "1h")
    await asyncio.sleep(12)  # past the escalation, and past one short silence: it is renewed
    assert not house.got("email", TITLE)
    house.fake.failures = 0
    await until(lambda: house.got("slack", GOOD))
    await until(lambda: not house.sinks.open_incidents)
    assert len(house.got("pagerduty", "trigger")) == 1
    kinds = [row.kind for row in await house.fake.state.journal_rows(0)]
    assert "acknowledged" in kinds
    assert "ack_cleared" in kinds


async def test_it_comes_back_when_the_acknowledgement_ends(all_of_it: House) -> None:
    """It still fires: the second channel is called."""
    house = all_of_it
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE))
    now = time.time()
    labels = {"alertname": FAILING}
    await house.keeper.acknowledge(labels, now + 12, "me", "")
    await asyncio.sleep(10)
    assert not house.got("email", TITLE)
    await until(lambda: house.got("email", TITLE))


async def test_restarts_page_nobody_twice(all_of_it: House) -> None:
    """Alertmanager, then Prometheus, then the exporter, while it fires: one page, no good news."""
    house = all_of_it
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE) and house.got("email", TITLE))
    for name in ("alertmanager", "prometheus"):
        await house.stop(name)
        await house.start(name)
        await house.ready(name)
        await asyncio.sleep(5)
    await house.fake.stop()
    await asyncio.sleep(1)
    await house.fake.start(house.keeper, house.journal, house.ports.exporter)
    await asyncio.sleep(6)
    for sink in ("pagerduty", "slack", "email"):
        assert len(house.got(sink, TITLE)) == 1
        assert not house.got(sink, GOOD)
    assert not house.got("slack", "The exporter cannot be read")


async def test_an_exporter_that_dies_or_shows_an_empty_page_is_one_page(all_of_it: House) -> None:
    """Killed while its task fails: one more page, about the exporter; its end brings the rest."""
    house = all_of_it
    words = "CRITICAL 127.0.0.1"
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE))
    house.fake.empty = True
    await until(lambda: house.got("pagerduty", words))
    await asyncio.sleep(8)
    assert not house.got("slack", GOOD)
    assert len(house.got("pagerduty", "trigger")) == 2
    house.fake.failures, house.fake.empty = 0, False
    await until(lambda: not house.sinks.open_incidents)
    assert house.got("slack", GOOD)


async def test_a_channel_that_refuses_gets_it_later_and_others_hear_of_it(
    all_of_it: House,
) -> None:
    """Slack says 429, then 500: PagerDuty hears that Slack fails; Slack gets the message later."""
    house = all_of_it
    house.sinks.refuse("slack", 429, 3, retry_after=1)
    house.fake.failures = 1
    await until(lambda: house.got("pagerduty", TITLE))
    await until(lambda: [m for m in house.sinks.received if m.status == 429])
    house.sinks.refuse("slack", 500, 1000)
    await until(lambda: house.got("pagerduty", "slack: Notifications do not get through"))
    assert house.got("email", "slack: Notifications do not get through")
    assert not house.got("slack", TITLE)
    house.sinks.refuse("slack", 200, 0)
    await until(lambda: house.got("slack", TITLE), 60)
