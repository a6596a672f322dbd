"""The life of a real exporter on a clock that the test moves: tasks, feeds, equity, followed logs
and acknowledgements happen as they would, and what each scrape would have seen is written as
OpenMetrics."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.alerts.api_clients import ServerError
from exporter.app import App
from exporter.config import load
from exporter.metrics import TABLE
from exporter.runtime.machine import Disk
from exporter.runtime.wiring import ExporterServices
from tests.integration.processes import ROOT
from tests.unit.clocks import ManualClock

RULES = sorted((ROOT / "prometheus/rules").glob("*.yml")) + sorted(
    (ROOT / "prometheus/packs").glob("*.yml")
)
EXPRESSIONS = " ".join(
    f"{rule['expr']} {rule.get('labels', {}).get('severity', '')}"
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
)
USED = set(re.findall(r"\bquant_[a-z_]+", EXPRESSIONS))
"""What the rules ask for; nothing else is written."""
COUNTERS = {spec.name for spec in TABLE if spec.kind == "counter" and spec.labels} & USED
SELDOM = 300
CLOCK = "quant_exporter_clock_timestamp_seconds"
JOB = "quant-exporter"

Event = tuple[float, Callable[["Life"], Awaitable[object] | object]]
"""What happens at a moment, Unix seconds."""


class SleepingClock(ManualClock):
    """Those who sleep on it wake once it was moved far enough."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """In place of asyncio.sleep."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.monotonic() + seconds, waiting)
        self.sleepers.append(entry)
        try:
            await waiting
        finally:
            self.sleepers.remove(entry)

    def wake(self) -> None:
        """Whoever slept long enough."""
        for end, waiting in self.sleepers:
            if end <= self.monotonic() and not waiting.done():
                waiting.set_result(None)


class Moved(App):
    """Without the work that real seconds drive: the rig does it when the clock says so."""

    def _start_background(
        self, services: ExporterServices, stack: contextlib.AsyncExitStack
    ) -> None:
        pass


class Servers:
    """Alertmanager and Prometheus, as far as the exporter asks them: nothing fires."""

    def __init__(self) -> None:
        self.down = False
        self._answers: dict[str, Any] = {
            "/api/v2/alerts": [],
            "/api/v2/silences": [],
            "/api/v2/status": {"config": {"original": "receivers: []"}},
            "/metrics": "",
            "/api/v1/alerts": {"status": "success", "data": {"alerts": []}},
        }

    def app(self) -> web.Application:
        """Both in one."""
        app = web.Application()
        app.add_routes([web.get(path, self._answer) for path in self._answers])
        app.add_routes([web.post("/api/v2/alerts", self._answer)])
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        found = self._answers[request.path]
        if self.down:
            return web.Response(status=502, text="<html>Bad gateway</html>")
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)


