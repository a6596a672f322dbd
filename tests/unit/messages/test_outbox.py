"""Messages wait in the state until their channel has accepted them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Channel, Config
from exporter.config.secret_values import SecretMissingError
from exporter.messages import outbox as room
from exporter.messages.message import ChannelMessage
from exporter.messages.outbox import Outbox
from exporter.messages.sender_process import NotSentError
from exporter.metrics import Metrics
from exporter.state import State
from tests.unit.clocks import ManualClock

CONFIG = Config(messages={"chat": Channel(url_env="CHAT"), "phone": Channel(url_env="PHONE")})
BUSY = NotSentError("chat answered 503", transient=True)


class Longest(random.Random):
    """No chance: always the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Office:
    """An outbox with a real state, channels that do as told, and a hand on the clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock(1_800_000_000.0)
        self.sent: list[tuple[str, ChannelMessage]] = []
        self.problems: dict[str, list[Exception]] = {}
        self.hanging: asyncio.Event | None = None
        self.paused: list[float] = []
        self.open()

    def open(self) -> None:
        """Start, as a process does."""
        self.registry = CollectorRegistry()
        self.state = State.open(self.folder / "state.db", self.clock)
        self.outbox = Outbox(
            self.state, Metrics(self.registry), self.clock, send=self._send, sleep=self._sleep,
            rng=Longest(), mask=lambda text: text.replace("hunter2", "***"),
        )  # fmt: skip
        self.outbox.apply(CONFIG)

    async def restart(self) -> None:
        """End, as an orderly stop does, and start again."""
        await self.outbox.stop()
        await self.state.close()
        self.open()
        await self.outbox.start()

    async def _send(self, message: ChannelMessage, name: str, channel: Channel) -> None:
        if self.hanging is not None:
            await self.hanging.wait()
        if problems := self.problems.get(name):
            raise problems.pop(0)
        self.sent.append((name, message))

    async def _sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.clock.advance(seconds)

    async def until(self, seen: Callable[[], object]) -> None:
        """Let the workers work."""
        async with asyncio.timeout(5):
            while not seen():
                await asyncio.sleep(0.001)

    async def settled(self, name: str = "chat") -> None:
        """Until nothing waits for that channel."""
        await self.until(lambda: self.value("quant_message_queue", channel=name) == 0)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def titles(self, name: str = "chat") -> list[str]:
        return [message.title for channel, message in self.sent if channel == name]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    yield made
    await made.outbox.stop()
    await made.state.close()


async def test_a_message_reaches_each_channel_in_order_and_without_secrets(office: Office) -> None:
    """And is counted."""
    await office.outbox.start()
    await office.outbox.post(
        ChannelMessage("one", ["the password is hunter2\x1b[31m"]), ["chat", "phone"]
    )
    await office.outbox.post(ChannelMessage("two"), ["chat"])
    await office.settled()
    await office.settled("phone")
    assert office.titles() == ["one", "two"]
    assert office.titles("phone") == ["one"]
    assert office.sent[0][1].parts == ["the password is ***\\x1b[31m"]
    assert office.value("quant_messages_total", channel="chat", outcome="sent") == 2
    assert office.value("quant_messages_total", channel="phone", outcome="failed") == 0
    last = office.value("quant_message_last_success_timestamp_seconds", channel="chat")
    assert last == office.clock.now()


async def test_a_channel_that_is_down_is_tried_again_and_delays_no_other(office: Office) -> None:
    """With growing pauses; from the third failure on it counts as failing, until one arrives."""
    office.problems["chat"] = [BUSY] * 8
    failing: list[float | None] = []
    sleep = office.outbox._sleep

    async def pause(seconds: float) -> None:
        failing.append(office.value("quant_message_failing", channel="chat"))
        await sleep(seconds)

    office.outbox._sleep = pause
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat", "phone"])
    await office.settled()
    assert office.paused == [2, 10, 40, 120, 300, 900, 900, 900]
    assert failing == [0, 0, 1, 1, 1, 1, 1, 1]
    assert office.titles() == office.titles("phone") == ["report"]
    assert office.value("quant_message_failing", channel="chat") == 0


async def test_a_channel_is_asked_again_when_it_wants_to_be(office: Office) -> None:
    """Not earlier, and not much later either."""
    office.problems["chat"] = [
        NotSentError("busy", transient=True, retry_after=seconds) for seconds in (30.0, 86_400.0)
    ]
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await office.settled()
    assert office.paused == [30, 900]


async def test_what_is_refused_is_given_up_at_once_and_delays_no_other(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """The channel counts as failing until it accepts one; also after a restart."""
    office.problems["chat"] = [NotSentError("Slack answered 404: no_service")]
    await office.outbox.start()
    with caplog.at_level(logging.ERROR):
        await office.outbox.post(ChannelMessage("report"), ["chat"])
        await office.settled()
    assert (office.paused, office.sent) == ([], [])
    assert office.value("quant_messages_total", channel="chat", outcome="failed") == 1
    assert "'report' to chat was not sent: Slack answered 404: no_service" in caplog.text
    await office.restart()
    assert office.value("quant_message_failing", channel="chat") == 1
    await office.outbox.post(ChannelMessage("next"), ["chat"])
    await office.settled()
    assert office.titles() == ["next"]
    assert office.value("quant_message_failing", channel="chat") == 0


async def test_half_a_day_is_long_enough(office: Office) -> None:
    """Yesterday's report is no news."""
    office.problems["chat"] = [BUSY] * 200
    await office.outbox.start()
    began = office.clock.now()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await office.settled()
    assert 12 * 3600 <= office.clock.now() - began < 12.5 * 3600
    assert office.value("quant_messages_total", channel="chat", outcome="failed") == 1


