"""Messages on their way: kept in the state until a channel has accepted them, one queue a channel.

A message that was accepted here outlives the process. Should the process die just when a channel
has accepted one, that one is sent twice rather than never.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from exporter.config import Channel, Config
from exporter.config.secret_values import SecretMissingError
from exporter.messages.message import ChannelMessage
from exporter.messages.sender_process import NotSentError, send
from exporter.metrics import MESSAGE_OUTCOMES, Metrics, Sample
from exporter.state import State
from exporter.util.backoff import backoff_pause
from exporter.util.clock import Clock
from exporter.util.nan import NAN

PAUSES_SECONDS = (2.0, 10.0, 40.0, 120.0, 300.0, 900.0)
"""Between one attempt and the next; the last one again and again."""
LONGEST_PAUSE = 900.0
"""However long a channel asks us to wait."""
KEEP_SECONDS = 12 * 3600.0
"""What could not be sent for so long is given up."""
FAILING_ATTEMPTS = 3
"""In a row: from there on the channel counts as failing, and an alert fires."""
MOST_WAITING = 100
"""Messages in one queue."""
MOST_AN_HOUR = 30
"""Messages of one task to one channel."""
MOST_KEYS = 50
MESSAGES, CHANNELS = "message", "message_channel"
"""Kinds in the state."""

log = logging.getLogger(__name__)

Send = Callable[[ChannelMessage, str, Channel], Awaitable[None]]


@dataclass
class Entry:
    """One message for one channel."""

    id: str
    """In the order in which they came."""
    channel: str
    at: float
    message: ChannelMessage
    key: str = ""
    """What it is about; a channel gets each key once."""
    attempts: int = 0


@dataclass
class Queue:
    """One channel's messages, and what is known of it."""

    entries: deque[Entry] = field(default_factory=deque)
    last_success: float | None = None
    failing: str | None = None
    """Why it accepts nothing; None while it does."""
    dropped: int = 0
    """Messages that were dropped since the last one that was sent."""
    keys: list[str] = field(default_factory=list)
    """Of the newest messages that were sent."""
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """Every channel's queue. :meth:`run` sends, one message at a time per channel."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        clock: Clock,
        *,
        mask: Callable[[str], str] = lambda text: text,
        send: Send = send,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._state, self._clock, self._mask = state, clock, mask
        self._send, self._sleep, self._rng = send, sleep, rng or random.Random()
        self._channels: dict[str, Channel] = {}
        self._queues: dict[str, Queue] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._started = False
        self._numbers = itertools.count()
        self._accepted: dict[tuple[str, str], deque[float]] = {}
        self._total = metrics.counter("quant_messages_total")
        metrics.add_reader(self._read)

    # --- config

    def apply(self, config: Config) -> None:
        """The channels of the running config. A pause ends: an address may have been corrected."""
        kept = self._state.kept(CHANNELS)
        self._channels = config.channels
        for name in self._channels:
            if name not in self._queues:
                self._queues[name] = self._restored(name, kept.get(name) or {})
                for outcome in MESSAGE_OUTCOMES:
                    self._total.labels(name, outcome)
            self._queues[name].woken.set()
        for name in [name for name in self._queues if name not in self._channels]:
            if worker := self._workers.pop(name, None):
                worker.cancel()
            del self._queues[name]  # what waits for it stays in the state until it is back
        if self._started:
            self._start_workers()

    def _restored(self, name: str, known: dict[str, object]) -> Queue:
        queue = Queue(**{key: known[key] for key in _KEPT if key in known})  # type: ignore[arg-type]
        found = []
        for value in self._state.kept(MESSAGES).values():
            try:
                entry = Entry(**{**value, "message": ChannelMessage.from_json(value["message"])})
            except (KeyError, TypeError):
                continue  # of another version
            if entry.channel == name:
                found.append(entry)
        queue.entries.extend(sorted(found, key=lambda entry: entry.id))
        if found:
            queue.filled.set()
        return queue

    # --- in

    async def post(
        self, message: ChannelMessage, to: Sequence[str], *, source: str = "", key: str = ""
    ) -> int:
        """Queue it for each channel; kept once this returns. Returns how many took it: one that has
        too many already, altogether or from this `source`, drops it and counts it.

        With `key` a message that waits is replaced by a newer one of that key, and one that was
        sent is not sent again. Raises :class:`KeyError` for a channel that is not configured.
        """
        message = await asyncio.to_thread(message.bounded, self._mask)
        return sum([await self._post(message, name, source, key) for name in dict.fromkeys(to)])

    async def _post(self, message: ChannelMessage, name: str, source: str, key: str) -> bool:
        queue = self._queues[name]
        if key and key in queue.keys:
            return True
        for waiting in queue.entries if key else ():
            if waiting.key == key:
                waiting.message = message
                await self._keep_entry(waiting)
                return True
        if len(queue.entries) >= MOST_WAITING or not self._within_limit(name, source):
            queue.dropped += 1
            self._total.labels(name, "dropped").inc()
            log.warning(
                "a message to %s was dropped: too many", name,
                extra={"event": "message_dropped", "channel": name, "source": source},
            )  # fmt: skip
            await self._keep_channel(name)
            return False
        now = self._clock.now()
        number = f"{now * 1000:015.0f}-{next(self._numbers):06}-{uuid.uuid4().hex[:8]}"
        entry = Entry(number, name, now, message, key)
        queue.entries.append(entry)
        await self._keep_entry(entry)
        queue.filled.set()
        return True

    def _within_limit(self, name: str, source: str) -> bool:
        now = self._clock.monotonic()
        times = self._accepted.setdefault((name, source), deque())
        while times and now - times[0] >= 3600.0:
            times.popleft()
        if len(times) >= MOST_AN_HOUR:
            return False
        times.append(now)
        return True

    # --- out

    async def start(self) -> None:
        """Send what waits, and what comes."""
        self._started = True
        now = self._clock.now()
        for key, value in self._state.kept(MESSAGES).items():
            if value.get("channel") not in self._channels and now - value["at"] >= KEEP_SECONDS:
                await self._state.forget(MESSAGES, key)
        self._start_workers()

    def _start_workers(self) -> None:
        for name in self._channels:
            if name not in self._workers:
                self._workers[name] = asyncio.create_task(self._work(name), name=f"to {name}")

    async def stop(self) -> None:
        """At once: what waits, or is on its way just now, is sent after the next start."""
        workers = [*self._workers.values()]
        self._workers, self._started = {}, False
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, name: str) -> None:
        queue = self._queues[name]
        while True:
            if not queue.entries:
                queue.filled.clear()
                await queue.filled.wait()
            entry = queue.entries[0]
            try:
                pause = await self._attempt(entry, queue)
            except Exception:
                log.exception(
                    "a message to %s was given up", name, extra={"event": "message_failed"}
                )
                await self._give_up(entry, queue, "internal error: see the exporter's log")
                continue
            if pause:
                await self._pause(queue, pause)

    async def _attempt(self, entry: Entry, queue: Queue) -> float:
        """Send it once; returns how long to wait before the next attempt."""
        name = entry.channel
        if entry.key and entry.key in queue.keys:  # sent just before the process died
            await self._forget(entry, queue)
            return 0.0
        sent = entry.message
        if queue.dropped:
            note = f"{queue.dropped} messages before this one were dropped: too many at once."
            sent = replace(sent, parts=[*sent.parts, note])
        try:
            await self._send(sent, name, self._channels[name])
        except (NotSentError, SecretMissingError) as error:
            return await self._failed(entry, queue, error)
        queue.dropped, queue.failing, queue.last_success = 0, None, self._clock.now()
        if entry.key:
            queue.keys = [*queue.keys, entry.key][-MOST_KEYS:]
        self._total.labels(name, "sent").inc()
        log.info(
            "sent to %s: %s", name, entry.message.title,
            extra={"event": "message_sent", "channel": name},
        )  # fmt: skip
        await self._keep_channel(name)
        await self._forget(entry, queue)
        return 0.0

    async def _failed(
        self, entry: Entry, queue: Queue, error: NotSentError | SecretMissingError
    ) -> float:
        problem, asked = self._mask(str(error)), None
        entry.attempts += 1
        if isinstance(error, NotSentError):
            asked = error.retry_after
            if not error.transient:
                await self._give_up(entry, queue, problem)
                return 0.0
        if self._clock.now() - entry.at >= KEEP_SECONDS:
            await self._give_up(entry, queue, problem)
            return 0.0
        if entry.attempts >= FAILING_ATTEMPTS or isinstance(error, SecretMissingError):
            queue.failing = problem
            await self._keep_channel(entry.channel)
        cap = PAUSES_SECONDS[min(entry.attempts, len(PAUSES_SECONDS)) - 1]
        pause = min(backoff_pause(cap, self._rng, asked), LONGEST_PAUSE)
        log.warning(
            "message to %s: %s; next attempt in %.0f s", entry.channel, problem, pause,
            extra={"event": "message_retry", "channel": entry.channel},
        )  # fmt: skip
        return pause

    async def _give_up(self, entry: Entry, queue: Queue, problem: str) -> None:
        queue.failing = problem
        self._total.labels(entry.channel, "failed").inc()
        log.error(
            "the message %r to %s was not sent: %s", entry.message.title, entry.channel, problem,
            extra={"event": "message_failed", "channel": entry.channel},
        )  # fmt: skip
        await self._keep_channel(entry.channel)
        await self._forget(entry, queue)

    async def _pause(self, queue: Queue, seconds: float) -> None:
        queue.woken.clear()
        waits = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(queue.woken.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- trying out

    async def test(self, name: str, message: ChannelMessage) -> str | None:
        """Send it once, now, past the queue; what went wrong, or None. A channel that accepts it
        is not failing any more. Raises :class:`KeyError` for one that is not configured."""
        queue = self._queues[name]
        try:
            await self._send(message.bounded(self._mask), name, self._channels[name])
        except (NotSentError, SecretMissingError) as error:
            return self._mask(str(error))
        queue.failing, queue.last_success = None, self._clock.now()
        queue.woken.set()
        await self._keep_channel(name)
        return None

    @property
    def channels(self) -> list[str]:
        """Names of the configured ones."""
        return list(self._channels)

    # --- state and metrics

    async def _keep_entry(self, entry: Entry) -> None:
        await self._state.keep(MESSAGES, entry.id, asdict(entry))

    async def _forget(self, entry: Entry, queue: Queue) -> None:
        queue.entries.remove(entry)
        await self._state.forget(MESSAGES, entry.id)

    async def _keep_channel(self, name: str) -> None:
        queue = self._queues[name]
        await self._state.keep(CHANNELS, name, {key: getattr(queue, key) for key in _KEPT})

    def _read(self) -> Iterator[Sample]:
        for name, queue in list(self._queues.items()):
            yield "quant_message_queue", (name,), len(queue.entries)
            yield "quant_message_failing", (name,), float(queue.failing is not None)
            last = NAN if queue.last_success is None else queue.last_success
            yield "quant_message_last_success_timestamp_seconds", (name,), last


_KEPT = ("last_success", "failing", "dropped", "keys")
"""What of a queue outlives the process."""