class Life:
    """One exporter and its folder; :meth:`live` it from one moment to another, several times with
    gaps in between as if it were stopped and started again."""

    def __init__(
        self, instance: str, folder: Path, config: dict[str, Any], out: IO[str],
        pace: Callable[[Life], float] = lambda life: 60.0,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.instance, self.folder, self.out, self.pace = instance, folder, out, pace
        self.servers = Servers()
        self.disk: Disk | None = Disk("state,logs,reports", 50e9, 0.5)
        """None: it does not answer."""
        self.memory_bytes = 100e6
        self.clock_error = 0.0
        """Seconds by which the exporter's clock is ahead of Prometheus'."""
        self._config = config
        self._labels = f'job="{JOB}",instance="{instance}"'
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._risen: set[tuple[str, tuple[str, ...]]] = set()

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self.clock.now()

    def write_config(self, config: dict[str, Any], url: str) -> Path:
        """exporter.yml, with the addresses that are known only now."""
        file = self.folder / "exporter.yml"
        addresses = {"listen": "127.0.0.1:0", "alertmanager_url": url, "prometheus_url": url}
        file.write_text(yaml.safe_dump(addresses | config, sort_keys=False))
        return file

    async def live(self, begin: float, end: float, events: Sequence[Event] = ()) -> Counter[str]:
        """From the first scrape to the last; how often each task ran well."""
        coming = sorted(events, key=lambda event: event[0])
        self.clock, self.began = SleepingClock(begin), begin
        async with contextlib.AsyncExitStack() as stack:
            there = await stack.enter_async_context(TestServer(self.servers.app()))
            file = self.write_config(self._config, str(there.make_url("")).rstrip("/"))
            self.app = Moved(file, load(file), self.clock)
            self.parts = await self.app.start(stack)
            self._others = self.app.registry.restricted_registry(USED - COUNTERS)
            self._scraped_at = begin
            self._risen.clear()
            await self._only_the_clock_says_what_happens()
            while True:
                while coming and coming[0][0] <= self.now:
                    done = coming.pop(0)[1](self)
                    if inspect.isawaitable(done):
                        await done
                await self._step()
                self._scrape()
                if self.now >= end:
                    break
                self.clock.advance(min(self.pace(self), end - self.now))
            for poll in self._polls.values():
                poll.cancel()
            await asyncio.gather(*self._polls.values(), return_exceptions=True)
            self._polls = {}
            runs = await self.parts.state.history.runs(begin, limit=100_000)
        return Counter(run.task for run in runs if run.outcome == "success")

    def is_down(self, begin: float, end: float) -> None:
        """Scrapes of that time fail."""
        self.scraped({"up": 0.0}, begin, end)

    def scraped(self, samples: dict[str, float], begin: float, end: float) -> None:
        """What all scrapes of that time saw, instead of a living exporter."""
        at = begin
        while at <= end:
            for name, value in samples.items():
                self._write(name, {}, value, at)
            at += 60

    async def _only_the_clock_says_what_happens(self) -> None:
        await self.parts.scheduler.stop()
        await self.parts.feeds.stop()
        follower = self.parts.follower
        if follower._task is not None:
            follower._task.cancel()
            await asyncio.gather(follower._task, return_exceptions=True)
            follower._task = None
        for source in self.parts.supply.sources.values():
            requests = source._fetcher._requests
            requests._sleep = requests._budget._sleep = self.clock.sleep

    async def _step(self) -> None:
        parts, now = self.parts, self.now
        self.clock.wake()
        await parts.scheduler.sweep()
        for name, state in parts.feeds.feeds.items():
            under_way = self._polls.get(name)
            if (under_way is None or under_way.done()) and state.next_poll(now) <= now:
                self._polls[name] = asyncio.create_task(parts.feeds.poll(state))
        await parts.strategies.refresh()
        await parts.follower.step()
        if self.disk is not None:
            self.app._machine._disks = (self.disk,)
            self.app._machine._looked = self.clock.monotonic()
        with contextlib.suppress(ServerError):
            await parts.alerts.acks.reconcile()
        # What is under way ends before time goes on, or it would seem to hang.
        while self._busy():
            await asyncio.sleep(0.002)

    def _busy(self) -> bool:
        parts = self.parts
        polls = sum(not poll.done() for poll in self._polls.values())
        writer = parts.state._on_disk.writer
        return bool(
            parts.scheduler._background
            or parts.runner._jobs
            or polls > len(self.clock.sleepers)
            or writer.busy_since is not None
        )

    def _scrape(self) -> None:
        for name in COUNTERS:
            self._scrape_counter(name)
        for family in self._others.collect():
            for sample in family.samples:
                if sample.name in USED:
                    error = self.clock_error if sample.name == CLOCK else 0.0
                    self._write(sample.name, sample.labels, sample.value + error, self.now)
        self._write("up", {}, 1.0, self.now)
        self._write("process_start_time_seconds", {}, self.began, self.now)
        self._write("process_resident_memory_bytes", {}, self.memory_bytes, self.now)
        self._scraped_at = self.now

    def _scrape_counter(self, name: str) -> None:
        """There are thousands of series that count nothing: those are written now and then, and
        before they rise."""
        counter = self.parts.metrics.counter(name)
        for values, child in list(counter._metrics.items()):
            value, series = child._value.get(), (name, values)
            if not value and self.now % SELDOM >= 60:
                continue
            labels = dict(zip(counter._labelnames, values, strict=True))
            if value and series not in self._risen:
                self._risen.add(series)
                if self._scraped_at % SELDOM >= 60:
                    self._write(name, labels, 0.0, self._scraped_at)
            self._write(name, labels, value, self.now)

    def _write(self, name: str, labels: dict[str, str], value: float, at: float) -> None:
        more = "".join(f',{key}="{_escaped(text)}"' for key, text in labels.items())
        text = "NaN" if math.isnan(value) else repr(value)
        self.out.write(f"{name}{{{self._labels}{more}}} {text} {at:.0f}\n")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