async def test_what_waits_is_sent_after_a_restart(office: Office) -> None:
    """In order, and nothing twice."""
    await office.outbox.post(ChannelMessage("one"), ["chat"])
    await office.outbox.post(ChannelMessage("two"), ["chat"], key="k")
    await office.restart()
    await office.settled()
    assert office.titles() == ["one", "two"]
    await office.restart()
    await office.outbox.post(ChannelMessage("two"), ["chat"], key="k")
    await asyncio.sleep(0.01)
    assert office.titles() == ["one", "two"]
    assert office.state.kept(room.MESSAGES) == {}


async def test_a_server_that_hangs_does_not_delay_the_stop(office: Office) -> None:
    """What was on its way is sent after the next start."""
    office.hanging = asyncio.Event()
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1):
        await office.outbox.stop()
    office.hanging = None
    await office.restart()
    await office.settled()
    assert office.titles() == ["report"]


async def test_a_newer_message_of_the_same_thing_replaces_one_that_waits(office: Office) -> None:
    """Such as a report that was made again."""
    await office.outbox.post(ChannelMessage("first"), ["chat"], key="report|1")
    await office.outbox.post(ChannelMessage("again"), ["chat"], key="report|1")
    await office.outbox.post(ChannelMessage("other"), ["chat"], key="report|2")
    await office.outbox.start()
    await office.settled()
    assert office.titles() == ["again", "other"]


async def test_a_flood_is_dropped_and_said(office: Office) -> None:
    """Of one task; others still get through. The next message says how many are missing."""
    took = [
        await office.outbox.post(ChannelMessage("x"), ["chat"], source="loop") for _ in range(50)
    ]
    assert sum(took) == room.MOST_AN_HOUR
    assert await office.outbox.post(ChannelMessage("morning report"), ["chat"], source="scan") == 1
    await office.restart()
    await office.settled()
    dropped = 50 - room.MOST_AN_HOUR
    assert office.sent[0][1].parts == [
        f"{dropped} messages before this one were dropped: too many at once."
    ]
    assert office.sent[-1][1] == ChannelMessage("morning report", [], [])
    office.clock.advance(3601)
    assert await office.outbox.post(ChannelMessage("x"), ["chat"], source="loop") == 1


async def test_a_queue_has_an_end(office: Office) -> None:
    """Whoever fills it."""
    for n in range(room.MOST_WAITING):
        assert await office.outbox.post(ChannelMessage("x"), ["chat"], source=f"task{n}") == 1
    assert await office.outbox.post(ChannelMessage("x"), ["chat"], source="last") == 0
    assert office.value("quant_messages_total", channel="chat", outcome="dropped") == 1
    assert office.value("quant_message_queue", channel="chat") == room.MOST_WAITING


async def test_a_reload_ends_a_pause(office: Office) -> None:
    """The address may have been corrected."""
    office.problems["chat"] = [SecretMissingError("messages.chat.url_env: CHAT is not set")]
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    office.outbox._sleep = sleep
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await asleep.wait()
    assert office.value("quant_message_failing", channel="chat") == 1
    office.outbox.apply(CONFIG)
    await office.settled()
    assert office.titles() == ["report"]


async def test_a_channel_that_is_removed_has_no_series_and_one_that_is_added_sends(
    office: Office,
) -> None:
    """By a reload; what waited is sent when the channel is back."""
    office.problems["chat"] = [BUSY]

    async def sleep(seconds: float) -> None:
        await asyncio.Event().wait()

    office.outbox._sleep = sleep
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await office.until(lambda: not office.problems["chat"])
    office.outbox.apply(Config())
    assert office.value("quant_message_queue", channel="chat") is None
    office.outbox.apply(CONFIG)
    await office.settled()
    assert office.titles() == ["report"]


async def test_a_trial_passes_the_queue(office: Office) -> None:
    """And shows that a channel that failed works again."""
    office.problems["chat"] = [NotSentError("refused hunter2"), NotSentError("still")]
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("report"), ["chat"])
    await office.settled()
    assert await office.outbox.test("chat", ChannelMessage("trial")) == "still"
    assert office.value("quant_message_failing", channel="chat") == 1
    assert await office.outbox.test("chat", ChannelMessage("trial")) is None
    assert office.value("quant_message_failing", channel="chat") == 0


async def test_a_mistake_of_ours_ends_one_message_and_not_the_channel(office: Office) -> None:
    """It is given up and logged."""
    office.problems["chat"] = [RuntimeError("oops")]
    await office.outbox.start()
    await office.outbox.post(ChannelMessage("one"), ["chat"])
    await office.outbox.post(ChannelMessage("two"), ["chat"])
    await office.settled()
    assert office.titles() == ["two"]
    assert office.value("quant_messages_total", channel="chat", outcome="failed") == 1
